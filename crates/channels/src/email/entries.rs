//! A digest's entries in a mail: what is still open first, under a head for each state, as HTML and as text.

use std::fmt::Write;

use maud::{Markup, html};
use tidings_domain::digest::{Entry, EntryState};
use tidings_domain::message::{format_instant, format_state, with_thousands_separators};
use tidings_domain::severity::Severity;

use super::clean;
use super::content::{Content, Link};
use super::html::look;
use super::text::wrap;

/// A title is cut at this many characters.
const TITLE_CHARS_MAX: usize = 160;

/// Longer links are left out: fifty of them would make a mail that clients clip.
const URL_BYTES_MAX: usize = 400;

/// One entry. All text is plain.
pub(super) struct Item {
    /// How it stands.
    pub state: EntryState,
    /// How bad it is.
    pub severity: Severity,
    /// All of it in one line.
    pub title: String,
    /// When it happened, and how many events it stands for.
    pub when: String,
    /// Where a person can look at it.
    pub url: Option<String>,
}

impl Item {
    /// The entry, cleaned and cut.
    pub(super) fn of(entry: &Entry) -> Self {
        let mut when = format_instant(entry.at);
        if entry.events > 1 {
            let _ = write!(when, " · {} notifications", with_thousands_separators(entry.events.into()));
        }
        Self {
            state: entry.state,
            severity: entry.severity,
            title: clean::block(&clean::line(&entry.title), TITLE_CHARS_MAX),
            when,
            url: match entry.link.as_deref().and_then(Link::of) {
                Some(Link::Web(url)) if url.len() <= URL_BYTES_MAX => Some(url),
                _ => None,
            },
        }
    }
}

/// The items that stand alike, one head each.
fn groups(items: &[Item]) -> impl Iterator<Item = &[Item]> {
    items.chunk_by(|one, next| one.state == next.state)
}

/// The list as HTML.
pub(super) fn html(content: &Content) -> Markup {
    html! {
        table width="100%" cellpadding="0" cellspacing="0" border="0"
            style="border-collapse:collapse;font-size:14px;line-height:20px" {
            @for (at, group) in groups(&content.items).enumerate() {
                tr { td.strong colspan="2" style={
                    "padding:" (if at == 0 { "0" } else { "18px" }) " 0 6px;font-weight:600;color:#1b1f24"
                } { (format_state(group[0].state)) } }
                @for item in group { (html_row(item)) }
            }
            @if let Some(more) = &content.more {
                tr { td.soft.rule colspan="2" style="padding:10px 0 0;border-top:1px solid #e6e8ec;color:#57606a" {
                    (more)
                } }
            }
        }
    }
}

fn html_row(item: &Item) -> Markup {
    let (colour, severity) = look(item.severity);
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
                div.soft style="color:#57606a;font-size:12px;line-height:17px" { (item.when) }
            }
        }
    }
}

/// The list as text.
pub(super) fn write_text(content: &Content, text: &mut String) {
    for group in groups(&content.items) {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n{}:\n\n", format_state(group[0].state));
        for item in group {
            let (_, severity) = look(item.severity);
            let _ = writeln!(text, "  * {}\n    {}", wrap(&format!("{severity}: {}", item.title), 4), item.when);
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
    use tidings_domain::event::{Content as Told, Event};

    use super::*;
    use crate::email::{html as page, text};
    use crate::samples;

    fn content(event: &Event) -> Content {
        Content::of(&samples::letter(event, Severity::Critical))
    }

    #[test]
    fn a_digest_reads_well() {
        insta::assert_snapshot!(text::render(&content(&samples::digest(4))), @"
        4 notifications were held back, 2 of them still open

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
    fn a_page_lists_what_fits_and_counts_the_rest() {
        let shown = page::render(&content(&samples::digest(2_000)));
        assert_eq!(shown.matches("line-height:17px;font-weight:600").count(), 50);
        assert!(shown.contains("… and 1,950 more"));
        assert!(shown.contains("2,000 notifications were held back, 1,000 of them still open"));
        assert!(shown.len() < 100_000, "{} bytes", shown.len());
    }

    #[test]
    fn hostile_entries_stay_text_and_the_page_small() {
        let mut event = samples::digest(100);
        let Told::Digest(digest) = &mut event.content else { panic!("a digest") };
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
