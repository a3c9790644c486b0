//! A digest's entries in a mail, as HTML and as text: a heading per state, ongoing entries first.

use std::fmt::Write;

use maud::{Markup, html};
use tidings_domain::digest::{Entry, EntryState};
use tidings_domain::message::{Message, format_state};
use tidings_domain::severity::Severity;

use tidings_domain::text::truncate_chars;

use super::content::Content;
use super::html::severity_style;
use super::text::wrap;
use crate::link::Link;

const TITLE_CHARS_MAX: usize = 160;
const REASON_CHARS_MAX: usize = 200;

/// Longer links are omitted: fifty of them would make a mail that clients clip.
const URL_BYTES_MAX: usize = 400;

/// One entry, as plain text.
pub(super) struct DigestItem {
    pub state: EntryState,
    pub severity: Severity,
    /// On one line.
    pub title: String,
    /// The error or cause, on one line.
    pub reason: Option<String>,
    /// The time, the run, and the number of notifications if there are several.
    pub facts: String,
    /// A web link.
    pub url: Option<String>,
}

impl DigestItem {
    /// Cuts the entry's texts.
    pub(super) fn from_entry(message: &Message, entry: &Entry) -> Self {
        Self {
            state: entry.state,
            severity: entry.severity,
            title: truncate_chars(&entry.title, TITLE_CHARS_MAX),
            reason: entry.reason.as_deref().map(|reason| truncate_chars(reason, REASON_CHARS_MAX)),
            facts: truncate_chars(&message.format_entry_facts(entry), TITLE_CHARS_MAX),
            url: match entry.link.as_deref().and_then(|link| Link::parse(link, URL_BYTES_MAX)) {
                Some(Link::Web(url)) => Some(url),
                _ => None,
            },
        }
    }
}

/// Runs of entries with the same state.
fn groups(items: &[DigestItem]) -> impl Iterator<Item = &[DigestItem]> {
    items.chunk_by(|one, next| one.state == next.state)
}

/// The list as HTML.
pub(super) fn render_html(content: &Content) -> Markup {
    html! {
        table width="100%" cellpadding="0" cellspacing="0" border="0"
            style="border-collapse:collapse;font-size:14px;line-height:20px" {
            @for (at, group) in groups(&content.items).enumerate() {
                tr { td.strong colspan="2" style={
                    "padding:" (if at == 0 { "0" } else { "18px" }) " 0 6px;font-weight:600;color:#1b1f24"
                } { (format_state(group[0].state)) } }
                @for item in group { (html_entry(item)) }
            }
            @if let Some(more) = &content.more {
                tr { td.soft.rule colspan="2" style="padding:10px 0 0;border-top:1px solid #e6e8ec;color:#57606a" {
                    (more)
                } }
            }
        }
    }
}

fn html_entry(item: &DigestItem) -> Markup {
    let (colour, severity) = severity_style(item.severity);
    html! {
        tr {
            td.rule valign="top" width="80" style="width:80px;padding:9px 10px 9px 0;border-top:1px solid #e6e8ec" {
                span style={
                    "display:inline-block;padding:1px 7px;border-radius:4px;background-color:" (colour)
                    ";color:#ffffff;font-size:11px;line-height:17px;font-weight:600"
                } { (severity) }
            }
            td.rule valign="top" style="padding:8px 0;border-top:1px solid #e6e8ec;overflow-wrap:anywhere;\
                                        word-break:break-word" {
                @match &item.url {
                    Some(url) => a.link href=(url) style="color:#2563a8;font-weight:600" { (item.title) },
                    None => span.strong style="color:#1b1f24;font-weight:600" { (item.title) },
                }
                @if let Some(reason) = &item.reason {
                    div.strong style="color:#1b1f24;font-size:13px;line-height:18px" { (reason) }
                }
                div.soft style="color:#57606a;font-size:12px;line-height:17px" { (item.facts) }
            }
        }
    }
}

/// The list as text.
pub(super) fn render_text(content: &Content, text: &mut String) {
    for group in groups(&content.items) {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n{}:\n\n", format_state(group[0].state));
        for item in group {
            let (_, severity) = severity_style(item.severity);
            let _ = writeln!(text, "  * {}", wrap(&format!("{severity}: {}", item.title), 4));
            if let Some(reason) = &item.reason {
                let _ = writeln!(text, "    {}", wrap(reason, 4));
            }
            let _ = writeln!(text, "    {}", item.facts);
            if let Some(url) = &item.url {
                let _ = writeln!(text, "    {url}");
            }
        }
    }
    if let Some(more) = &content.more {
        let _ = write!(text, "\n{more}\n");
    }
}

#[cfg(test)]
mod tests {
    use tidings_domain::event::{Content as EventContent, Event};

    use super::*;
    use crate::email::{html as page, text};
    use crate::samples;

    fn content(event: &Event) -> Content {
        Content::from_message(&samples::message(event, Severity::Critical))
    }

    #[test]
    fn render_text_digest() {
        insta::assert_snapshot!(text::render(&content(&samples::digest(4))), @"
        5 notifications were held back, 2 incidents are still open

        They were held back: quiet hours of On-call. What is still open comes
        first.

        Still open:

          * Critical: Production API is down
            2026-05-02 03:56:12 UTC
            https://app.example.com/incidents/0
          * Warning: Checkout is degraded
            2026-05-02 03:57:12 UTC

        Runs:

          * Warning: Daily revenue rollup failed
            2026-05-02 03:58:12 UTC
            https://app.example.com/incidents/2

        Over by now:

          * Success: Website has recovered
            2026-05-02 03:59:12 UTC · 2 notifications

        -- 
        Sent by Tidings because notifications for this address were held back
        until now.
        ");
    }

    #[test]
    fn render_html_lists_up_to_the_limit_and_counts_the_rest() {
        let shown = page::render(&content(&samples::digest(2_000)));
        assert_eq!(shown.matches("line-height:17px;font-weight:600").count(), 50);
        assert!(shown.contains("… and 1,950 more"));
        assert!(shown.contains("2,500 notifications were held back, 1,000 incidents are still open"));
        assert!(shown.len() < 100_000, "{} bytes", shown.len());
    }

    #[test]
    fn render_hostile_entries_stay_text_and_small() {
        let mut event = samples::digest(100);
        let EventContent::Digest(digest) = &mut event.content else { panic!("a digest") };
        for (at, entry) in digest.entries.iter_mut().enumerate() {
            entry.title = format!("</td><script>{}", "\"<&é\r\n".repeat(1_000));
            entry.link = Some(match at % 3 {
                0 => "javascript:alert(1)".into(),
                1 => format!("https://example.com/{}", "x".repeat(5_000)),
                _ => format!("https://example.com/\"><script>?a=1&b={}", "&".repeat(300)),
            });
        }
        let content = content(&event);
        let page = page::render(&content);
        assert!(!page.contains("<script") && !page.contains("javascript:") && !page.contains("xxx"));
        assert!(page.len() < 100_000, "{} bytes", page.len());
        assert!(text::render(&content).lines().all(|line| line.len() < 998));
    }
}
