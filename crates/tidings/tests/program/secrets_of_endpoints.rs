//! The same search for the secrets of endpoints (`auth`) and of inbound webhooks (their URLs).

use serde_json::{Value, json};

use crate::support::api::id;
use crate::support::marked::{assert_hidden, count, echo, files, secret};
use crate::support::receiver::closed_port;
use crate::support::{Api, Receiver, Reply, Setup, eventually, tls};

/// Echoes the credentials in the fields that the assertions read, and in a redirect.
fn talkative(status: u16) -> Receiver {
    Receiver::start(move |request, _| {
        let who = if request.has("authorization") { request.header("authorization") } else { "anonymous" };
        let body = json!({"who": who, "password": who.split(' ').next_back()}).to_string();
        let target = who.replace(' ', "%20");
        let head = format!("HTTP/1.1 {status} {who}\r\nlocation: /{target}\r\nx-who: {who}");
        Reply::Bytes(format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes())
    })
}

/// Assertions that fail, so that the actual values are reported.
fn nosy() -> Value {
    let asked = |kind: &str, target: Value| json!({"kind": kind, "operator": "equals", "target": target, "value": "x", "severity": "degraded"});
    json!([
        asked("json", json!("who")),
        asked("json", json!("password")),
        asked("header", json!("x-who")),
        asked("body", Value::Null)
    ])
}

/// Both types of `auth`, each with its own secret.
fn ways(place: &str, secrets: &mut Vec<String>) -> [Value; 2] {
    let [password, token] = ["password", "token"].map(|word| secret(&format!("{place} {word}")));
    secrets.extend([password.clone(), token.clone()]);
    [json!({"type": "basic", "username": "probe", "password": password}), json!({"type": "bearer", "token": token})]
}

/// Invalid bodies, each with the secret where an error could quote it.
fn wrongs(auth: &Value, secret: &str) -> Vec<Value> {
    let with = |key: &str, value: Value| {
        let mut auth = auth.clone();
        auth[key] = value;
        json!({"auth": auth})
    };
    vec![
        with("type", json!(secret)),
        with("password", json!([secret])),
        with("token", json!(format!("{secret}\r\nX-Other: 1"))),
        json!({"auth": secret}),
        json!({"headers": {"Authorization": format!("Bearer {secret}")}}),
        json!({"headers": {"Proxy-Authorization": secret}}),
        json!({"headers": {"X-Other": format!("{secret}\r\n")}}),
        json!({"url": format!("http://probe:{secret}@127.0.0.1/")}),
        json!({"url": format!("http://[::1/?{secret}")}),
    ]
}

/// Creates, edits, clones, tests and reads an endpoint, with valid and invalid requests.
fn exercise(api: &Api, url: &str, auth: &Value) -> Vec<String> {
    let secret = ["password", "token"].into_iter().find_map(|key| auth[key].as_str()).unwrap();
    let more = json!({"auth": auth, "assertions": nosy(), "timeoutMs": 1_000});
    let endpoint = api.make_monitored(url, more.clone());
    let path = format!("/endpoints/{endpoint}");
    let shown = api.get(&path).expect(200);
    api.patch(&path, json!({"auth": shown["auth"], "name": "as it was shown"})).expect(200);
    api.patch(&path, json!({"auth": auth})).expect(200);
    for wrong in wrongs(auth, secret) {
        api.patch(&path, wrong.clone()).expect_problem(422, "invalid");
        let mut body = json!({"name": "wrong", "type": "http", "url": url});
        body.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        api.post("/endpoints", body.clone()).expect_problem(422, "invalid");
        api.post("/endpoints/test", body).expect_problem(422, "invalid");
    }
    // After a change of the origin the secret is required again.
    api.patch(&path, json!({"url": "http://127.0.0.1:1/"})).expect_problem(422, "invalid");
    let mut unsaved = json!({"type": "http", "url": url});
    unsaved.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    api.post("/endpoints/test", unsaved).expect(200);
    api.post("/endpoints/test", json!({"endpointId": endpoint})).expect(200);
    let clone = id(&api.post(&format!("{path}/clone"), json!({"name": "clone"})).expect(201)["endpoint"]);
    vec![endpoint, clone]
}

/// Reads all resources.
fn read_everything(api: &Api, endpoints: &[String]) {
    for endpoint in endpoints {
        eventually(&format!("{endpoint} was probed"), || {
            let seen = api.get(&format!("/endpoints/{endpoint}")).expect(200);
            seen["lastCheck"].is_object().then_some(())
        });
        for part in ["checks", "notifications", "summaries"] {
            api.get(&format!("/endpoints/{endpoint}/{part}")).expect(200);
        }
    }
    api.wait_until_settled();
    for path in ["/endpoints?limit=200", "/incidents?limit=200", "/events?limit=200", "/resources", "/inbound-webhooks"]
    {
        api.get(path);
    }
    for incident in api.get("/incidents?limit=200").expect(200)["data"].as_array().unwrap() {
        api.incident(&id(incident));
    }
    for delivery in api.deliveries("") {
        api.get(&format!("/deliveries/{}", id(&delivery))).expect(200);
    }
    api.get_root("/metrics").text();
}

#[test]
fn endpoint_secret_is_sent_to_its_target_only() {
    let setup = Setup::new().with("TIDINGS_LOG", "trace");
    let server = setup.start();
    let (api, receiver) = (server.api(), echo(200));
    let hook = api.make_webhook(&receiver, json!({"retryOnFailure": false}));
    let rule = json!({"resourceType": "endpoint", "resourceId": "*", "channelId": hook});
    api.post("/notification-rules", rule).expect(201);
    let targets = [200, 500, 307].map(talkative);
    let hanging = Receiver::start(|_, _| Reply::Hang);
    let at = |address| format!("http://{address}/health");
    let mut places: Vec<_> =
        ["fine", "broken", "leads on"].into_iter().zip(targets.each_ref().map(|it| at(it.address()))).collect();
    places.extend([("hangs", hanging.url()), ("refuses", at(closed_port()))]);
    places.push(("distrusted", format!("https://{}/", tls::receiver().address)));
    let (mut secrets, mut endpoints) = (Vec::new(), Vec::new());
    for (place, url) in &places {
        for auth in ways(place, &mut secrets) {
            endpoints.extend(exercise(&api, url, &auth));
        }
    }
    read_everything(&api, &endpoints);
    let is_sent = targets[0].requests().iter().any(|request| {
        request.has("authorization") && request.header("authorization") == format!("Bearer {}", secret("fine token"))
    });
    assert!(is_sent, "the target gets its own secret");
    assert!(count("\"actual\"", &api.received()) > 0 && receiver.count() > 0, "actual values were reported");
    let mut kept = files(&setup);
    let mut finished = vec![server.kill()];
    let server = setup.start();
    let again = api.clone().at(server.address);
    again.post("/endpoints/test", json!({"endpointId": endpoints[0]})).expect(200);
    read_everything(&again, &endpoints);
    finished.push(server.stop());
    kept.extend(files(&setup));
    assert!(finished[0].stderr.contains("TRACE"), "it logged all it can");
    for secret in &secrets {
        assert_hidden(secret, &finished, &kept, &api.received(), 0);
        let leaked = receiver.requests().into_iter().find(|it| count(secret, format!("{it:?}").as_bytes()) > 0);
        assert!(leaked.is_none_or(|it| panic!("{secret} in {it:?}")), "nor is it in requests to others");
    }
}

#[test]
fn inbound_webhook_url_is_returned_once_and_not_stored() {
    let setup = Setup::new().with("TIDINGS_LOG", "trace").with("TIDINGS_PUBLIC_URL", "https://tidings.example.com");
    let server = setup.start();
    let api = server.api();
    let made = api.post("/inbound-webhooks", json!({"type": "alertmanager", "name": "Prometheus"})).expect(201);
    let url = made["url"].as_str().unwrap();
    assert!(url.starts_with("https://tidings.example.com/in/alertmanager/"), "{url}");
    let secret = url.rsplit('/').next().unwrap().to_owned();
    let target = format!("/in/alertmanager/{secret}");
    let json = [("content-type", "application/json")];
    let knock = |target: &str, body: &str| api.send("POST", target, &json, body.as_bytes());
    let alert = json!({"status": "firing", "labels": {"alertname": "Slow"}, "annotations": {}, "fingerprint": "f1",
                       "startsAt": "2026-05-02T04:00:00Z", "endsAt": "0001-01-01T00:00:00Z", "generatorURL": ""});
    let message = json!({"version": "4", "groupKey": "g", "status": "firing", "receiver": "tidings", "groupLabels": {},
                         "commonLabels": {}, "commonAnnotations": {}, "externalURL": "", "alerts": [alert]});
    assert_eq!(knock(&target, &message.to_string()).expect(200)["opened"], 1);
    assert_eq!(knock(&target, "{\"version\": \"3\"}").status, 422);
    assert_eq!(knock(&target, "{").status, 400);
    // Only one byte too many: with more the server could close the connection before all are sent, and the response be lost.
    assert_eq!(knock(&target, &"x".repeat((1 << 20) + 1)).status, 413);
    assert_eq!(api.get_root(&target).status, 405);
    for wrong in [format!("{target}x"), format!("{target}/more"), format!("/in/github/{secret}")] {
        assert_eq!(knock(&wrong, &message.to_string()).status, 404, "{wrong}");
    }
    api.get("/inbound-webhooks").expect(200);
    api.get("/incidents").expect(200);
    api.get_root("/metrics").text();
    let mut kept = files(&setup);
    let mut finished = vec![server.kill()];
    let server = setup.start();
    let again = api.clone().at(server.address);
    let webhook = again.get("/inbound-webhooks").expect(200)["data"][0].clone();
    assert_eq!(webhook["name"], "Prometheus");
    assert_eq!(again.send("POST", &target, &json, message.to_string().as_bytes()).expect(200)["unchanged"], 1);
    again.delete(&format!("/inbound-webhooks/{}", id(&webhook))).expect(204);
    assert_eq!(again.send("POST", &target, &json, message.to_string().as_bytes()).status, 404);
    finished.push(server.stop());
    kept.extend(files(&setup));
    assert_hidden(&secret, &finished, &kept, &api.received(), 1);
}
