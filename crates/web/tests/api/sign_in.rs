//! Signing in and out, and what a session is good for.

use std::sync::Arc;

use http_body_util::Full;
use serde_json::json;
use tidings_domain::access::Role;
use tidings_domain::time::Timestamp;
use tidings_engine::clock::ManualClock;

use crate::harness::Service;
use crate::people::{Browser, COOKIE, PASSWORD, default, person};

const ANA: &str = "ana@example.com";
const DAY_MS: u64 = 86_400_000;

async fn with_ana(role: Role) -> Service {
    let service = Service::start().await;
    person(&service, ANA, Some(role)).await;
    service
}

#[tokio::test]
async fn sign_in_answers_who_it_is_and_the_cookie_opens_the_workspaces() {
    let service = with_ana(Role::Admin).await;
    let mut browser = Browser::new(&service);
    browser.get("/api/session").await.problem(401, "unauthenticated");
    let signed_in = browser.sign_in("ANA@example.com", PASSWORD).await.expect(200);
    assert_eq!(signed_in["user"]["email"], ANA);
    assert_eq!(signed_in["user"]["isOperator"], false);
    assert_eq!(signed_in["workspaces"][0]["slug"], "default");
    assert_eq!(signed_in["workspaces"][0]["role"], "admin");
    assert_eq!(signed_in["session"]["address"], "198.51.100.7");
    assert_eq!(signed_in["session"]["userAgent"], "Firefox");
    assert!(!signed_in.to_string().contains(browser.cookie.as_ref().unwrap()), "the secret is only in the cookie");

    assert_eq!(browser.get("/api/session").await.expect(200)["user"]["id"], signed_in["user"]["id"]);
    let channel = json!({"name": "a", "type": "webhook", "config": {"url": "https://example.com/hook"}});
    browser.post(&default("/channels"), &channel).await.expect(201);
    assert_eq!(browser.get(&default("/channels")).await.expect(200)["data"].as_array().unwrap().len(), 1);
    // A workspace of which the user is no member is answered as one that does not exist.
    let foreign = browser.get("/api/workspaces/other/channels").await;
    let absent = browser.get("/api/workspaces/absent/channels").await;
    assert_eq!(foreign.text, absent.text);
    foreign.problem(404, "not_found");

    browser.delete("/api/session").await.expect(204);
    assert_eq!(browser.cookie, None, "the cookie is removed");
    browser.get("/api/session").await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn sign_in_unknown_email_and_wrong_password_are_answered_alike() {
    let service = with_ana(Role::Viewer).await;
    let mut bodies = vec![];
    for (email, password) in
        [(ANA, "not the password"), ("absent@example.com", PASSWORD), ("no email", PASSWORD), (ANA, "")]
    {
        let answered = Browser::new(&service).sign_in(email, password).await;
        assert_eq!(answered.header("set-cookie"), None);
        let mut headers: Vec<_> = answered.headers.keys().map(|name| name.as_str().to_owned()).collect();
        headers.sort();
        bodies.push((headers, answered.text.clone()));
        answered.problem(401, "wrong_credentials");
    }
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]), "{bodies:?}");
}

#[tokio::test]
async fn sign_in_takes_the_time_of_a_hash_whether_there_is_such_a_user_or_not() {
    let service = with_ana(Role::Viewer).await;
    let mut fastest = vec![];
    for (email, password) in [(ANA, "not the password"), ("absent@example.com", "not the password")] {
        let mut times = vec![];
        for _ in 0..4 {
            let began = tokio::time::Instant::now();
            Browser::new(&service).sign_in(email, password).await.problem(401, "wrong_credentials");
            times.push(began.elapsed().as_secs_f64());
        }
        fastest.push(times.into_iter().fold(f64::MAX, f64::min));
    }
    let ratio = fastest[0] / fastest[1];
    assert!((0.5..2.0).contains(&ratio), "{fastest:?}");
}

#[tokio::test]
async fn sign_in_bad_input_is_named() {
    let service = Service::start().await;
    let mut browser = Browser::new(&service);
    for (body, pointers) in [
        (json!({}), vec!["/email", "/password"]),
        (json!({"email": 1, "password": null, "remember": true}), vec!["/email", "/password", "/remember"]),
        (json!({"email": "a".repeat(255), "password": "x".repeat(1_025)}), vec!["/email", "/password"]),
    ] {
        let mut found = browser.post("/api/session", &body).await.problem(422, "invalid");
        found.sort();
        assert_eq!(found, pointers, "{body}");
    }
    browser.send("POST", "/api/session?next=/", Some(&json!({}))).await.problem(422, "invalid");
    assert_eq!(browser.send("POST", "/api/session", None).await.problem(422, "invalid"), [""]);
    let request = service.bare("POST", "/api/session").header("content-type", "application/json");
    service.execute(request.body(Full::from("{")).unwrap()).await.problem(400, "invalid_json");
}

#[tokio::test]
async fn thousand_wrong_passwords_end_no_session_and_do_not_lock_the_user_out() {
    let service = with_ana(Role::Admin).await;
    let mut before = Browser::of(&service, ANA).await;
    let mut attacker = Browser::at(&service, "203.0.113.66");
    let mut statuses = [0; 2];
    for guess in 0..1_000 {
        let answered = attacker.sign_in(ANA, &format!("guess {guess}")).await;
        match answered.status.as_u16() {
            401 => {
                statuses[0] += 1;
                answered.problem(401, "wrong_credentials");
            }
            _ => {
                statuses[1] += 1;
                let wait: u32 = answered.header("retry-after").unwrap().parse().unwrap();
                assert!((1..=60).contains(&wait), "{wait}");
                answered.problem(429, "too_many_attempts");
            }
        }
    }
    assert!(statuses[0] <= 10, "{statuses:?}");
    // The right password is refused there, too, until the wait is over: otherwise waiting would show what is right.
    attacker.sign_in(ANA, PASSWORD).await.problem(429, "too_many_attempts");
    before.get(&default("/channels")).await.expect(200);
    // From elsewhere the user signs in at once.
    Browser::at(&service, "198.51.100.8").sign_in(ANA, PASSWORD).await.expect(200);
    Browser::at(&service, "2001:db8::8").sign_in(ANA, PASSWORD).await.expect(200);
}

#[tokio::test]
async fn sign_ins_beyond_the_queue_are_refused_and_none_fails() {
    let service = with_ana(Role::Viewer).await;
    let attempts = (0..40).map(|n| {
        let mut browser = Browser::at(&service, &format!("198.51.100.{n}"));
        async move { browser.sign_in(ANA, PASSWORD).await }
    });
    let mut accepted = 0;
    for answered in futures_util::future::join_all(attempts).await {
        if answered.status == 200 {
            accepted += 1;
        } else {
            assert!(answered.header("retry-after").is_some());
            answered.problem(429, "too_many_attempts");
        }
    }
    assert!((16..40).contains(&accepted), "{accepted}");
    // What was refused for the queue was no failed attempt.
    Browser::at(&service, "198.51.100.39").sign_in(ANA, PASSWORD).await.expect(200);
}

#[tokio::test]
async fn session_id_from_before_the_sign_in_is_not_adopted() {
    let service = with_ana(Role::Viewer).await;
    let planted = "f".repeat(64);
    let mut browser = Browser { cookie: Some(planted.clone()), ..Browser::new(&service) };
    browser.sign_in(ANA, PASSWORD).await.expect(200);
    assert_ne!(browser.cookie.as_deref(), Some(&*planted));
    let mut attacker = Browser { cookie: Some(planted), ..Browser::new(&service) };
    attacker.get("/api/session").await.problem(401, "unauthenticated");

    // A session that the browser had, be it of another user, ends.
    person(&service, "mallory@example.com", Some(Role::Viewer)).await;
    let mut mallory = Browser::of(&service, "mallory@example.com").await;
    let mut victim = Browser { cookie: mallory.cookie.clone(), ..Browser::new(&service) };
    victim.sign_in(ANA, PASSWORD).await.expect(200);
    mallory.get("/api/session").await.problem(401, "unauthenticated");
    assert_eq!(victim.get("/api/session").await.expect(200)["user"]["email"], ANA);
}

#[tokio::test]
async fn forged_and_malformed_cookies_are_401() {
    let service = with_ana(Role::Owner).await;
    let mut browser = Browser::of(&service, ANA).await;
    let real = browser.cookie.clone().unwrap();
    let flipped = format!("{}{}", &real[..63], if real.ends_with('0') { '1' } else { '0' });
    for forged in [flipped, real.to_uppercase(), real[..63].to_owned(), format!("{real}0"), "x".into(), "é".into()] {
        if forged == real {
            continue;
        }
        browser.cookie = Some(forged.clone());
        browser.get("/api/session").await.problem(401, "unauthenticated");
        browser.get(&default("/channels")).await.problem(401, "unauthenticated");
    }
    // Two cookies of the name: one of them was planted.
    let request = service.bare("GET", "/api/session").header("cookie", format!("{COOKIE}={real}; {COOKIE}=other"));
    service.execute(request.body(Full::default()).unwrap()).await.problem(401, "unauthenticated");
    // The name without the prefix can be set by a page without https.
    let request = service.bare("GET", "/api/session").header("cookie", format!("tidings={real}"));
    service.execute(request.body(Full::default()).unwrap()).await.problem(401, "unauthenticated");
    // An invalid API key is not made up for by a cookie.
    let request = service.bare("GET", &default("/channels")).header("cookie", format!("{COOKIE}={real}"));
    let request = request.header("authorization", "Bearer tdg_nobodys");
    service.execute(request.body(Full::default()).unwrap()).await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn cookie_on_a_request_of_another_site_changes_nothing() {
    let service = with_ana(Role::Owner).await;
    let mut browser = Browser::of(&service, ANA).await;
    let channel = json!({"name": "a", "type": "webhook", "config": {"url": "https://example.com/hook"}});
    for site in [Some("cross-site"), Some("same-site"), None] {
        browser.site = site;
        browser.post(&default("/channels"), &channel).await.problem(403, "cross_site");
        browser.patch("/api/account", &json!({"name": "Mallory"})).await.problem(403, "cross_site");
        browser.delete("/api/session").await.problem(403, "cross_site");
        browser.get(&default("/channels")).await.expect(200);
    }
    // Another site can sign no one in, not even with its own credentials.
    browser.site = Some("cross-site");
    browser.sign_in(ANA, PASSWORD).await.problem(403, "cross_site");
    // An older browser shows where the request comes from by its Origin.
    browser.site = None;
    for (origin, status) in [
        ("https://tidings.example.com", 201),
        ("https://evil.example.com", 403),
        ("http://tidings.example.com", 403),
        ("null", 403),
    ] {
        let request = service.bare("POST", &default("/channels")).header("origin", origin);
        let cookie = format!("{COOKIE}={}", browser.cookie.as_ref().unwrap());
        let request = request.header("cookie", cookie).header("content-type", "application/json");
        let answered = service.execute(request.body(Full::from(channel.to_string())).unwrap()).await;
        assert_eq!(answered.status, status, "{origin}: {}", answered.text);
    }
    // A key is no cookie: its requests may come from anywhere.
    let request = service.request("POST", "/channels").header("sec-fetch-site", "cross-site");
    let request = request.header("content-type", "application/json");
    service.execute(request.body(Full::from(channel.to_string())).unwrap()).await.expect(201);
}

#[tokio::test]
async fn session_expires_after_14_days_without_use_and_after_90_at_most() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_unix_ms(1_790_000_000_000)));
    let service = Service::start_at(Arc::clone(&clock)).await;
    person(&service, ANA, Some(Role::Viewer)).await;
    let mut idle = Browser::of(&service, ANA).await;
    let mut used = Browser::of(&service, ANA).await;
    for day in 1..=6 {
        clock.advance_ms(13 * DAY_MS);
        used.get("/api/session").await.expect(200);
        if day >= 2 {
            idle.get("/api/session").await.problem(401, "unauthenticated");
        }
        // The use is recorded beside the request.
        while used.get("/api/session").await.expect(200)["session"]["lastSeenAt"] != json!(service.engine.clock().now())
        {
            tokio::task::yield_now().await;
        }
    }
    clock.advance_ms(12 * DAY_MS);
    used.get("/api/session").await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn revoked_session_is_401_and_those_of_others_cannot_be_ended() {
    let service = with_ana(Role::Viewer).await;
    person(&service, "ben@example.com", Some(Role::Owner)).await;
    let (mut first, mut second) = (Browser::of(&service, ANA).await, Browser::of(&service, ANA).await);
    let mut ben = Browser::of(&service, "ben@example.com").await;
    let listed = first.get("/api/account/sessions").await.expect(200);
    let sessions = listed["data"].as_array().unwrap().clone();
    assert_eq!(sessions.len(), 2);
    let other = sessions.iter().find(|session| session["isCurrent"] == false).unwrap();
    let path = format!("/api/account/sessions/{}", other["id"].as_str().unwrap());

    ben.delete(&path).await.problem(404, "not_found");
    second.get("/api/session").await.expect(200);
    first.delete(&path).await.expect(204);
    second.get("/api/session").await.problem(401, "unauthenticated");
    first.delete(&path).await.problem(404, "not_found");
    first.delete("/api/account/sessions/nonsense").await.problem(404, "not_found");

    let mut third = Browser::of(&service, ANA).await;
    assert_eq!(first.delete("/api/account/sessions").await.expect(200)["ended"], 1);
    third.get("/api/session").await.problem(401, "unauthenticated");
    first.get("/api/session").await.expect(200);
    ben.get("/api/session").await.expect(200);
}
