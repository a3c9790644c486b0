//! What a Slack message looks like, and that hostile text stays text.

use tidings_domain::event::EventKind;
use tidings_domain::message::Field;
use tidings_domain::time::Timestamp;

use super::*;

fn sample() -> Message {
    Message {
        kind: EventKind::RunTerminal,
        severity: Severity::Warning,
        title: "Daily <b> & revenue failed".into(),
        summary: "Flow Daily <!channel> failed after 1.8 s.".into(),
        detail: Some("line 1 ``` <@U1>\nline 2".into()),
        link: Some("https://app.example.com/f1?a=1&b=2|3".into()),
        fields: vec![Field { label: "Status", value: "Failure".into() }, Field { label: "Run", value: String::new() }],
        timestamp: Timestamp::from_unix_ms(0),
    }
}

#[test]
fn a_message_in_full() {
    // What cannot be seen is written out.
    let shown = format!("{:#}", message(&sample())).replace(crate::fit::ZERO_WIDTH_SPACE, "{zwsp}");
    insta::assert_snapshot!(shown, @r#"
    {
      "blocks": [
        {
          "text": {
            "emoji": false,
            "text": "🟠 Daily <b> & revenue failed",
            "type": "plain_text"
          },
          "type": "header"
        },
        {
          "text": {
            "text": "Flow Daily &lt;!channel&gt; failed after 1.8 s.",
            "type": "mrkdwn"
          },
          "type": "section"
        },
        {
          "fields": [
            {
              "text": "*Status*\nFailure",
              "type": "mrkdwn"
            },
            {
              "text": "*Run*\n—",
              "type": "mrkdwn"
            }
          ],
          "type": "section"
        },
        {
          "text": {
            "text": "```\nline 1 `{zwsp}`{zwsp}` &lt;@U1&gt;\nline 2\n```",
            "type": "mrkdwn"
          },
          "type": "section"
        },
        {
          "text": {
            "text": "<https://app.example.com/f1?a=1&amp;b=2%7C3|Open details>",
            "type": "mrkdwn"
          },
          "type": "section"
        },
        {
          "elements": [
            {
              "text": "warning · flow.run.terminal",
              "type": "mrkdwn"
            }
          ],
          "type": "context"
        }
      ],
      "text": "🟠 Daily &lt;b&gt; &amp; revenue failed",
      "unfurl_links": false,
      "unfurl_media": false
    }
    "#);
}

#[test]
fn limits_hold_for_texts_without_end() {
    let mut long = sample();
    for text in ["&".repeat(100_000), "`".repeat(100_000), "😀".repeat(100_000), "\u{0}\u{202e}שלום".repeat(9_000)]
    {
        long.title = text.clone();
        long.summary = text.clone();
        long.detail = Some(text.clone());
        long.link = Some(format!("https://example.com/{}", "&".repeat(2_000)));
        long.fields = (0..20).map(|_| Field { label: "Status", value: text.clone() }).collect();
        let body = message(&long);
        let units = |value: &Value| value.as_str().unwrap().encode_utf16().count();
        for block in body["blocks"].as_array().unwrap() {
            let max = if block["type"] == "header" { 150 } else { 3_000 };
            assert!(block.pointer("/text/text").is_none_or(|text| (1..=max).contains(&units(text))), "{block}");
            let fields = block["fields"].as_array();
            assert!(
                fields.is_none_or(|fields| fields.len() <= 10 && fields.iter().all(|f| units(&f["text"]) <= 2_000))
            );
        }
    }
}
