//! Which parts of a definition are secret, and how edits keep them.

use super::*;

fn http(url: &str) -> Definition {
    let headers = vec![("X-Api-Key".into(), "k3y".into()), ("Accept".into(), "text/plain".into())];
    let auth = Some(Auth::Bearer { token: "t0p".into() });
    Definition::new(Probe::Http(HttpProbe { headers, auth, body: Some("{\"pin\": 1}".into()), ..HttpProbe::new(url) }))
}

fn stored() -> Definition {
    http("https://a.example/health?token=abc")
}

/// The definition as it is shown, sent back with these changes.
fn edited(change: impl FnOnce(&mut HttpProbe)) -> (Definition, Vec<String>) {
    let shown = serde_json::to_string(&stored()).unwrap();
    let mut definition: Definition = serde_json::from_str(&shown).unwrap();
    let Probe::Http(http) = &mut definition.probe else { unreachable!() };
    change(http);
    let found = definition.keep_secrets(Some(&stored()));
    (definition, found.into_iter().map(|violation| violation.pointer).collect())
}

#[test]
fn serialised_definition_holds_no_secret() {
    let shown = serde_json::to_string(&stored()).unwrap();
    for secret in ["k3y", "t0p", "pin", "abc"] {
        assert!(!shown.contains(secret) && !format!("{:?}", stored()).contains(secret), "{secret} in {shown}");
    }
    assert!(shown.contains("text/plain") && shown.contains("https://a.example/health?token=•••"), "{shown}");
    let paths: Vec<_> = stored().secrets().into_keys().collect();
    assert_eq!(paths, ["auth.token", "body", "headers.x-api-key", "url"]);
}

#[test]
fn restored_definition_is_the_original() {
    let masked: Definition = serde_json::from_str(&serde_json::to_string(&stored()).unwrap()).unwrap();
    let mut restored = masked.clone();
    restored.restore_secrets(stored().secrets());
    assert_eq!(restored, stored());
    let mut without = masked;
    without.restore_secrets(BTreeMap::new());
    assert!(!serde_json::to_string(&without).unwrap().contains(MASK), "no mask is sent as a secret");
}

#[test]
fn unchanged_and_empty_secrets_keep_their_stored_values() {
    assert_eq!(edited(|_| {}), (stored(), vec![]));
    let emptied = edited(|http| {
        http.headers[0].1 = Secret::default();
        http.body = Some(Secret::default());
    });
    assert_eq!(emptied, (stored(), vec![]));
    let (moved, found) = edited(|http| http.url = "https://a.example/other?x=1&token=•••".into());
    assert!(found.is_empty());
    assert_eq!(moved.secrets()["url"].expose(), "https://a.example/other?x=1&token=abc");
    let (cleared, found) = edited(|http| (http.body, http.auth, http.headers) = (None, None, Vec::new()));
    assert!(found.is_empty());
    assert_eq!(cleared.secrets().into_keys().collect::<Vec<_>>(), ["url"]);
}

#[test]
fn stored_secrets_are_not_kept_for_another_origin() {
    let (_, found) = edited(|http| http.url = "https://b.example/health?token=•••".into());
    assert_eq!(found, ["/headers/X-Api-Key", "/body", "/auth/token", "/url"]);
    let (anew, found) = edited(|http| {
        http.url = "https://b.example/".into();
        http.headers[0].1 = "new".into();
        http.body = None;
        http.auth = Some(Auth::Bearer { token: "new".into() });
    });
    assert!(found.is_empty());
    assert_eq!(anew.secrets().into_values().collect::<Vec<_>>(), ["new".into(), "new".into()]);
}

#[test]
fn mask_without_a_stored_value_is_a_violation() {
    let (_, found) = edited(|http| {
        http.headers = vec![("X-Other".into(), MASK.into()), ("X-Empty".into(), Secret::default())];
        http.url = "https://a.example/?key=•••".into();
        http.auth = Some(Auth::Basic { username: "u".into(), password: MASK.into() });
    });
    assert_eq!(found, ["/headers/X-Other", "/auth/password", "/url"]);
    let mut fresh = http("https://a.example/?token=•••");
    let Probe::Http(probe) = &mut fresh.probe else { unreachable!() };
    (probe.body, probe.auth) = (Some(MASK.into()), Some(Auth::Bearer { token: Secret::default() }));
    let found: Vec<_> = fresh.keep_secrets(None).into_iter().map(|violation| violation.pointer).collect();
    assert_eq!(found, ["/body", "/auth/token", "/url"]);
}
