//! The HTML of a mail: one table, inline styles, and colours that stay legible when a client inverts them.
//!
//! Mail clients support little CSS. What is essential is inline; the `<style>` only adds what some of them support: our
//! own dark colours, and narrower margins on phones. maud escapes every interpolated text.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use tidings_domain::severity::Severity;

use super::content::Content;
use super::entries;
use crate::link::Link;

const FONT: &str = "-apple-system,BlinkMacSystemFont,'Segoe UI',Roboto,Helvetica,Arial,sans-serif";
const MONO: &str = "ui-monospace,SFMono-Regular,Menlo,Consolas,'Liberation Mono',monospace";

const PAGE: &str = "background-color:#f3f4f6";

/// Outlook on Windows ignores `max-width`; a table around the content limits the width there.
const OUTLOOK_BEGIN: &str =
    "<!--[if mso]><table role=\"presentation\" width=\"600\" cellpadding=\"0\" cellspacing=\"0\"><tr><td><![endif]-->";
const OUTLOOK_END: &str = "<!--[if mso]></td></tr></table><![endif]-->";

/// Optional extras. `!important` is needed to override inline styles.
const STYLE: &str = "
:root { color-scheme: light dark; supported-color-schemes: light dark; }
@media (max-width: 480px) {
  .page { padding: 0 !important; }
  .card { border-radius: 0 !important; border-left: 0 !important; border-right: 0 !important; }
  .cell { padding-left: 20px !important; padding-right: 20px !important; }
}
@media (prefers-color-scheme: dark) {
  .page { background-color: #15171c !important; }
  .card { background-color: #1f2229 !important; border-color: #343842 !important; }
  .strong { color: #f2f4f8 !important; }
  .soft { color: #a9b1bf !important; }
  .rule { border-color: #343842 !important; }
  .error { background-color: #15171c !important; }
  .link { color: #8ab4f8 !important; }
}";

/// The colour of bar and button, and the label.
pub(super) const fn severity_style(severity: Severity) -> (&'static str, &'static str) {
    match severity {
        Severity::Critical => ("#b3261e", "Critical"),
        Severity::Warning => ("#b45309", "Warning"),
        Severity::Info => ("#2563a8", "Info"),
        Severity::Success => ("#1a7f37", "Success"),
    }
}

/// The HTML part.
pub(super) fn render(content: &Content) -> String {
    let (colour, severity) = severity_style(content.severity);
    let is_short = content.is_detail_short();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta http-equiv="Content-Type" content="text/html; charset=utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="supported-color-schemes" content="light dark";
                title { (content.title) }
                style { (PreEscaped(STYLE)) }
            }
            body.page style={ "margin:0;padding:0;width:100%;-webkit-text-size-adjust:100%;" (PAGE) } {
                (preheader(&content.preview()))
                table.page role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0"
                    style={ (PAGE) ";padding:24px 12px" } {
                    tr { td align="center" {
                        (PreEscaped(OUTLOOK_BEGIN))
                        table.card role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0"
                            style="max-width:600px;background-color:#ffffff;border:1px solid #d9dce1;\
                                   border-radius:8px;border-collapse:separate;overflow:hidden" {
                            tr { td height="5" bgcolor=(colour) style={
                                "height:5px;line-height:5px;font-size:0;background-color:" (colour)
                            } { (PreEscaped("&nbsp;")) } }
                            (row("24px 28px 0", headline(content, colour, severity)))
                            @if is_short { (row("18px 28px 0", detail(content, colour))) }
                            @if let Some(Link::Web(url)) = &content.link { (row("18px 28px 0", button(url, colour))) }
                            @if !content.items.is_empty() { (row("20px 28px 0", entries::render_html(content))) }
                            @if !content.fields.is_empty() { (row("20px 28px 0", fields(&content.fields))) }
                            @if !is_short && content.detail.is_some() {
                                (row("20px 28px 0", detail(content, colour)))
                            }
                            (row("20px 28px 24px", footer(content)))
                        }
                        (PreEscaped(OUTLOOK_END))
                    } }
                }
            }
        }
    };
    page.into_string()
}

/// The preview that mail lists show beside the subject. The padding keeps clients from adding the start of the body.
fn preheader(preview: &str) -> Markup {
    html! {
        div style="display:none;max-height:0;max-width:0;overflow:hidden;opacity:0;font-size:1px;line-height:1px" {
            (preview) (PreEscaped("&#847;&zwnj;&nbsp;".repeat(60)))
        }
    }
}

fn row(padding: &str, inner: Markup) -> Markup {
    html! { tr { td.cell style={ "padding:" (padding) ";font-family:" (FONT) } { (inner) } } }
}

fn headline(content: &Content, colour: &str, severity: &str) -> Markup {
    html! {
        table role="presentation" cellpadding="0" cellspacing="0" border="0" { tr {
            td bgcolor=(colour) style={
                "padding:3px 9px;border-radius:4px;background-color:" (colour)
                ";color:#ffffff;font-size:12px;line-height:16px;font-weight:600"
            } { (severity) }
        } }
        h1.strong style="margin:12px 0 0;font-size:21px;line-height:28px;font-weight:600;color:#1b1f24;\
                         overflow-wrap:anywhere;word-break:break-word" { (content.title) }
        p.soft style="margin:6px 0 0;font-size:15px;line-height:22px;color:#57606a;\
                      overflow-wrap:anywhere;word-break:break-word" { (content.summary) }
    }
}

/// The reason. An incident's is written for people and, if short, set large: it is what the mail is opened for. A run's
/// is program output, in a monospaced font.
fn detail(content: &Content, colour: &str) -> Markup {
    let font = match content.incident_id {
        Some(_) if content.fits_preview() => {
            format!("font-family:{FONT};font-size:18px;line-height:25px;font-weight:600")
        }
        Some(_) => format!("font-family:{FONT};font-size:15px;line-height:22px"),
        None => format!("font-family:{MONO};font-size:13px;line-height:19px"),
    };
    html! {
        div.soft style="margin:0 0 6px;font-size:12px;line-height:16px;font-weight:600;color:#57606a" {
            (content.detail_label)
        }
        table.error role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0"
            style="background-color:#f6f7f9;border-collapse:separate;border-radius:6px;overflow:hidden" { tr {
            td width="4" bgcolor=(colour) style={ "width:4px;font-size:0;background-color:" (colour) } {}
            td style="padding:12px 14px" {
                pre.strong style={
                    "margin:0;" (font) ";color:#1b1f24;"
                    "white-space:pre-wrap;word-wrap:break-word;overflow-wrap:anywhere;word-break:break-word"
                } { (content.detail.as_deref().unwrap_or_default()) }
            }
        } }
    }
}

fn fields(fields: &[(String, String)]) -> Markup {
    html! {
        table.rule width="100%" cellpadding="0" cellspacing="0" border="0"
            style="border-collapse:collapse;font-size:14px;line-height:20px" {
            @for (label, value) in fields {
                tr {
                    td.soft.rule valign="top" width="116" style="width:116px;padding:8px 12px 8px 0;\
                        border-top:1px solid #e6e8ec;color:#57606a;overflow-wrap:anywhere;word-break:break-word" {
                        (label)
                    }
                    td.strong.rule valign="top" style="padding:8px 0;border-top:1px solid #e6e8ec;color:#1b1f24;\
                        overflow-wrap:anywhere;word-break:break-word" { (value) }
                }
            }
        }
    }
}

fn button(url: &str, colour: &str) -> Markup {
    html! {
        table role="presentation" cellpadding="0" cellspacing="0" border="0" { tr {
            td bgcolor=(colour) style={ "border-radius:6px;background-color:" (colour) } {
                a href=(url) style={
                    "display:inline-block;padding:10px 18px;font-family:" (FONT)
                    ";font-size:15px;line-height:20px;font-weight:600;color:#ffffff;text-decoration:none"
                } { "View details" }
            }
        } }
    }
}

/// The link as text, for readers who cannot use the button, and why the mail was sent.
fn footer(content: &Content) -> Markup {
    html! {
        div.soft.rule style="margin:0;padding:16px 0 0;border-top:1px solid #e6e8ec;font-size:12px;line-height:18px;\
                             color:#57606a;overflow-wrap:anywhere;word-break:break-word" {
            @match &content.link {
                Some(Link::Web(url)) => p style="margin:0 0 8px;word-break:break-all" {
                    a.link href=(url) style="color:#2563a8" { (url) }
                },
                Some(Link::Text(text)) => p style="margin:0 0 8px;word-break:break-all" { "Details: " (text) },
                None => {},
            }
            (content.reason)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn rendered(change: impl FnOnce(&mut tidings_domain::event::Event)) -> String {
        let mut event = samples::failed_flow();
        change(&mut event);
        render(&Content::from_message(&samples::message(&event, Severity::Critical)))
    }

    #[test]
    fn render_escapes_every_text() {
        let page = rendered(|event| {
            event.run_mut().resource_name = Some("<script>alert(1)</script>".into());
            event.run_mut().error_message = Some("</pre><img src=x onerror=alert(1)>".into());
            event.run_id = "\"><b>".into();
            event.run_mut().deep_link = Some("https://app.example.com/?\"onclick=\"x&y='<b>".into());
        });
        for wrong in ["<script", "<img", "<b>", "\"onclick", "</pre><img"] {
            assert!(!page.contains(wrong), "{wrong}");
        }
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt; failed"));
    }

    #[test]
    fn render_only_web_links_are_clickable() {
        let page = rendered(|event| event.run_mut().deep_link = Some("javascript:alert(1)".into()));
        assert!(!page.contains("href") && page.contains("Details: javascript:alert(1)"));
        let page = rendered(|_| {});
        assert_eq!(page.matches("href=\"https://app.example.com/flows/f1?run=01HX3K9T7Q\"").count(), 2);
    }

    #[test]
    fn render_huge_error_stays_below_clipping_size() {
        let page = rendered(|event| event.run_mut().error_message = Some("\"<&é".repeat(1 << 18)));
        assert!(page.len() < 100_000, "{} bytes", page.len());
        assert!(page.contains("characters left out …"));
    }
}
