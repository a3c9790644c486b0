use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use tidings_domain::violation::Violation;

use super::*;

fn pem() -> String {
    CertificateParams::new(vec!["a.example".into()]).unwrap().self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
}

fn violations(input: Value, allows_verify: bool) -> Vec<(String, String)> {
    let found = read_settings(&input, allows_verify).unwrap_err();
    found.into_iter().map(|Violation { pointer, message }| (pointer, message)).collect()
}

#[test]
fn read_settings_valid_input_is_normalised() {
    let pem = pem();
    let text = format!("Subject: something\r\n{}\n# the end", pem.replace('\n', "\r\n"));
    let input = json!({"verify": "expiry_only", "caCertificate": text, "serverName": " Hooks.Example. "});
    let profile = read_settings(&input, true).unwrap();
    let settings = profile.settings();
    assert_eq!(settings.verify, Verify::ExpiryOnly);
    assert_eq!(settings.server_name.as_deref(), Some("hooks.example"));
    assert_eq!(settings.ca_certificate.map(|text| text.replace('\n', "")), Some(pem.replace(['\n', '\r'], "")));
    // What is stored reads as what was entered.
    assert_eq!(TlsProfile::new(&profile.settings()).unwrap(), profile);
    for absent in [json!(null), json!({}), json!({"caCertificate": null, "serverName": ""})] {
        assert_eq!(read_settings(&absent, false).unwrap(), TlsProfile::default());
    }
}

#[test]
fn read_settings_invalid_fields_are_all_reported() {
    let key = KeyPair::generate().unwrap().serialize_pem();
    for (ca, message) in [
        (json!(7), "must be a string"),
        (json!("hello"), "must be a certificate in PEM"),
        (json!(key), "contains a private key"),
        (json!(pem() + &key), "contains a private key"),
        (json!("-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n"), "is not valid PEM"),
        (json!("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "something else than a certificate"),
        (json!(pem().repeat(CERTIFICATES_MAX + 1)), "at most 20 certificates"),
        (json!("x".repeat(PEM_BYTES_MAX + 1)), "at most 65536 bytes"),
    ] {
        let found = violations(json!({"caCertificate": ca, "serverName": "a b", "verify": "all", "x": 1}), true);
        let of =
            |pointer: &str| found.iter().find(|(at, _)| at == pointer).map(|(_, message)| message.as_str()).unwrap();
        assert!(of("/caCertificate").contains(message), "{found:?}");
        assert!(of("/serverName").contains("host name"));
        assert!(of("/verify").contains("expiry_only"));
        assert!(of("/x").contains("not a known field"));
    }
    assert_eq!(violations(json!([]), true)[0].0, "");
    assert_eq!(violations(json!({"verify": "none"}), false)[0].0, "/verify", "not of webhooks");
}

#[test]
fn server_name_for_own_name_replaces_the_host() {
    let default = TlsProfile::default();
    let name = |profile: &TlsProfile, host: &str| profile.server_name_for(host).map(|name| name.to_str().into_owned());
    assert_eq!(name(&default, "a.example.").unwrap(), "a.example");
    assert_eq!(name(&default, "[::1]").unwrap(), "::1");
    assert!(name(&default, "a b").is_err());
    let own = read_settings(&json!({"serverName": "b.example"}), false).unwrap();
    assert_eq!(name(&own, "10.0.0.1").unwrap(), "b.example");
}

#[tokio::test(start_paused = true)]
async fn clients_are_kept_apart_by_profile_and_sessions_end() {
    let clients = TlsClients::new(RootCertStore::empty());
    let profile = |name: &str| read_settings(&json!({"serverName": name}), false).unwrap();
    let (one, same, other) =
        (clients.client(&profile("a")), clients.client(&profile("a")), clients.client(&profile("b")));
    assert!(Arc::ptr_eq(&one, &same) && !Arc::ptr_eq(&one, &other));
    let config = one.config(Handshake::Resume);
    assert!(Arc::ptr_eq(&config, &one.config(Handshake::Resume)));
    assert!(!Arc::ptr_eq(&config, &other.config(Handshake::Resume)));
    tokio::time::advance(SESSION_AGE_MAX).await;
    assert!(!Arc::ptr_eq(&config, &one.config(Handshake::Resume)), "its sessions are too old");
    drop((one, same, other));
    drop(clients.client(&profile("c")));
    assert!(lock(&clients.by_profile).len() <= 1, "clients that nothing holds are forgotten");
}
