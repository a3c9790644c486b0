//! The OpenAPI description is complete, and its pages show all of it.

use std::collections::BTreeSet;

use http_body_util::Full;
use serde_json::Value;

use crate::harness::{ApiResponse, Service};

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// Method, path and operation of everything that is described.
fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, item)| METHODS.iter().filter_map(|method| Some((*method, path.as_str(), item.get(method)?))))
        .collect()
}

async fn get(service: &Service, path: &str) -> ApiResponse {
    service.execute(service.bare("GET", path).body(Full::default()).unwrap()).await
}

#[test]
fn description_and_router_have_the_same_routes() {
    let document = tidings_web::api::description();
    let described = operations(&document).into_iter();
    let described: BTreeSet<_> = described.map(|(method, path, _)| (method.to_uppercase(), path.to_owned())).collect();
    let of_workspace = tidings_web::api::routes().into_iter();
    let of_workspace = of_workspace.map(|(method, path)| (method, format!("/api/workspaces/{{workspace}}{path}")));
    let of_instance = tidings_web::api::instance_routes().into_iter().map(|(method, path)| (method, path.to_owned()));
    let routed: BTreeSet<_> =
        of_workspace.chain(of_instance).map(|(method, path)| (method.to_string(), path)).collect();
    let of_service = tidings_web::api::service_routes().into_iter();
    let of_service = of_service.map(|(method, path)| (method.to_owned(), path.to_owned()));
    assert_eq!(described, routed.into_iter().chain(of_service).collect());
}

#[test]
fn every_operation_has_a_summary_a_described_tag_and_its_own_id() {
    let document = tidings_web::api::description();
    let tags = document["tags"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id), "{id} is not unique");
        assert!(operation["summary"].as_str().is_some_and(|it| !it.is_empty()), "{method} {path}");
        let tag =
            tags.iter().find(|tag| tag["name"] == operation["tags"][0]).unwrap_or_else(|| panic!("{method} {path}"));
        assert!(
            tag["description"].is_string(),
            "the tag {} has no description: crates/web/src/openapi/tags.rs",
            tag["name"]
        );
    }
}

#[tokio::test]
async fn description_is_served_with_an_etag() {
    let service = Service::start().await;
    let served = get(&service, "/api/openapi.json").await;
    assert_eq!(served.header("content-type"), Some("application/json"));
    assert_eq!(served.json(), tidings_web::api::description());
    let etag = served.header("etag").unwrap().to_owned();
    let again = service.bare("GET", "/api/openapi.json").header("if-none-match", format!("\"x\", W/{etag}"));
    let again = service.execute(again.body(Full::default()).unwrap()).await;
    assert_eq!((again.status.as_u16(), again.text.as_str(), again.header("etag")), (304, "", Some(&*etag)));
}

#[tokio::test]
async fn docs_pages_show_every_operation_and_schema_without_script() {
    let service = Service::start().await;
    let document = tidings_web::api::description();
    let index = get(&service, "/docs").await;
    let mut pages = vec![("/docs".to_owned(), index)];
    for (_, _, operation) in operations(&document) {
        let path = format!("/docs/operations/{}", operation["operationId"].as_str().unwrap());
        assert!(pages[0].1.text.contains(&format!("href=\"{path}\"")), "{path} is not on the first page");
        pages.push((path.clone(), get(&service, &path).await));
    }
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        let path = format!("/docs/schemas/{name}");
        pages.push((path.clone(), get(&service, &path).await));
    }
    let known: BTreeSet<_> = pages.iter().map(|(path, _)| path.clone()).collect();
    for (path, page) in &pages {
        assert_eq!(
            (page.status.as_u16(), page.header("content-type")),
            (200, Some("text/html; charset=utf-8")),
            "{path}"
        );
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'self';"), "{policy}");
        for forbidden in ["<script", " style=\"", " onclick=\"", " src=\""] {
            assert!(!page.text.contains(forbidden), "{path}: {forbidden}");
        }
        for link in page.text.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            let target = link.split('#').next().unwrap();
            let is_file = ["", "/docs/style.css", "/api/openapi.json"].contains(&target);
            assert!(is_file || known.contains(target), "{path} links to {link}, which does not exist");
        }
    }
}

#[tokio::test]
async fn docs_search_and_missing_pages_are_answered() {
    let service = Service::start().await;
    let found = get(&service, "/docs?q=rotate+secret").await.text;
    let main = found.split_once("<main").unwrap().1;
    assert!(main.contains("/channels/{id}/rotate-secret") && !main.contains("/simulate"), "{main}");
    let hostile = get(&service, "/docs?q=%3Cscript%3E&x=1").await;
    assert!(!hostile.text.contains("<script"), "{}", hostile.text);
    for path in ["/docs/operations/nothing", "/docs/schemas/Nothing", "/docs/operations/%ff"] {
        let missing = get(&service, path).await;
        assert_eq!(missing.status.as_u16(), 404, "{path}");
        assert!(missing.text.contains("There is no such page"), "{}", missing.text);
    }
    let style = get(&service, "/docs/style.css").await;
    assert_eq!((style.status.as_u16(), style.header("content-type")), (200, Some("text/css; charset=utf-8")));
}

#[test]
fn committed_description_is_that_of_the_code() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == tidings_web::api::description_text(),
        "docs/openapi.json is not the description of this code: run `cargo xtask openapi`, and review what it changes"
    );
}
