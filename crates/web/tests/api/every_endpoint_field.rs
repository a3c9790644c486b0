//! Every field of an endpoint has an effect, on its probes or on its notifications: see [`crate::every_field`].

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::endpoints::path;
use crate::every_field::{World, assert_differ, known, merge};
use crate::harness::Service;
use crate::receiver::Receiver;

/// Fields whose effect needs a schedule or a server with a certificate: the tests of the check engine have them.
const OF_THE_CHECK_ENGINE: [&str; 3] = ["intervalSeconds", "sslWarningDays", "tls"];

/// A server that redirects every request to this URL.
async fn redirect_to(url: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = format!("HTTP/1.1 302 Found\r\nLocation: {url}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4_096]).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    format!("http://{address}/")
}

/// What a probe of the receiver with these fields finds, and what the receiver sees.
async fn probed(world: &World, target: &mut Receiver, fields: &Value) -> Value {
    let mut body = json!({"type": "http", "url": target.url});
    merge(&mut body, fields);
    let seen = world.service.post("/endpoints/test", &body).await.expect(200);
    let request = target.next().await;
    let header = |name: &str| request.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let body = String::from_utf8(request.body.to_vec()).unwrap();
    json!([seen["status"], request.method.as_str(), header("x-team"), header("authorization"), body])
}

/// What happens with two values of a field that the probe uses; none for other fields.
async fn probe_effect(field: &str) -> Option<[Value; 2]> {
    let world = World::new().await;
    let mut target = Receiver::start().await;
    let test = async |fields: Value| world.service.post("/endpoints/test", &fields).await.expect(200)["status"].clone();
    let changed = match field {
        "type" => {
            let port: u16 = target.url.rsplit_once(':').unwrap().1.trim_end_matches("/hook").parse().unwrap();
            target.answer(500);
            let tcp = json!({"type": "tcp", "host": "127.0.0.1", "port": port});
            return Some([test(json!({"type": "http", "url": target.url})).await, test(tcp).await]);
        }
        "url" => {
            let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
            let closed = json!({"type": "http", "url": format!("http://{closed}/")});
            return Some([test(json!({"type": "http", "url": target.url})).await, test(closed).await]);
        }
        "followRedirects" => {
            let url = redirect_to(&target.url).await;
            let with = |follow: bool| json!({"type": "http", "url": url, "followRedirects": follow});
            return Some([test(with(true)).await, test(with(false)).await]);
        }
        "timeoutMs" => {
            let silent = Receiver::start_waiting().await;
            let timed = async |ms: u32| {
                let began = tokio::time::Instant::now();
                assert_eq!(test(json!({"type": "http", "url": silent.url, "timeoutMs": ms})).await, "down");
                json!(began.elapsed() > Duration::from_millis(900))
            };
            return Some([timed(200).await, timed(1_000).await]);
        }
        "latencyThresholdMs" => {
            let slow = Receiver::start_waiting().await;
            let permits = std::sync::Arc::clone(&slow.may_answer);
            let slowly = async |threshold: u32| {
                let permits = std::sync::Arc::clone(&permits);
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    permits.add_permits(1);
                });
                test(json!({"type": "http", "url": slow.url, "latencyThresholdMs": threshold})).await
            };
            return Some([slowly(5_000).await, slowly(100).await]);
        }
        "method" => json!({"method": "POST"}),
        "headers" => json!({"headers": {"X-Team": "data"}}),
        "body" => json!({"method": "POST", "body": "ping"}),
        "auth" => json!({"auth": {"type": "bearer", "token": "t0p"}}),
        "expectedStatusCodes" => json!({"expectedStatusCodes": [204]}),
        "assertions" => json!({"assertions": [{"kind": "body", "operator": "contains", "value": "nowhere"}]}),
        _ => return None,
    };
    let base = if field == "body" { json!({"method": "POST"}) } else { json!({}) };
    Some([probed(&world, &mut target, &base).await, probed(&world, &mut target, &changed).await])
}

/// The events of this kind of an endpoint's incidents.
async fn events(world: &World, endpoint: &Value, kind: &str) -> Vec<Value> {
    let id = endpoint["id"].as_str().unwrap();
    let found = world.service.get(&format!("/events?resourceId={id}&kind={kind}")).await.expect(200);
    found["data"].as_array().unwrap().clone()
}

/// What happens with two values of a field that notifications depend on.
async fn notification_effect(field: &str) -> [Value; 2] {
    let world = World::new().await;
    let plain = world.watched(&json!({}), &json!({})).await;
    let changed = async |fields: Value| world.watched(&fields, &json!({})).await;
    let opened = async |endpoint: &Value| world.simulate_incident(endpoint, "opened").await;
    match field {
        "name" | "tags" => {
            let mut shown = Vec::new();
            for endpoint in [plain, changed(json!({"name": "Shop", "tags": ["eu"]})).await] {
                world.check(&endpoint, "down").await;
                let event = events(&world, &endpoint, "incident_opened").await[0].clone();
                shown.push(if field == "name" { event["resourceName"].clone() } else { event["tags"].clone() });
            }
            shown.try_into().unwrap()
        }
        "enabled" => {
            let paused = changed(json!({"enabled": false})).await;
            let status = async |endpoint: &Value| {
                let checks = format!("{}/checks", path(endpoint));
                json!(world.service.post(&checks, &json!({"status": "down"})).await.status.as_u16())
            };
            [status(&plain).await, status(&paused).await]
        }
        "severity" => [opened(&plain).await, opened(&changed(json!({"severity": "info"})).await).await],
        "failureThreshold" => {
            let patient = changed(json!({"failureThreshold": 2})).await;
            [
                world.check(&plain, "down").await["incident"].clone(),
                world.check(&patient, "down").await["incident"].clone(),
            ]
        }
        "recoveryThreshold" => {
            let patient = changed(json!({"recoveryThreshold": 2})).await;
            let mut seen = Vec::new();
            for endpoint in [plain, patient] {
                world.check(&endpoint, "down").await;
                seen.push(world.check(&endpoint, "healthy").await["incident"]["transition"].clone());
            }
            seen.try_into().unwrap()
        }
        "cooldownSeconds" => {
            let cooled = changed(json!({"cooldownSeconds": 600})).await;
            for endpoint in [&plain, &cooled] {
                world.check(endpoint, "down").await;
                world.check(endpoint, "healthy").await;
            }
            [opened(&plain).await, opened(&cooled).await]
        }
        "recoveryAlert" => {
            let silent = changed(json!({"recoveryAlert": false})).await;
            let resolved = async |endpoint: &Value| world.simulate_incident(endpoint, "resolved").await;
            [resolved(&plain).await, resolved(&silent).await]
        }
        "parentId" => {
            let child = changed(json!({"parentId": plain["id"]})).await;
            let alone = changed(json!({})).await;
            world.check(&plain, "down").await;
            [opened(&alone).await, opened(&child).await]
        }
        "maintenanceWindows" => {
            let window = json!({"kind": "once", "startsAt": world.later(0), "endsAt": world.later(3_600_000)});
            [opened(&plain).await, opened(&changed(json!({"maintenanceWindows": [window]})).await).await]
        }
        "reminderMinutes" | "escalation" => {
            let (fields, kind) = if field == "escalation" {
                let step = json!({"afterSeconds": 600, "channelId": world.channel(&json!({})).await});
                (json!({"escalation": [step]}), "incident_escalated")
            } else {
                (json!({"reminderMinutes": 10}), "incident_reminder")
            };
            let reminded = changed(fields).await;
            world.check(&plain, "down").await;
            world.check(&reminded, "down").await;
            world.advance_ms(601_000);
            while events(&world, &reminded, kind).await.is_empty() {
                tokio::task::yield_now().await;
            }
            [json!(events(&world, &plain, kind).await.len()), json!(events(&world, &reminded, kind).await.len())]
        }
        other => panic!("no scenario shows the effect of the endpoint's field {other}"),
    }
}

#[tokio::test]
async fn every_field_of_an_endpoint_has_an_effect() {
    let service = Service::start().await;
    let body = json!({"name": "a", "type": "http", "url": "https://example.com/"});
    for field in known(&service, "POST", "/endpoints", &body, "").await {
        if OF_THE_CHECK_ENGINE.contains(&&*field) {
            continue;
        }
        let seen = match probe_effect(&field).await {
            Some(seen) => seen,
            None => notification_effect(&field).await,
        };
        assert_differ(&field, &seen);
    }
}
