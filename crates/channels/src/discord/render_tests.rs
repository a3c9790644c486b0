//! What a Discord message looks like, and that hostile text stays text.

use tidings_domain::event::EventKind;
use tidings_domain::message::Field;
use tidings_domain::time::Timestamp;

use super::*;

fn sample() -> Message {
    Message {
        kind: EventKind::RunTerminal,
        severity: Severity::Critical,
        title: "Daily *revenue* failed".into(),
        summary: "# Flow @everyone <@1> failed - after [1.8](x) s.".into(),
        detail: Some("line 1 ``` out\nline 2".into()),
        link: Some("https://app.example.com/f1?a=1".into()),
        fields: vec![Field { label: "Status", value: "Failure".into() }, Field { label: "Run", value: " ".into() }],
        timestamp: Timestamp::from_unix_ms(1_777_694_412_345),
    }
}

#[test]
fn a_message_in_full() {
    // What cannot be seen is written out.
    let shown = format!("{:#}", message(&sample())).replace(crate::fit::ZERO_WIDTH_SPACE, "{zwsp}");
    insta::assert_snapshot!(shown, @r#"
    {
      "allowed_mentions": {
        "parse": []
      },
      "embeds": [
        {
          "color": 14232864,
          "description": "\\# Flow @{zwsp}everyone \\<@{zwsp}1> failed - after \\[1.8\\](x) s.\n```\nline 1 `{zwsp}`{zwsp}` out\nline 2\n```",
          "fields": [
            {
              "inline": true,
              "name": "Status",
              "value": "Failure"
            },
            {
              "inline": true,
              "name": "Run",
              "value": "—"
            }
          ],
          "footer": {
            "text": "critical · flow.run.terminal"
          },
          "timestamp": "2026-05-02T04:00:12.345Z",
          "title": "Daily \\*revenue\\* failed",
          "url": "https://app.example.com/f1?a=1"
        }
      ]
    }
    "#);
}

#[test]
fn limits_hold_for_texts_without_end() {
    let mut long = sample();
    for text in ["*".repeat(100_000), "`".repeat(100_000), "😀".repeat(100_000), "@\u{202e}שלום".repeat(9_000)] {
        long.title = text.clone();
        long.summary = text.clone();
        long.detail = Some(text.clone());
        long.link = Some(format!("https://example.com/{text}"));
        long.fields = (0..30).map(|_| Field { label: "Status", value: text.clone() }).collect();
        let embed = &message(&long)["embeds"][0];
        let size = |pointer: &str| units(embed.pointer(pointer).and_then(Value::as_str).unwrap());
        let mut total = size("/title") + size("/description") + size("/footer/text");
        assert!(size("/title") <= 256 && size("/description") <= 4_096);
        for field in embed["fields"].as_array().unwrap() {
            let (name, value) = (field["name"].as_str().unwrap(), field["value"].as_str().unwrap());
            assert!((1..=256).contains(&units(name)) && (1..=1_024).contains(&units(value)));
            total += units(name) + units(value);
        }
        assert!(total <= 6_000, "{total}");
        assert_eq!(embed.get("url"), None, "a link that is too long is left out");
    }
}
