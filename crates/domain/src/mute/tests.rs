//! Tests of `mute`.

use super::*;
use crate::id::UserId;
use proptest::prelude::*;

const HOUR_MS: u64 = 3_600_000;

fn noon() -> Timestamp {
    Timestamp::parse("2026-05-02T12:00:00Z").unwrap()
}

fn endpoint(number: u8) -> EndpointId {
    EndpointId::from_bytes([number; 16])
}

fn channel(number: u8) -> ChannelId {
    ChannelId::from_bytes([number; 16])
}

fn mute(number: u8, scope: MuteScope, hours: Option<u64>) -> Mute {
    Mute {
        id: MuteId::from_bytes([number; 16]),
        workspace_id: WorkspaceId::from_bytes([1; 16]),
        scope,
        expires_at: hours.map(|hours| noon().plus_ms(hours * HOUR_MS)),
        reason: "deploy".into(),
        created_by: Actor::user(UserId::from_bytes([7; 16]), "ana@example.com"),
        created_at: noon(),
        ends_on_recovery: false,
    }
}

fn pointers(mute: &Mute) -> Vec<String> {
    mute.violations().into_iter().map(|violation| violation.pointer).collect()
}

#[test]
fn mute_scopes_round_trip() {
    for scope in [MuteScope::Global, MuteScope::Endpoint(endpoint(2)), MuteScope::Channel(channel(3))] {
        assert_eq!(MuteScope::parse(scope.as_str(), scope.target_id().as_deref()), Ok(scope));
        assert!(MuteScope::NAMES.contains(&scope.as_str()));
    }
}

#[test]
fn mismatched_scope_and_target_are_reported_at_their_field() {
    let (endpoint, channel) = (endpoint(2).to_string(), channel(3).to_string());
    for (scope, target, pointer) in [
        ("team", None, "/scope"),
        ("", Some(&*channel), "/scope"),
        ("global", Some(&*channel), "/targetId"),
        ("endpoint", None, "/targetId"),
        ("endpoint", Some(&*channel), "/targetId"),
        ("channel", Some(&*endpoint), "/targetId"),
        ("channel", Some(""), "/targetId"),
    ] {
        assert_eq!(MuteScope::parse(scope, target).unwrap_err().pointer, pointer, "{scope} {target:?}");
    }
    let violation = MuteScope::parse("endpoint", Some("api")).unwrap_err();
    assert_eq!(violation.message, "must be the id of the muted resource, of the form ep_<32 hex digits>");
}

#[test]
fn invalid_mute_is_reported_by_field() {
    let endpoint = MuteScope::Endpoint(endpoint(2));
    assert_eq!(mute(1, endpoint, Some(1)).violations(), []);
    assert_eq!(mute(1, MuteScope::Global, None).violations(), []);
    assert_eq!(pointers(&mute(1, endpoint, Some(0))), ["/expiresAt"]);
    for reason in ["a\nb".to_owned(), "x".repeat(REASON_CHARS_MAX + 1)] {
        assert_eq!(pointers(&Mute { reason, ..mute(1, endpoint, None) }), ["/reason"]);
    }
    let reason = "ä".repeat(REASON_CHARS_MAX);
    assert_eq!(pointers(&Mute { reason, ends_on_recovery: true, ..mute(1, endpoint, None) }), [""; 0]);
    for scope in [MuteScope::Global, MuteScope::Channel(channel(3))] {
        assert_eq!(pointers(&Mute { ends_on_recovery: true, ..mute(1, scope, None) }), ["/endsOnRecovery"]);
    }
}

#[test]
fn mute_ends_on_expiry_or_on_recovery() {
    let of_an_hour = mute(1, MuteScope::Endpoint(endpoint(2)), Some(1));
    assert!(of_an_hour.is_active(noon()) && of_an_hour.is_active(noon().plus_ms(HOUR_MS - 1)));
    assert!(!of_an_hour.is_active(noon().plus_ms(HOUR_MS)), "the end is exclusive");
    assert!(!of_an_hour.ends_with_recovery_of(endpoint(2)), "only if endsOnRecovery is set");
    let until_recovery = Mute { ends_on_recovery: true, ..mute(1, MuteScope::Endpoint(endpoint(2)), None) };
    assert!(until_recovery.is_active(noon().plus_ms(10_000 * HOUR_MS)));
    assert!(until_recovery.ends_with_recovery_of(endpoint(2)) && !until_recovery.ends_with_recovery_of(endpoint(3)));
}

#[test]
fn mute_applies_within_its_scope() {
    let applies =
        |scope, from: Option<u8>, through| mute(1, scope, None).applies_to(from.map(endpoint), channel(through));
    assert!(applies(MuteScope::Global, Some(2), 3) && applies(MuteScope::Global, None, 3));
    let of_endpoint = MuteScope::Endpoint(endpoint(2));
    assert!(applies(of_endpoint, Some(2), 3) && !applies(of_endpoint, Some(3), 3) && !applies(of_endpoint, None, 2));
    let of_channel = MuteScope::Channel(channel(3));
    assert!(applies(of_channel, Some(2), 3) && applies(of_channel, None, 3) && !applies(of_channel, Some(3), 2));
}

#[test]
fn mute_description_has_scope_end_author_and_reason() {
    let zurich = Zone::from_name("Europe/Zurich").unwrap();
    let describe = |mute: Mute| mute.describe(noon(), &zurich);
    let of_the_channel = mute(1, MuteScope::Channel(channel(3)), Some(2));
    assert_eq!(
        describe(of_the_channel.clone()),
        "This channel is muted until 16:00 Europe/Zurich by ana@example.com: deploy"
    );
    assert_eq!(
        describe(Mute { reason: String::new(), ..mute(1, MuteScope::Global, Some(24)) }),
        "Everything is muted until 2026-05-03 14:00 Europe/Zurich by ana@example.com"
    );
    let until_recovery = Mute { ends_on_recovery: true, ..mute(1, MuteScope::Endpoint(endpoint(2)), None) };
    assert_eq!(describe(until_recovery.clone()), "This endpoint is muted until it recovers by ana@example.com: deploy");
    assert_eq!(
        describe(Mute { expires_at: of_the_channel.expires_at, ..until_recovery }),
        "This endpoint is muted until it recovers, at most until 16:00 Europe/Zurich, by ana@example.com: deploy"
    );
    assert_eq!(describe(mute(1, MuteScope::Global, None)), "Everything is muted by ana@example.com: deploy");
}

fn mutes() -> impl Strategy<Value = Vec<Mute>> {
    let one = (0..3u8, 0..3u8, proptest::option::of(0..5u64));
    proptest::collection::vec(one, 0..12).prop_map(|all| {
        let scope = |kind, target| match kind {
            0 => MuteScope::Global,
            1 => MuteScope::Endpoint(endpoint(target)),
            _ => MuteScope::Channel(channel(target)),
        };
        let one = |(number, (kind, target, hours))| mute(number, scope(kind, target), hours);
        (0..).zip(all).map(one).collect()
    })
}

proptest! {
    #[test]
    fn selected_mute_applies_and_outlasts_the_others(
        mutes in mutes(), from in proptest::option::of(0..3u8), through in 0..3u8, hours in 0..5u64
    ) {
        let (from, through, now) = (from.map(endpoint), channel(through), noon().plus_ms(hours * HOUR_MS));
        let matches = |mute: &&Mute, is_global: bool| {
            (mute.scope == MuteScope::Global) == is_global && mute.applies_to(from, through) && mute.is_active(now)
        };
        for (selected, is_global) in [(global(&mutes, now), true), (scoped(&mutes, from, through, now), false)] {
            let matching: Vec<_> = mutes.iter().filter(|mute| matches(mute, is_global)).collect();
            prop_assert_eq!(selected.is_some(), !matching.is_empty());
            let Some(selected) = selected else { continue };
            prop_assert!(matching.contains(&selected));
            if let Some(expires_at) = selected.expires_at {
                prop_assert!(matching.iter().all(|mute| !mute.is_active(expires_at)), "then all have expired");
            }
        }
    }
}
