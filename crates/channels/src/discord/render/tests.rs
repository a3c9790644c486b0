//! Rendered Discord messages, and that hostile text stays text.

use tidings_domain::calendar::Zone;
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
        severity: Severity::Critical,
        title: "Daily *revenue* failed".into(),
        summary: "# Flow @everyone <@1> failed - after [1.8](x) s.".into(),
        detail_label: "Error",
        detail: Some("line 1 ``` out\nline 2".into()),
        link: Some("https://app.example.com/f1?a=1".into()),
        fields: vec![Field::new("Status", "Failure"), Field::new("Run", " ")],
        tags: vec!["prod".into(), "a*b <!here> @everyone".into()],
        entries: Vec::new(),
        entries_left: 0,
        thread: None,
        zone: Zone::UTC,
        timestamp: Timestamp::from_unix_ms(1_777_694_412_345),
    }
}

#[test]
fn render_run_message() {
    // Invisible characters are spelled out.
    let shown = format!("{:#}", render(&sample())).replace(crate::truncate::ZERO_WIDTH_SPACE, "{zwsp}");
    insta::assert_snapshot!(shown, @r#"
    {
      "allowed_mentions": {
        "parse": []
      },
      "embeds": [
        {
          "color": 14232864,
          "description": "\\# Flow @{zwsp}everyone \\<@{zwsp}1> failed - after \\[1.8\\](x) s.\n**Error**\n```\nline 1 `{zwsp}`{zwsp}` out\nline 2\n```",
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
            },
            {
              "inline": true,
              "name": "Tags",
              "value": "prod, a\\*b \\<!here> @{zwsp}everyone"
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
fn render_incident_describes_reason() {
    let embed = &render(&texts(&samples::incident(IncidentTrigger::Opened), Severity::Critical))["embeds"][0];
    assert_eq!((&embed["title"], &embed["color"]), (&json!("Production API is down"), &json!(0xd9_2d_20)));
    let description = embed["description"].as_str().unwrap();
    assert!(description.ends_with("**Reason**\n```\nHTTP 502 — expected 200\n```"), "{description}");
    let names: Vec<_> = embed["fields"].as_array().unwrap().iter().map(|field| field["name"].as_str()).collect();
    let expected = ["Endpoint", "Address", "Started", "Ongoing for", "Incident", "Region", "Tags"];
    assert_eq!(names, expected.map(Some));
}

#[test]
fn render_digest_groups_entries_by_state() {
    let embed = &render(&texts(&samples::digest(4), Severity::Critical))["embeds"][0];
    assert_eq!(
        embed["description"],
        "They were held back: quiet hours of On-call. What is still open comes first.\n\n\
         **Still open**\n\
         🔴 [Production API is down](https://app.example.com/incidents/0) · <t:1777694172:f>\n\
         🟠 Checkout is degraded · <t:1777694232:f>\n\n\
         **Runs**\n\
         🟠 [Daily revenue rollup failed](https://app.example.com/incidents/2) · <t:1777694292:f>\n\n\
         **Over by now**\n\
         🟢 Website has recovered · <t:1777694352:f> · 2 notifications"
    );
    assert_eq!(embed["fields"], json!([]));
}

#[test]
fn render_digest_of_hostile_entries_keeps_limits() {
    for text in ["*".repeat(10_000), "[x](y) @everyone ".repeat(500), "😀".repeat(10_000), " \n".repeat(9)] {
        let mut event = samples::digest(2_000);
        let Content::Digest(digest) = &mut event.content else { panic!("a digest") };
        for entry in &mut digest.entries {
            entry.title = text.clone();
            entry.link = Some("https://example.com/a(b)c*d`e".into());
        }
        let embed = &render(&texts(&event, Severity::Critical))["embeds"][0];
        let description = embed["description"].as_str().unwrap();
        assert!(utf16_len(description) <= 4_096 && utf16_len(description) > 3_500, "{}", utf16_len(description));
        let (_, more) = description.rsplit_once("\n\n… and 1,9").unwrap();
        assert!(more.ends_with(" more"), "{more}");
        assert!(description.contains("](https://example.com/a%28b%29c%2Ad%60e)"), "the URL does not end its link");
    }
}

#[test]
fn render_huge_texts_keeps_limits() {
    let mut long = sample();
    for text in ["*".repeat(100_000), "`".repeat(100_000), "😀".repeat(100_000), "@\u{202e}שלום".repeat(9_000)] {
        long.title = text.clone();
        long.summary = text.clone();
        long.detail = Some(text.clone());
        long.link = Some(format!("https://example.com/{text}"));
        long.fields = (0..30).map(|_| Field::new("Status", text.clone())).collect();
        let embed = &render(&long)["embeds"][0];
        let size = |pointer: &str| utf16_len(embed.pointer(pointer).and_then(Value::as_str).unwrap());
        let mut total = size("/title") + size("/description") + size("/footer/text");
        assert!(size("/title") <= 256 && size("/description") <= 4_096);
        for field in embed["fields"].as_array().unwrap() {
            let (name, value) = (field["name"].as_str().unwrap(), field["value"].as_str().unwrap());
            assert!((1..=256).contains(&utf16_len(name)) && (1..=1_024).contains(&utf16_len(value)));
            total += utf16_len(name) + utf16_len(value);
        }
        assert!(total <= 6_000, "{total}");
        assert_eq!(embed.get("url"), None, "a link that is too long is omitted");
    }
}
