//! Who is let in.

use http_body_util::Full;
use serde_json::json;
use tidings_domain::id::{ChannelId, DeliveryId, EventId, RuleId};

use crate::harness::{Answered, Service, nobodys};

/// A path of a route, with ids that nothing has.
fn path_of(route: &str) -> String {
    let id = match route {
        _ if route.starts_with("/events") => nobodys::<EventId>(),
        _ if route.starts_with("/channels") => nobodys::<ChannelId>(),
        _ if route.starts_with("/deliveries") => nobodys::<DeliveryId>(),
        _ => nobodys::<RuleId>(),
    };
    route.replace("{id}", &id).replace("{use_case}", "uc")
}

async fn with_key(service: &Service, method: &str, path: &str, key: &str) -> Answered {
    let request = service.bare(method, path).header("authorization", key).header("content-type", "application/json");
    service.ask(request.body(Full::from("{}")).unwrap()).await
}

#[tokio::test]
async fn no_route_of_a_workspace_answers_without_a_key() {
    let service = Service::start().await;
    for (method, route) in tidings_web::api::routes() {
        let path = format!("/api/workspaces/default{}", path_of(route));
        let answered = service.ask(service.bare(method.as_str(), &path).body(Full::default()).unwrap()).await;
        assert_eq!(answered.header("www-authenticate"), Some("Bearer realm=\"tidings\""), "{method} {path}");
        answered.problem(401, "unauthenticated");
        for wrong in ["Bearer tdg_nobodys", "Bearer ", "Basic Zm9vOmJhcg==", &service.key] {
            with_key(&service, method.as_str(), &path, wrong).await.problem(401, "unauthenticated");
        }
    }
}

#[tokio::test]
async fn a_workspace_that_the_key_does_not_open_is_as_one_that_is_not_there() {
    let service = Service::start().await;
    let key = format!("Bearer {}", service.other_key);
    for (method, route) in tidings_web::api::routes() {
        let foreign =
            with_key(&service, method.as_str(), &format!("/api/workspaces/default{}", path_of(route)), &key).await;
        let absent =
            with_key(&service, method.as_str(), &format!("/api/workspaces/absent{}", path_of(route)), &key).await;
        assert_eq!(foreign.text, absent.text, "{method} {route}");
        foreign.problem(404, "not_found");
        absent.problem(404, "not_found");
    }
}

#[tokio::test]
async fn a_key_that_may_only_read_changes_nothing_and_reads_everything() {
    let service = Service::start().await;
    let key = format!("Bearer {}", service.read_only_key);
    for (method, route) in tidings_web::api::routes() {
        let path = format!("/api/workspaces/default{}", path_of(route));
        let answered = with_key(&service, method.as_str(), &path, &key).await;
        if method == "GET" {
            assert!(matches!(answered.status.as_u16(), 200 | 404 | 422), "{method} {path}: {answered:?}");
        } else {
            answered.problem(403, "read_only");
        }
    }
}

#[tokio::test]
async fn a_workspace_is_found_by_its_slug_and_by_its_id() {
    let service = Service::start().await;
    let key = format!("bearer {}", service.key);
    for name in ["default".to_owned(), service.workspace_id.to_string()] {
        with_key(&service, "GET", &format!("/api/workspaces/{name}/channels"), &key).await.expect(200);
    }
}

#[tokio::test]
async fn what_belongs_to_another_workspace_is_not_there() {
    let service = Service::start().await;
    let channel = json!({"name": "a", "type": "webhook", "config": {"url": "https://example.com/hook"}});
    let made = service.post("/channels", &channel).await.expect(201);
    let id = made["channel"]["id"].as_str().unwrap();
    let path = format!("/api/workspaces/other/channels/{id}");
    for method in ["GET", "PATCH", "DELETE"] {
        with_key(&service, method, &path, &format!("Bearer {}", service.other_key)).await.problem(404, "not_found");
    }
    service.get(&format!("/channels/{id}")).await.expect(200);
}
