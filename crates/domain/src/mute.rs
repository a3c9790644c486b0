//! Mutes: somebody wants nothing said, of everything, of one endpoint or through one channel. Gates 4 and 7 ask them.

use std::cmp::Reverse;

use crate::calendar::Zone;
use crate::id::{ChannelId, EndpointId, Id, MuteId, WorkspaceId};
use crate::text::has_control;
use crate::time::Timestamp;
use crate::violation::{Violation, Violations};

/// The longest reason, in characters.
pub const REASON_CHARS_MAX: usize = 500;

/// What a mute is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MuteScope {
    /// Everything in the workspace.
    Global,
    /// One endpoint, through all channels.
    Endpoint(EndpointId),
    /// One channel, whatever it is told.
    Channel(ChannelId),
}

impl MuteScope {
    /// The words for the scopes in the API and in the store.
    pub const NAMES: [&str; 3] = ["global", "endpoint", "channel"];

    /// The word for it, without its target.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Endpoint(_) => "endpoint",
            Self::Channel(_) => "channel",
        }
    }

    /// The id of its target, if it has one.
    pub fn target_id(self) -> Option<String> {
        match self {
            Self::Global => None,
            Self::Endpoint(id) => Some(id.to_string()),
            Self::Channel(id) => Some(id.to_string()),
        }
    }

    /// Reads the API's `scope` and `targetId`.
    pub fn read(scope: &str, target_id: Option<&str>) -> Result<Self, Violation> {
        match scope {
            "global" => match target_id {
                None => Ok(Self::Global),
                Some(_) => Err(Violation::new("/targetId", "must not be there: a global mute is about everything")),
            },
            "endpoint" => read_target(target_id).map(Self::Endpoint),
            "channel" => read_target(target_id).map(Self::Channel),
            _ => Err(Violation::new("/scope", "must be global, endpoint or channel")),
        }
    }
}

fn read_target<I: Id>(target_id: Option<&str>) -> Result<I, Violation> {
    let id = target_id.and_then(|text| text.parse().ok());
    let message = || format!("must be the id of what is muted, of the form {}<32 hex digits>", I::PREFIX);
    id.ok_or_else(|| Violation::new("/targetId", message()))
}

/// A mute. What it silences is suppressed, not held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mute {
    /// Its id.
    pub id: MuteId,
    /// The workspace it belongs to.
    pub workspace_id: WorkspaceId,
    /// What it is about.
    pub scope: MuteScope,
    /// From this instant on it is over; `None` if it lasts until somebody deletes it.
    pub expires_at: Option<Timestamp>,
    /// Why, in its author's words; empty if nothing was said.
    pub reason: String,
    /// Who made it, as people know them.
    pub created_by: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether it is over, too, when the endpoint's incident is resolved.
    pub ends_on_recovery: bool,
}

impl Mute {
    /// Everything wrong with it when it is made.
    pub fn violations(&self) -> Violations {
        let mut violations = Vec::new();
        if self.expires_at.is_some_and(|expires_at| expires_at <= self.created_at) {
            let message = "must lie in the future; leave it out for a mute that lasts until it is deleted";
            violations.push(Violation::new("/expiresAt", message));
        }
        if self.reason.chars().nth(REASON_CHARS_MAX).is_some() || has_control(&self.reason) {
            let message = format!("must be one line of at most {REASON_CHARS_MAX} characters");
            violations.push(Violation::new("/reason", message));
        }
        if self.ends_on_recovery && !matches!(self.scope, MuteScope::Endpoint(_)) {
            let message = "must be false unless the scope is endpoint, as nothing else recovers";
            violations.push(Violation::new("/endsOnRecovery", message));
        }
        violations
    }

    /// Whether it is not over by itself at `now`.
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|expires_at| now < expires_at)
    }

    /// Whether it is about what this endpoint (if it is one that speaks) says through this channel.
    pub fn applies_to(&self, endpoint_id: Option<EndpointId>, channel_id: ChannelId) -> bool {
        match self.scope {
            MuteScope::Global => true,
            MuteScope::Endpoint(id) => Some(id) == endpoint_id,
            MuteScope::Channel(id) => id == channel_id,
        }
    }

    /// Whether it is over now that an incident of this endpoint was resolved.
    pub fn ends_with_recovery_of(&self, endpoint_id: EndpointId) -> bool {
        self.ends_on_recovery && self.scope == MuteScope::Endpoint(endpoint_id)
    }

    /// What a verdict of `now` says about it, such as
    /// `This channel is muted until 07:00 Europe/Zurich by ana@example.com: deploy`.
    pub fn describe(&self, now: Timestamp, zone: &Zone) -> String {
        let what = match self.scope {
            MuteScope::Global => "Everything",
            MuteScope::Endpoint(_) => "This endpoint",
            MuteScope::Channel(_) => "This channel",
        };
        let until = match (self.expires_at.map(|at| zone.describe(at, now)), self.ends_on_recovery) {
            (None, false) => String::new(),
            (None, true) => " until it recovers".to_owned(),
            (Some(time), false) => format!(" until {time}"),
            (Some(time), true) => format!(" until it recovers, at most until {time},"),
        };
        let separator = if self.reason.is_empty() { "" } else { ": " };
        format!("{what} is muted{until} by {}{separator}{}", self.created_by, self.reason)
    }
}

/// The mute of everything that is active at `now` and lasts longest, if there is one: gate 4.
pub fn global(mutes: &[Mute], now: Timestamp) -> Option<&Mute> {
    longest(mutes.iter().filter(|mute| mute.scope == MuteScope::Global), now)
}

/// The mute of this endpoint or this channel that is active at `now` and lasts longest, if there is one: gate 7.
pub fn scoped(mutes: &[Mute], endpoint_id: Option<EndpointId>, channel_id: ChannelId, now: Timestamp) -> Option<&Mute> {
    let is_meant = |mute: &&Mute| mute.scope != MuteScope::Global && mute.applies_to(endpoint_id, channel_id);
    longest(mutes.iter().filter(is_meant), now)
}

/// When this one expires, so have the others. Among equals the oldest, so that the answer is always the same.
fn longest<'a>(mutes: impl Iterator<Item = &'a Mute>, now: Timestamp) -> Option<&'a Mute> {
    let lasts = |mute: &&Mute| {
        let expires_at = mute.expires_at.unwrap_or(Timestamp::from_unix_ms(i64::MAX));
        (expires_at, !mute.ends_on_recovery, Reverse(mute.id))
    };
    mutes.filter(|mute| mute.is_active(now)).max_by_key(lasts)
}

#[cfg(test)]
mod tests {
    use super::*;
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
            created_by: "ana@example.com".into(),
            created_at: noon(),
            ends_on_recovery: false,
        }
    }

    fn pointers(mute: &Mute) -> Vec<String> {
        mute.violations().into_iter().map(|violation| violation.pointer).collect()
    }

    #[test]
    fn scopes_read_back() {
        for scope in [MuteScope::Global, MuteScope::Endpoint(endpoint(2)), MuteScope::Channel(channel(3))] {
            assert_eq!(MuteScope::read(scope.as_str(), scope.target_id().as_deref()), Ok(scope));
            assert!(MuteScope::NAMES.contains(&scope.as_str()));
        }
    }

    #[test]
    fn a_scope_and_a_target_that_do_not_fit_are_refused_where_they_stand() {
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
            assert_eq!(MuteScope::read(scope, target).unwrap_err().pointer, pointer, "{scope} {target:?}");
        }
        let violation = MuteScope::read("endpoint", Some("api")).unwrap_err();
        assert_eq!(violation.message, "must be the id of what is muted, of the form ep_<32 hex digits>");
    }

    #[test]
    fn what_is_wrong_is_named() {
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
    fn a_mute_ends_when_it_expires_or_its_endpoint_recovers() {
        let of_an_hour = mute(1, MuteScope::Endpoint(endpoint(2)), Some(1));
        assert!(of_an_hour.is_active(noon()) && of_an_hour.is_active(noon().plus_ms(HOUR_MS - 1)));
        assert!(!of_an_hour.is_active(noon().plus_ms(HOUR_MS)), "its end is no longer part of it");
        assert!(!of_an_hour.ends_with_recovery_of(endpoint(2)), "only if that was wanted");
        let until_recovery = Mute { ends_on_recovery: true, ..mute(1, MuteScope::Endpoint(endpoint(2)), None) };
        assert!(until_recovery.is_active(noon().plus_ms(10_000 * HOUR_MS)));
        assert!(
            until_recovery.ends_with_recovery_of(endpoint(2)) && !until_recovery.ends_with_recovery_of(endpoint(3))
        );
    }

    #[test]
    fn a_mute_applies_to_what_it_is_about() {
        let applies =
            |scope, from: Option<u8>, through| mute(1, scope, None).applies_to(from.map(endpoint), channel(through));
        assert!(applies(MuteScope::Global, Some(2), 3) && applies(MuteScope::Global, None, 3));
        let of_endpoint = MuteScope::Endpoint(endpoint(2));
        assert!(
            applies(of_endpoint, Some(2), 3) && !applies(of_endpoint, Some(3), 3) && !applies(of_endpoint, None, 2)
        );
        let of_channel = MuteScope::Channel(channel(3));
        assert!(applies(of_channel, Some(2), 3) && applies(of_channel, None, 3) && !applies(of_channel, Some(3), 2));
    }

    #[test]
    fn the_words_say_what_how_long_who_and_why() {
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
        assert_eq!(
            describe(until_recovery.clone()),
            "This endpoint is muted until it recovers by ana@example.com: deploy"
        );
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
        fn the_mute_that_is_named_applies_and_outlasts_the_others(
            mutes in mutes(), from in proptest::option::of(0..3u8), through in 0..3u8, hours in 0..5u64
        ) {
            let (from, through, now) = (from.map(endpoint), channel(through), noon().plus_ms(hours * HOUR_MS));
            let stops = |mute: &&Mute, is_global: bool| {
                (mute.scope == MuteScope::Global) == is_global && mute.applies_to(from, through) && mute.is_active(now)
            };
            for (named, is_global) in [(global(&mutes, now), true), (scoped(&mutes, from, through, now), false)] {
                let stopping: Vec<_> = mutes.iter().filter(|mute| stops(mute, is_global)).collect();
                prop_assert_eq!(named.is_some(), !stopping.is_empty());
                let Some(named) = named else { continue };
                prop_assert!(stopping.contains(&named));
                if let Some(expires_at) = named.expires_at {
                    prop_assert!(stopping.iter().all(|mute| !mute.is_active(expires_at)), "then all are over");
                }
            }
        }
    }
}
