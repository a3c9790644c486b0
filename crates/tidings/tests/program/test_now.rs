//! `POST /endpoints/test` of a TLS endpoint: the certificate is returned, trusted or not.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Setup, tls};

#[test]
fn endpoint_test_returns_trusted_and_untrusted_certificates() {
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
