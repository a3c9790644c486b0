//! Pages of the documentation.

use serde_json::json;

use super::*;

fn description() -> Description {
    Description::new(json!({
        "openapi": "3.1.0",
        "info": {"title": "Tidings", "version": "1.2.3", "description": "First, with `code`.\n\nSecond <b>."},
        "tags": [{"name": "Runs", "description": "What ended."}, {"name": "Mutes"}, {"name": "Unused"}],
        "paths": {
            "/api/workspaces/{workspace}/runs": {
                "post": {
                    "operationId": "reportRuns", "summary": "Report runs", "tags": ["Runs"], "x-permission": "report",
                    "parameters": [{"name": "workspace", "in": "path", "required": true, "schema": {"type": "string"},
                                    "example": "default"}],
                    "requestBody": {"required": true, "content": {"application/json": {
                        "schema": {"$ref": "#/components/schemas/Run"}, "example": {"runId": "it's 1"}}}},
                    "responses": {
                        "202": {"description": "Accepted", "content": {"application/json": {
                            "schema": {"type": "object", "properties": {"duplicate": {"type": "boolean"}}}}}},
                        "422": {"description": "`invalid`: a field is invalid"},
                    },
                },
            },
            "/healthz": {
                "get": {"operationId": "health", "summary": "Health <check>", "tags": ["Mutes"], "security": [],
                        "responses": {"200": {"description": "Alive"}}},
            },
        },
        "components": {"schemas": {
            "Run": {
                "type": "object", "required": ["runId"], "description": "A run.",
                "properties": {
                    "runId": {"type": "string", "minLength": 1, "maxLength": 2_000},
                    "parent": {"oneOf": [{"type": "null"}, {"$ref": "#/components/schemas/Run"}]},
                    "status": {"type": "string", "enum": ["success", "failure"]},
                    "delays": {"type": ["array", "null"], "items": {"type": "integer", "format": "uint32"}, "maxItems": 20},
                    "timeoutMs": {"type": "integer", "minimum": 1_000, "default": 15_000},
                    "headers": {"type": "object", "additionalProperties": {"type": "string"}},
                },
            },
            "Problem": {"type": "object"},
        }},
    }))
}

/// The text of a page, without its tags.
fn text(page: &Markup) -> String {
    let content = page.0.split_once("<main").map_or("", |(_, rest)| rest);
    let mut words = String::new();
    let mut in_tag = true;
    for character in content.chars() {
        match character {
            '<' => in_tag = true,
            '>' => in_tag = false,
            _ if !in_tag => words.push(character),
            _ => {}
        }
    }
    words
}

#[test]
fn index_lists_operations_by_tag() {
    let page = description().index("");
    assert!(page.0.starts_with("<!DOCTYPE html>"), "{}", page.0);
    let text = text(&page);
    assert!(text.contains("First, with code.Second &lt;b&gt;."), "{text}");
    assert!(text.contains("RunsWhat ended.POST /runsReport runs"), "{text}");
    assert!(text.contains("MutesGET /healthzHealth &lt;check&gt;"), "{text}");
    assert!(!text.contains("Unused"), "{text}");
}

#[test]
fn search_finds_operations_that_contain_every_word() {
    let of = |search: &str| text(&description().index(search));
    let found = of("RUNID post");
    assert!(found.contains("One operation contains RUNID post.") && found.contains("Report runs"), "{found}");
    assert!(!found.contains("Health"), "{found}");
    let none = of("runid <script>");
    assert!(none.contains("No operation contains runid &lt;script&gt;."), "{none}");
}

#[test]
fn operation_page_shows_parameters_body_example_and_answers() {
    let text = text(&description().operation("reportRuns").unwrap());
    for expected in [
        "POST /api/workspaces/{workspace}/runs",
        "Needs the permission report: admins, owners, API keys that are not read-only.",
        "workspace string",
        "runId string, 1 to 2,000 characters required",
        "parent null or Run",
        "status success | failure",
        "delays list of integer or null, at most 20 elements",
        "timeoutMs integer, at least 1,000, default 15,000",
        "headers object of string",
        "curl -sS -X POST &quot;$TIDINGS_URL/api/workspaces/default/runs&quot;",
        "it'\\''s 1",
        "202 Accepted",
        "duplicate boolean",
        "422invalid: a field is invalid",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(description().operation("nothing").is_none());
}

#[test]
fn schema_page_names_its_users_and_ends_although_it_contains_itself() {
    let text = text(&description().named_schema("Run").unwrap());
    assert!(text.contains("A run.") && text.contains("Used byReport runs"), "{text}");
    assert!(description().named_schema("Absent").is_none());
}
