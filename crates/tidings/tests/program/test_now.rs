//! “Test now” of an endpoint behind TLS: its certificate is shown, whether or not anybody vouches for it.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Setup, tls};

#[test]
fn a_certificate_is_shown_whether_or_not_it_is_trusted() {
    let target = tls::receiver();
    let url = format!("https://{}/health", target.address);
    let body = json!({"type": "http", "url": url, "expectedStatusCodes": [204], "assertions": [
        {"kind": "ssl", "operator": "gt", "value": "30", "severity": "degraded"},
    ]});

    let setup = Setup::new();
    let server = setup.start();
    let seen = server.api().post("/endpoints/test", body.clone()).expect(200);
    assert_eq!((&seen["status"], &seen["failure"]), (&json!("down"), &json!("tls")), "{seen}");
    assert!(seen["certificate"]["daysLeft"].as_i64().unwrap() > 365, "{seen}");
    assert_eq!((&seen["assertions"], &seen["statusCode"]), (&json!([]), &Value::Null));

    let setup = Setup::new();
    fs::write(setup.directory().join("roots.pem"), &target.pem).unwrap();
    let setup = setup.with("SSL_CERT_FILE", "roots.pem");
    let server = setup.start();
    let seen = server.api().post("/endpoints/test", body).expect(200);
    assert_eq!(
        (&seen["status"], &seen["statusReason"], &seen["statusCode"]),
        (&json!("healthy"), &Value::Null, &json!(204)),
        "{seen}"
    );
    assert_eq!(seen["assertions"][0]["passed"], true);
    assert!(seen["certificate"]["issuer"].as_str().is_some_and(|issuer| !issuer.is_empty()), "{seen}");
    assert!(seen["timings"]["tlsMs"].is_u64() && seen["timings"]["firstByteMs"].is_u64(), "{seen}");
}
