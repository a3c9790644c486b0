//! What all pages share: the head, the search, the list of operations, and text.

use maud::{DOCTYPE, Markup, html};

use super::operation::Operation;
use super::{Description, anchor, name};

/// A whole page around its content.
pub(super) fn frame(
    description: &Description,
    title: &str,
    current: Option<Operation<'_>>,
    search: &str,
    content: &Markup,
) -> Markup {
    let product = description.info("title");
    let operations: Vec<_> = description.operations().collect();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) @if title != product { " · " (product) } }
                link rel="stylesheet" href="/docs/style.css";
            }
            body {
                a.skip href="#content" { "Skip to content" }
                header {
                    a.product href="/docs" { (product) }
                    form action="/docs" role="search" {
                        input type="search" name="q" value=(search) aria-label="Search operations"
                            placeholder="Search operations" maxlength="100";
                        button { "Search" }
                    }
                }
                div.columns {
                    nav aria-label="Operations" {
                        @for (tag, operations) in description.by_tag(&operations) {
                            // One group is open: the page's own.
                            @let is_current = current.is_some_and(|it| it.tag() == name(tag));
                            details open[is_current] {
                                summary { (name(tag)) }
                                ul {
                                    @for operation in &operations {
                                        @let here = current.is_some_and(|it| it.id() == operation.id());
                                        li { a href=(operation.href()) aria-current=[here.then_some("page")] {
                                            (operation.summary())
                                        } }
                                    }
                                }
                            }
                        }
                    }
                    main id="content" tabindex="-1" {
                        @if let Some(operation) = current {
                            p.crumbs {
                                a href="/docs" { (product) } " › "
                                a href=(format!("/docs#{}", anchor(operation.tag_object()))) { (operation.tag()) }
                            }
                        }
                        (content)
                    }
                }
            }
        }
    }
}

/// The method of an operation, coloured by what it does.
pub(super) fn method_badge(method: &str) -> Markup {
    html! { span class=(format!("method {method}")) { (method.to_uppercase()) } " " }
}

/// Text of the description: paragraphs between empty lines, and code between backticks.
pub(super) fn prose(text: &str) -> Markup {
    html! {
        @for paragraph in text.split("\n\n").filter(|it| !it.trim().is_empty()) { p { (line(paragraph)) } }
    }
}

/// The same without paragraphs.
pub(super) fn line(text: &str) -> Markup {
    html! {
        @for (number, part) in text.split('`').enumerate() {
            @if number % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}
