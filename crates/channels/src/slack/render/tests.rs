//! Rendered Slack messages, and that hostile text stays text.

use tidings_domain::calendar::Zone;
use tidings_domain::digest::{Digest, ENTRIES_MAX};
use tidings_domain::event::{Content, Event, EventKind};
use tidings_domain::incident::IncidentTrigger;
use tidings_domain::message::{self, Field};
use tidings_domain::time::Timestamp;

use super::*;
use crate::samples;

fn texts(event: &Event, severity: Severity) -> Message {
    message::of(event, severity, &Zone::UTC)
}

fn sample() -> Message {
    Message {
        kind: EventKind::RunTerminal,
        severity: Severity::Warning,
        title: "Daily <b> & revenue failed".into(),
        summary: "Flow Daily <!channel> failed after 1.8 s.".into(),
        detail_label: "Error",
        detail: Some("line 1 ``` <@U1>\nline 2".into()),
        link: Some("https://app.example.com/f1?a=1&b=2|3".into()),
        fields: vec![Field::new("Status", "Failure"), Field::new("Run", "")],
        tags: vec!["prod".into(), "a*b <!here> @everyone".into()],
        entries: Vec::new(),
        entries_left: 0,
        thread: None,
        zone: Zone::UTC,
        timestamp: Timestamp::from_unix_ms(0),
    }
}

#[test]
fn render_run_message() {
    // Invisible characters are spelled out.
    let shown = format!("{:#}", render(&sample())).replace(crate::truncate::ZERO_WIDTH_SPACE, "{zwsp}");
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
          "text": {
            "text": "*Error*\n```\nline 1 `{zwsp}`{zwsp}` &lt;@U1&gt;\nline 2\n```",
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
            },
            {
              "text": "Tags: prod, a*b &lt;!here&gt; @everyone",
              "type": "mrkdwn"
            }
          ],
          "type": "context"
        }
      ],
      "text": "🟠 Daily &lt;b&gt; &amp; revenue failed: line 1 ``` &lt;@U1&gt;",
      "unfurl_links": false,
      "unfurl_media": false
    }
    "#);
}

#[test]
fn render_incident_puts_reason_first() {
    let opened = render(&texts(&samples::incident(IncidentTrigger::Opened), Severity::Critical));
    assert_eq!(opened["text"], "🔴 Production API is down: HTTP 502 — expected 200");
    assert_eq!(opened.pointer("/blocks/0/text/text").unwrap(), "🔴 Production API is down");
    assert_eq!(opened.pointer("/blocks/2/text/text").unwrap(), "*Reason*\n```\nHTTP 502 — expected 200\n```");
    assert_eq!(opened.pointer("/blocks/3/fields/1/text").unwrap(), "*Address*\nhttps://api.example.com/health");
    assert_eq!(opened.pointer("/blocks/4/elements/1/text").unwrap(), "Tags: prod, customer-facing");
    let resolved = render(&texts(&samples::incident(IncidentTrigger::Resolved), Severity::Success));
    assert_eq!(resolved["text"], "🟢 Production API has recovered");
    let was = resolved.pointer("/blocks/2/text/text").and_then(Value::as_str).unwrap();
    assert!(was.starts_with("*What was wrong*\n"), "a resolved incident's reason is in the past tense: {was}");
}

fn block_texts(body: &Value) -> Vec<String> {
    let texts = body["blocks"].as_array().unwrap().iter().filter_map(|block| block.pointer("/text/text"));
    texts.map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[test]
fn render_digest_groups_entries_by_state() {
    let body = render(&texts(&samples::digest(4), Severity::Critical));
    assert_eq!(
        block_texts(&body),
        [
            "🔴 4 notifications were held back, 2 of them still open",
            "They were held back: quiet hours of On-call. What is still open comes first.",
            "*Still open*\n\
             🔴 <https://app.example.com/incidents/0|Production API is down> · 2026-05-02 03:56:12 UTC\n\
             🟠 Checkout is degraded · 2026-05-02 03:57:12 UTC",
            "*Runs*\n\
             🟠 <https://app.example.com/incidents/2|Daily revenue rollup failed> · 2026-05-02 03:58:12 UTC",
            "*Over by now*\n\
             🟢 Website has recovered · 2026-05-02 03:59:12 UTC · 2 notifications",
        ]
    );
    let many = render(&texts(&samples::digest(2_000), Severity::Critical));
    assert_eq!(block_texts(&many).last().unwrap(), "… and 1,970 more");
}

#[test]
fn render_digest_of_hostile_entries_keeps_limits() {
    let mut event = samples::digest(ENTRIES_MAX as u64);
    for text in ["&".repeat(10_000), "<!channel> ".repeat(500), "😀".repeat(10_000), " \n".repeat(9)] {
        let Content::Digest(digest) = &event.content else { panic!("a digest") };
        let mut entries = digest.entries.clone();
        for entry in &mut entries {
            entry.title = text.clone();
            entry.link = Some(format!("https://example.com/{}", "&".repeat(470)));
        }
        event.content = Content::Digest(Box::new(Digest::new("x".into(), entries, digest.at)));
        let body = render(&texts(&event, Severity::Critical));
        assert!(body["blocks"].as_array().unwrap().len() <= 50);
        let texts = block_texts(&body);
        assert!(texts.iter().all(|text| (1..=3_000).contains(&text.encode_utf16().count())));
        assert!(texts.iter().map(|text| text.len()).sum::<usize>() < 40_000);
        assert!(!body.to_string().contains("<!"));
    }
}

#[test]
fn render_huge_texts_keeps_limits() {
    let mut long = sample();
    for text in ["&".repeat(100_000), "`".repeat(100_000), "😀".repeat(100_000), "\u{0}\u{202e}שלום".repeat(9_000)]
    {
        long.title = text.clone();
        long.summary = text.clone();
        long.detail = Some(text.clone());
        long.link = Some(format!("https://example.com/{}", "&".repeat(2_000)));
        long.fields = (0..20).map(|_| Field::new("Status", text.clone())).collect();
        let body = render(&long);
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
