//! Concurrent requests, and configuration that changes while deliveries are pending.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::json;

use crate::endpoints::made;
use crate::harness::Service;
use crate::receiver::Receiver;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn same_run_from_fifty_connections_is_one_event() {
    let service = Arc::new(Service::start().await);
    let mut receiver = Receiver::start().await;
    service.rule_to(&receiver.url).await;
    let reports = (0..50).map(|_| {
        let service = Arc::clone(&service);
        tokio::spawn(async move { service.failed("run-1").await })
    });
    let answers: Vec<_> = join_all(reports).await.into_iter().map(Result::unwrap).collect();
    let ids: HashSet<_> = answers.iter().map(|answer| answer["eventId"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 1, "one event");
    assert_eq!(answers.iter().filter(|answer| answer["duplicate"] == false).count(), 1, "accepted once");
    assert!(answers.iter().all(|answer| answer["deliveries"]["pending"] == 1), "the same answer to all");
    receiver.next().await;
    service.settled("run-1", &["sent"]).await;
    assert!(receiver.is_quiet(), "sent once");
    assert_eq!(service.get("/events").await.expect(200)["data"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_rule_edits_and_deletion_are_atomic() {
    let service = Arc::new(Service::start().await);
    for round in 0..10 {
        let id = service.rule_to("https://example.com/a").await;
        let path = format!("/notification-rules/{id}");
        let edits = (0..8).map(|n| {
            let (service, path) = (Arc::clone(&service), path.clone());
            let edit =
                json!({"paused": n % 2 == 0, "url": format!("https://example.com/{n}"), "rotateWebhookSecret": true});
            tokio::spawn(async move {
                let answered = service.patch(&path, &edit).await;
                match answered.status.as_u16() {
                    200 => assert!(answered.json()["signingSecretOnce"].is_string()),
                    412 => _ = answered.problem(412, "revision_mismatch"),
                    _ => _ = answered.problem(404, "not_found"),
                }
            })
        });
        let deletion = {
            let (service, path) = (Arc::clone(&service), path.clone());
            tokio::spawn(async move {
                let deleted = service.delete(&path).await;
                assert!(matches!(deleted.status.as_u16(), 204 | 412), "{deleted:?}");
            })
        };
        for done in join_all(edits.chain([deletion])).await {
            done.unwrap();
        }
        let left = service.get(&path).await;
        if left.status == 200 {
            service.delete(&path).await.expect(204);
        }
        service.get(&path).await.problem(404, "not_found");
        let list = service.get("/notification-rules?resourceType=flow&resourceId=f1").await.expect(200);
        assert_eq!(list["data"], json!([]), "round {round}");
    }
}

/// Two deliveries of a rule: the first is being sent, the second waits for its slot. Returns the rule's path.
async fn one_sent_one_waiting(service: &Service, receiver: &mut Receiver) -> String {
    let path = format!("/notification-rules/{}", service.rule_to(&receiver.url).await);
    service.failed("first").await;
    receiver.next().await;
    service.failed("second").await;
    path
}

#[tokio::test]
async fn pending_delivery_of_disabled_rule_is_skipped_for_good() {
    let service = Service::start_slow().await;
    let mut receiver = Receiver::start_waiting().await;
    let path = one_sent_one_waiting(&service, &mut receiver).await;
    service.patch(&path, &json!({"enabled": false})).await.expect(200);
    service.patch(&path, &json!({"enabled": true})).await.expect(200);
    receiver.may_answer.add_permits(10);
    let first = service.settled("first", &["sent"]).await;
    assert_eq!(first[0]["attemptCount"], 1);
    let second = service.settled("second", &["skipped"]).await;
    assert_eq!((&second[0]["attemptCount"], second[0]["suppressedReason"].is_string()), (&json!(0), true));
    assert!(receiver.is_quiet());
    service.failed("third").await;
    assert_eq!(receiver.next().await.json()["runId"], "third", "later runs are sent");
}

#[tokio::test]
async fn pending_delivery_of_deleted_rule_is_skipped() {
    let service = Service::start_slow().await;
    let mut receiver = Receiver::start_waiting().await;
    let path = one_sent_one_waiting(&service, &mut receiver).await;
    service.delete(&path).await.expect(204);
    receiver.may_answer.add_permits(10);
    service.settled("second", &["skipped"]).await;
    service.settled("first", &["sent"]).await;
    assert!(receiver.is_quiet());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_parent_edits_cannot_create_a_cycle() {
    let service = Arc::new(Service::start().await);
    for round in 0..10 {
        let endpoint = async |name: &str| {
            made(&service, json!({"name": format!("{name} {round}")})).await["id"].as_str().unwrap().to_owned()
        };
        let (one, other) = (endpoint("one").await, endpoint("other").await);
        let below = |child: &str, parent: &str| {
            let (service, child) = (Arc::clone(&service), format!("/endpoints/{child}"));
            let edit = json!({"parentId": parent});
            tokio::spawn(async move { service.patch(&child, &edit).await.status.as_u16() })
        };
        let answers = join_all([below(&one, &other), below(&other, &one)]).await;
        let mut answers: Vec<u16> = answers.into_iter().map(Result::unwrap).collect();
        answers.sort_unstable();
        assert_eq!(answers, [200, 422], "one of them was first");
    }
}
