//! The plain text of a mail: wrapped, fields aligned, the link on a line of its own.

use std::fmt::Write;

use super::content::Content;
use super::entries;
use crate::link::Link;

/// Our own sentences are wrapped at this many characters; reported text keeps its lines.
const WIDTH: usize = 72;

/// Longer labels do not widen the column of values.
const LABEL_CHARS_MAX: usize = 20;

/// The text part. Lines end with `\n`.
pub(super) fn render(content: &Content) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}\n\n{}", wrap(&content.title, 0), wrap(&content.summary, 0));
    let is_short = content.is_detail_short();
    if is_short {
        write_detail(content, &mut text);
    }
    if let Some(Link::Web(url) | Link::Text(url)) = &content.link {
        let _ = write!(text, "\nView details:\n{url}\n");
    }
    entries::render_text(content, &mut text);
    let widths = content.fields.iter().map(|(label, _)| label.chars().count());
    let label_width = widths.filter(|width| *width <= LABEL_CHARS_MAX).max().unwrap_or(0) + 1;
    if !content.fields.is_empty() {
        text.push('\n');
    }
    for (label, value) in &content.fields {
        let _ = writeln!(text, "{:label_width$}  {}", format!("{label}:"), wrap(value, label_width + 2));
    }
    if !is_short {
        write_detail(content, &mut text);
    }
    // Two hyphens and a space start a signature, which clients set apart.
    let _ = write!(text, "\n-- \n{}\n", wrap(&content.reason, 0));
    text
}

fn write_detail(content: &Content, text: &mut String) {
    if let Some(detail) = &content.detail {
        let _ = write!(text, "\n{}:\n\n", content.detail_label);
        for line in detail.lines() {
            let _ = writeln!(text, "{}", format!("    {line}").trim_end());
        }
    }
}

/// Breaks at spaces so that lines fit into [`WIDTH`], except for longer words. Lines after the first are indented.
pub(super) fn wrap(text: &str, indent: usize) -> String {
    let mut wrapped = String::with_capacity(text.len() + 8);
    let mut column = indent;
    for word in text.split_whitespace() {
        let width = word.chars().count();
        if column > indent {
            if column + 1 + width > WIDTH {
                let _ = write!(wrapped, "\n{:indent$}", "");
                column = indent;
            } else {
                wrapped.push(' ');
                column += 1;
            }
        }
        wrapped.push_str(word);
        column += width;
    }
    wrapped
}

#[cfg(test)]
mod tests {
    use tidings_domain::event::Event;
    use tidings_domain::incident::IncidentTrigger;
    use tidings_domain::severity::Severity;

    use super::*;
    use crate::samples;

    fn rendered(event: &Event) -> String {
        render(&Content::from_message(&samples::message(event, Severity::Warning)))
    }

    #[test]
    fn render_failed_run() {
        let mut event = samples::failed_flow();
        event.run_mut().error_message = Some("relation \"orders\" does not exist\r\n\r\n  at line 3".into());
        insta::assert_snapshot!(rendered(&event), @r#"
        Daily revenue rollup failed

        Flow Daily revenue rollup failed after 1.8 s.

        Error:

            relation "orders" does not exist

              at line 3

        View details:
        https://app.example.com/flows/f1?run=01HX3K9T7Q

        Status:     Failure
        Flow:       Daily revenue rollup (f1)
        Run:        01HX3K9T7Q
        Trigger:    scheduled
        Completed:  2026-05-02 04:00:12 UTC
        Duration:   1.8 s
        Rows:       1,240,124

        -- 
        Sent by Tidings because a notification rule for the flow Daily revenue
        rollup names this address.
        "#);
    }

    #[test]
    fn render_incident() {
        insta::assert_snapshot!(rendered(&samples::incident(IncidentTrigger::Opened)), @"
        Production API is down

        Production API is down. The first failing check was at 2026-05-02
        03:46:12 UTC.

        Reason:

            HTTP 502 — expected 200

        Endpoint:     Production API
        Address:      https://api.example.com/health
        Started:      2026-05-02 03:46:12 UTC
        Ongoing for:  14 min 0 s
        Incident:     inc_05050505050505050505050505050505
        Region:       eu-west
        Tags:         prod, customer-facing

        -- 
        Sent by Tidings because a notification rule for the endpoint Production
        API names this address.
        ");
    }

    #[test]
    fn render_channel_test() {
        insta::assert_snapshot!(rendered(&samples::test_event()), @"
        Test notification from Tidings

        This channel works. Real notifications will look like this one.

        Flow:  sample
        Run:   test_010101010101
        Sent:  2026-05-02 04:00:12 UTC

        -- 
        Sent by Tidings because a test of this channel was requested.
        ");
    }

    #[test]
    fn wrap_breaks_at_spaces_only() {
        let wrapped = wrap(&"word ".repeat(40), 4);
        assert!(wrapped.lines().all(|line| line.chars().count() <= WIDTH), "{wrapped}");
        assert!(wrapped.lines().skip(1).all(|line| line.starts_with("    word")), "{wrapped}");
        assert_eq!(wrap(&"x".repeat(200), 0).len(), 200, "a word is not broken");
    }
}
