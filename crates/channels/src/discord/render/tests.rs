//! Rendered Discord messages, that hostile text stays text, and that no part exceeds Discord's limits.

use tidings_domain::calendar::Zone;
use tidings_domain::event::{Event, EventKind};
use tidings_domain::incident::IncidentTrigger;
use tidings_domain::message::{self, Field};
use tidings_domain::time::Timestamp;

use super::*;
use crate::samples;
use proptest::prelude::*;

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
         🔴 [Production API is down](https://app.example.com/incidents/0) · 2026-05-02 03:56:12 UTC\n\
         🟠 Checkout is degraded · 2026-05-02 03:57:12 UTC\n\n\
         **Runs**\n\
         🟠 [Daily revenue rollup failed](https://app.example.com/incidents/2) · 2026-05-02 03:58:12 UTC\n\n\
         **Over by now**\n\
         🟢 Website has recovered · 2026-05-02 03:59:12 UTC · 2 notifications"
    );
    assert_eq!(embed["fields"], json!([]));
}

/// Discord's limits as its documentation states them, not as the code has them: what of the message it would refuse.
fn refused(body: &Value) -> Vec<String> {
    let mut refused = Vec::new();
    let mut total = 0;
    let mut check = |what: &str, text: &Value, max: usize| {
        let text = text.as_str().unwrap_or_default();
        // Discord trims texts, and counts characters; UTF-16 units are at least as many.
        let units = text.encode_utf16().count();
        let invisible = |c: char| c.is_whitespace() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{feff}' | '\u{3164}');
        if text.chars().all(invisible) || units > max {
            refused.push(format!("{what}: {units} units, {text:.80}"));
        }
        total += units;
    };
    let embed = &body["embeds"][0];
    check("title", &embed["title"], 256);
    check("description", &embed["description"], 4_096);
    check("footer", &embed["footer"]["text"], 2_048);
    let fields = embed["fields"].as_array().unwrap();
    for field in fields {
        check("name", &field["name"], 256);
        check("value", &field["value"], 1_024);
    }
    if total > 6_000 || fields.len() > 25 {
        refused.push(format!("{total} units and {} fields", fields.len()));
    }
    // "Not a well formed URL": other schemes, hosts without a dot, spaces, characters that are not ASCII.
    if let Some(url) = embed.get("url").and_then(Value::as_str) {
        let host = url.split("://").nth(1).and_then(|rest| rest.split(['/', ':', '?', '#']).next()).unwrap_or_default();
        let is_web = url.starts_with("https://") || url.starts_with("http://");
        if !is_web || !host.contains('.') || !url.bytes().all(|byte| byte.is_ascii_graphic()) || url.len() > 2_048 {
            refused.push(format!("url {url}"));
        }
    }
    refused
}

/// Whether every character of markup is escaped, but for the renderer's own: bold headings, a fence, links.
fn is_inert(text: &str) -> bool {
    let outside = match text.split("```").collect::<Vec<_>>().as_slice() {
        [all] => (*all).to_owned(),
        [before, _, after] => format!("{before}{after}"),
        _ => return false,
    };
    let outside = ["Still open", "Runs", "Over by now", "Error", "Reason", "What was wrong"]
        .iter()
        .fold(outside, |text, heading| text.replace(&format!("**{heading}**"), ""));
    let mut escaped = false;
    let mut brackets = 0_i32;
    for (at, character) in outside.char_indices() {
        if escaped {
            escaped = false;
            continue;
        }
        match character {
            '\\' => escaped = true,
            '[' => brackets += 1,
            // A link of ours: no other bracket is unescaped.
            ']' if outside[at..].starts_with("](http") => brackets -= 1,
            '*' | '~' | '`' | '|' | ']' | '<' => return false,
            '@' if outside[at..].starts_with("@e") || outside[at..].starts_with("@h") => return false,
            _ => {}
        }
    }
    brackets == 0
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn render_any_text_keeps_limits_and_is_inert(event in samples::hostile_event()) {
        let message = texts(&event, Severity::Critical);
        let body = render(&message);
        let refused_parts = refused(&body);
        prop_assert!(refused_parts.is_empty(), "{:?}", refused_parts);
        let embed = &body["embeds"][0];
        for text in [&embed["title"], &embed["description"]] {
            prop_assert!(is_inert(text.as_str().unwrap()), "{}", text);
        }
        let plain = render_plain(&message);
        let content = plain["content"].as_str().unwrap();
        prop_assert!((1..=2_000).contains(&content.encode_utf16().count()), "{}", content.len());
        prop_assert!(is_inert(content), "{}", content);
        for body in [&body, &plain] {
            let mentions = json!({"parse": []});
            prop_assert_eq!(&body["allowed_mentions"], &mentions);
            let whole = body.to_string();
            let is_clean = !whole.contains("\\u001b") && !whole.contains('\u{202e}');
            prop_assert!(is_clean);
        }
    }
}

#[test]
fn links_that_discord_finds_malformed_are_text() {
    for (link, url, text) in [
        ("https://app.example.com/f1?a=b c", Some("https://app.example.com/f1?a=b%20c"), None),
        ("HTTPS://Bücher.example/x", Some("https://xn--bcher-kva.example/x"), None),
        ("http://grafana/d/1", None, Some("http://grafana/d/1")),
        ("http://localhost:3000/", None, Some("http://localhost:3000/")),
        ("/runs/1", None, Some("/runs/1")),
        ("javascript:alert(1)", None, Some("javascript:alert(1)")),
    ] {
        let mut event = samples::failed_flow();
        event.run_mut().deep_link = Some(link.into());
        let body = render(&texts(&event, Severity::Warning));
        let embed = &body["embeds"][0];
        assert_eq!(embed.get("url").and_then(Value::as_str), url, "{link}");
        let shown = embed["fields"].as_array().unwrap().iter().find(|field| field["name"] == "Link");
        assert_eq!(shown.and_then(|field| field["value"].as_str()), text, "{link}");
    }
}

#[test]
fn long_detail_keeps_both_ends_and_the_fields() {
    let mut event = samples::failed_flow();
    event.run_mut().error_message = Some(format!("Traceback:\n{}ValueError: bad", "  File x\n".repeat(2_000)));
    let embed = &render(&texts(&event, Severity::Warning))["embeds"][0];
    let description = embed["description"].as_str().unwrap();
    assert!(description.contains("```\nTraceback:") && description.ends_with("ValueError: bad\n```"), "{description}");
    assert!(utf16_len(description) < 1_200 && embed["fields"].as_array().unwrap().len() == 7);
}
