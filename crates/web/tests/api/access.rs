//! Who may call which route: every route of the router's table, for every role and kind of key, for no credentials and for
//! credentials of another workspace. What is expected follows from the permission that the description names for the route
//! and from the one table of permissions ([`Permission::grants`]).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use http_body_util::Full;
use serde_json::json;
use tidings_domain::access::{Access, Permission, Role};
use tidings_domain::id::{ApiKeyId, ChannelId, DeliveryId, EventId, InvitationId, RuleId, UserId};

use crate::harness::{ApiResponse, Service, unknown_id};
use crate::people::{Browser, operator, person};

const WORKSPACE: &str = "/api/workspaces/{workspace}";
/// The end of everything: called last.
const DELETES_WORKSPACE: (&str, &str) = ("DELETE", "");

/// A route below the workspace, with its permission.
struct Route {
    method: String,
    path: &'static str,
    permission: Permission,
}

/// Every route of the table, that which ends everything last. Panics if one has no permission.
fn routes() -> Vec<Route> {
    let document = tidings_web::api::description();
    let routes = tidings_web::api::routes().into_iter().map(|(method, path)| {
        let operation = &document["paths"][format!("{WORKSPACE}{path}")][method.as_str().to_lowercase()];
        let name = operation["x-permission"].as_str().unwrap_or_else(|| panic!("{method} {path} needs no permission"));
        let permission = Permission::ALL.into_iter().find(|permission| permission.as_str() == name).unwrap();
        Route { method: method.to_string(), path, permission }
    });
    let mut routes: Vec<_> = routes.collect();
    routes.sort_by_key(|route| (route.method.as_str(), route.path) == DELETES_WORKSPACE);
    routes
}

/// The path of a route, with unknown ids.
fn path_of(route: &str) -> String {
    let id = match route {
        _ if route.starts_with("/events") => unknown_id::<EventId>(),
        _ if route.starts_with("/channels") => unknown_id::<ChannelId>(),
        _ if route.starts_with("/deliveries") => unknown_id::<DeliveryId>(),
        _ if route.starts_with("/members") => unknown_id::<UserId>(),
        _ if route.starts_with("/invitations") => unknown_id::<InvitationId>(),
        _ if route.starts_with("/api-keys") => unknown_id::<ApiKeyId>(),
        _ => unknown_id::<RuleId>(),
    };
    route.replace("{id}", &id).replace("{use_case}", "uc").replace("{type}", "flow")
}

fn complete(workspace: &str, route: &str) -> String {
    format!("/api/workspaces/{workspace}{}", path_of(route))
}

async fn with_key(service: &Service, method: &str, path: &str, key: &str) -> ApiResponse {
    let request = service.bare(method, path).header("authorization", key).header("content-type", "application/json");
    service.execute(request.body(Full::from("{}")).unwrap()).await
}

/// One who calls every route.
enum Caller<'a> {
    Key(String),
    Person(Browser<'a>),
}

impl Caller<'_> {
    async fn call(&mut self, service: &Service, method: &str, path: &str) -> ApiResponse {
        match self {
            Self::Key(key) => with_key(service, method, path, key).await,
            Self::Person(browser) => browser.send(method, path, Some(&json!({}))).await,
        }
    }
}

/// What an answer says about access: `yes`, or the status of the refusal. A refused caller gets no other answer than its
/// problem, whatever the request is about.
fn verdict(answered: &ApiResponse) -> &'static str {
    let code = || answered.json()["code"].as_str().unwrap_or_default().to_owned();
    match answered.status.as_u16() {
        401 => "401",
        403 if ["forbidden", "read_only"].contains(&code().as_str()) => "403",
        404 if answered.text.contains("no such workspace") => "404",
        status if status < 500 => "yes",
        _ => "fault",
    }
}

#[tokio::test]
async fn every_route_for_every_caller_answers_by_the_table_of_permissions() {
    let service = Service::start().await;
    for role in Role::ALL {
        person(&service, &format!("{}@example.com", role.as_str()), Some(role)).await;
    }
    person(&service, "outsider@example.com", None).await;
    operator(&service, "operator@example.com").await;
    let key = |key: &str| Caller::Key(format!("Bearer {key}"));
    let of = |name: &'static str| format!("{name}@example.com");
    let mut callers = vec![
        ("none", None, Caller::Key(String::new())),
        ("forged", None, key("tdg_forged-0123456789abcdef0123456789abcdef")),
        ("read-only key", Some(Access::ReadOnlyKey), key(&service.read_only_key)),
        ("key", Some(Access::ApiKey), key(&service.key)),
        ("foreign key", None, key(&service.other_key)),
        ("outsider", None, Caller::Person(Browser::of(&service, &of("outsider")).await)),
        ("operator", None, Caller::Person(Browser::of(&service, &of("operator")).await)),
    ];
    for role in Role::ALL {
        let browser = Browser::of(&service, &of(role.as_str())).await;
        callers.push((role.as_str(), Some(Access::Member(role)), Caller::Person(browser)));
    }

    let routes = routes();
    let mut rows: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for (name, access, caller) in &mut callers {
        for (index, Route { method, path, permission }) in routes.iter().enumerate() {
            let expected = match (*name, access.map(|access| access.may(*permission))) {
                ("none" | "forged", _) => "401",
                (_, None) => "404",
                (_, Some(true)) => "yes",
                (_, Some(false)) => "403",
            };
            let answered = caller.call(&service, method, &complete("default", path)).await;
            let found = verdict(&answered);
            assert_eq!(found, expected, "{method} {path} ({permission:?}) by {name}: {answered:?}");
            rows.entry(index).or_default().push(found);
        }
    }
    println!("{}", table(&routes, &callers.iter().map(|(name, ..)| *name).collect::<Vec<_>>(), &rows));
}

/// What was found, for readers of the test's output.
fn table(routes: &[Route], callers: &[&str], rows: &BTreeMap<usize, Vec<&str>>) -> String {
    let width = |name: &str| name.len().max(4);
    let mut text = format!("{:<60} {:<16}", "route", "permission");
    callers.iter().for_each(|name| write!(text, " {name:<width$}", width = width(name)).unwrap());
    for (index, Route { method, path, permission }) in routes.iter().enumerate() {
        write!(text, "\n{:<60} {:<16}", format!("{method} {path}"), permission.as_str()).unwrap();
        let cells = callers.iter().zip(&rows[&index]);
        cells.for_each(|(name, cell)| write!(text, " {cell:<width$}", width = width(name)).unwrap());
    }
    text
}

#[tokio::test]
async fn refusals_name_their_reason() {
    let service = Service::start().await;
    for Route { method, path, permission } in routes() {
        let path = complete("default", path);
        let unauthenticated = service.execute(service.bare(&method, &path).body(Full::default()).unwrap()).await;
        assert_eq!(unauthenticated.header("www-authenticate"), Some("Bearer realm=\"tidings\""), "{method} {path}");
        unauthenticated.problem(401, "unauthenticated");
        for wrong in ["Bearer tdg_nobodys", "Bearer ", "Basic Zm9vOmJhcg==", &service.key] {
            with_key(&service, &method, &path, wrong).await.problem(401, "unauthenticated");
        }
        if !Access::ReadOnlyKey.may(permission) {
            let code = if Access::ApiKey.may(permission) { "read_only" } else { "forbidden" };
            let key = format!("Bearer {}", service.read_only_key);
            with_key(&service, &method, &path, &key).await.problem(403, code);
        }
    }
}

#[tokio::test]
async fn workspace_of_another_key_is_answered_as_one_that_does_not_exist() {
    let service = Service::start().await;
    let key = format!("Bearer {}", service.other_key);
    for Route { method, path, .. } in routes() {
        let foreign = with_key(&service, &method, &complete("default", path), &key).await;
        let absent = with_key(&service, &method, &complete("absent", path), &key).await;
        assert_eq!(foreign.text, absent.text, "{method} {path}");
        foreign.problem(404, "not_found");
        absent.problem(404, "not_found");
    }
}

#[tokio::test]
async fn cross_site_request_with_a_cookie_changes_nothing_by_any_route() {
    let service = Service::start().await;
    person(&service, "owner@example.com", Some(Role::Owner)).await;
    let mut browser = Browser::of(&service, "owner@example.com").await;
    for Route { method, path, .. } in routes().iter().filter(|route| route.method != "GET") {
        for site in [Some("cross-site"), Some("same-site"), None] {
            browser.site = site;
            let answered = browser.send(method, &complete("default", path), Some(&json!({}))).await;
            assert_eq!(answered.problem(403, "cross_site"), [""; 0], "{method} {path} {site:?}");
        }
    }
}

#[tokio::test]
async fn workspace_is_found_by_slug_and_by_id() {
    let service = Service::start().await;
    let key = format!("bearer {}", service.key);
    for name in ["default".to_owned(), service.workspace_id.to_string()] {
        with_key(&service, "GET", &format!("/api/workspaces/{name}/channels"), &key).await.expect(200);
    }
}
