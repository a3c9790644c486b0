//! Authentication and authorisation of every route.

use http_body_util::Full;
use serde_json::json;
use tidings_domain::id::{ApiKeyId, ChannelId, DeliveryId, EventId, InvitationId, RuleId, UserId};

use crate::harness::{ApiResponse, Service, unknown_id};

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

async fn with_key(service: &Service, method: &str, path: &str, key: &str) -> ApiResponse {
    let request = service.bare(method, path).header("authorization", key).header("content-type", "application/json");
    service.execute(request.body(Full::from("{}")).unwrap()).await
}

#[tokio::test]
async fn every_workspace_route_without_api_key_returns_401() {
    let service = Service::start().await;
    for (method, route) in tidings_web::api::routes() {
        let path = format!("/api/workspaces/default{}", path_of(route));
        let answered = service.execute(service.bare(method.as_str(), &path).body(Full::default()).unwrap()).await;
        assert_eq!(answered.header("www-authenticate"), Some("Bearer realm=\"tidings\""), "{method} {path}");
        answered.problem(401, "unauthenticated");
        for wrong in ["Bearer tdg_nobodys", "Bearer ", "Basic Zm9vOmJhcg==", &service.key] {
            with_key(&service, method.as_str(), &path, wrong).await.problem(401, "unauthenticated");
        }
    }
}

#[tokio::test]
async fn workspace_of_another_key_returns_404() {
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
async fn read_only_key_can_read_and_not_write() {
    let service = Service::start().await;
    let key = format!("Bearer {}", service.read_only_key);
    for (method, route) in tidings_web::api::routes() {
        let path = format!("/api/workspaces/default{}", path_of(route));
        let answered = with_key(&service, method.as_str(), &path, &key).await;
        if matches!(route, "/invitations" | "/audit-log") && method == "GET" {
            // Who was invited, and who did what, is for those who manage the workspace.
            answered.problem(403, "read_only");
        } else if (method.as_str(), route) == ("DELETE", "") {
            // No key may.
            answered.problem(403, "forbidden");
        } else if method == "GET" || route == "/simulate" {
            assert!(matches!(answered.status.as_u16(), 200 | 404 | 422), "{method} {path}: {answered:?}");
        } else {
            answered.problem(403, "read_only");
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

#[tokio::test]
async fn resource_of_another_workspace_returns_404() {
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
