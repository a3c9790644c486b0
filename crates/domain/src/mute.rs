//! Mutes: users suppress all notifications, those of one endpoint or those of one channel. Evaluated by gates 4 and 7.

use std::cmp::Reverse;

use crate::access::Actor;
use crate::calendar::Zone;
use crate::id::{ChannelId, EndpointId, Id, MuteId, WorkspaceId};
use crate::text::has_control;
use crate::time::Timestamp;
use crate::violation::{Violation, Violations};

/// The longest reason, in characters.
pub const REASON_CHARS_MAX: usize = 500;

/// What a mute suppresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MuteScope {
    /// Everything in the workspace.
    Global,
    /// Events of one endpoint, through all channels.
    Endpoint(EndpointId),
    /// Everything through one channel.
    Channel(ChannelId),
}

impl MuteScope {
    /// The wire names of the scopes.
    pub const NAMES: [&str; 3] = ["global", "endpoint", "channel"];

    /// The wire name, without the target: API and store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Endpoint(_) => "endpoint",
            Self::Channel(_) => "channel",
        }
    }

    /// The id of the target; `None` for a global mute.
    pub fn target_id(self) -> Option<String> {
        match self {
            Self::Global => None,
            Self::Endpoint(id) => Some(id.to_string()),
            Self::Channel(id) => Some(id.to_string()),
        }
    }

    /// Parses the API's `scope` and `targetId`.
    pub fn parse(scope: &str, target_id: Option<&str>) -> Result<Self, Violation> {
        match scope {
            "global" => match target_id {
                None => Ok(Self::Global),
                Some(_) => Err(Violation::new("/targetId", "must be absent: a global mute has no target")),
            },
            "endpoint" => parse_target(target_id).map(Self::Endpoint),
            "channel" => parse_target(target_id).map(Self::Channel),
            _ => Err(Violation::new("/scope", "must be global, endpoint or channel")),
        }
    }
}

fn parse_target<I: Id>(target_id: Option<&str>) -> Result<I, Violation> {
    let id = target_id.and_then(|text| text.parse().ok());
    let message = || format!("must be the id of the muted resource, of the form {}<32 hex digits>", I::PREFIX);
    id.ok_or_else(|| Violation::new("/targetId", message()))
}

/// A mute. Deliveries that it stops are suppressed, not held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mute {
    pub id: MuteId,
    pub workspace_id: WorkspaceId,
    pub scope: MuteScope,
    /// The end of the mute, exclusive; `None` if it lasts until it is deleted.
    pub expires_at: Option<Timestamp>,
    /// The author's reason; may be empty.
    pub reason: String,
    pub created_by: Actor,
    pub created_at: Timestamp,
    /// Whether the mute also ends when an incident of the endpoint is resolved.
    pub ends_on_recovery: bool,
}

impl Mute {
    /// Everything wrong with a new mute.
    pub fn violations(&self) -> Violations {
        let mut violations = Vec::new();
        if self.expires_at.is_some_and(|expires_at| expires_at <= self.created_at) {
            let message = "must be in the future; leave it out for a mute that lasts until it is deleted";
            violations.push(Violation::new("/expiresAt", message));
        }
        if self.reason.chars().nth(REASON_CHARS_MAX).is_some() || has_control(&self.reason) {
            let message = format!("must be one line of at most {REASON_CHARS_MAX} characters");
            violations.push(Violation::new("/reason", message));
        }
        if self.ends_on_recovery && !matches!(self.scope, MuteScope::Endpoint(_)) {
            let message = "must be false unless the scope is endpoint: nothing else recovers";
            violations.push(Violation::new("/endsOnRecovery", message));
        }
        violations
    }

    /// Whether the mute has not expired at `now`.
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|expires_at| now < expires_at)
    }

    /// Whether the mute covers events of this endpoint (`None` for other events) through this channel.
    pub fn applies_to(&self, endpoint_id: Option<EndpointId>, channel_id: ChannelId) -> bool {
        match self.scope {
            MuteScope::Global => true,
            MuteScope::Endpoint(id) => Some(id) == endpoint_id,
            MuteScope::Channel(id) => id == channel_id,
        }
    }

    /// Whether the mute ends because an incident of this endpoint was resolved.
    pub fn ends_with_recovery_of(&self, endpoint_id: EndpointId) -> bool {
        self.ends_on_recovery && self.scope == MuteScope::Endpoint(endpoint_id)
    }

    /// The detail of a refusal at `now`, such as
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
        format!("{what} is muted{until} by {}{separator}{}", self.created_by.name, self.reason)
    }
}

/// The active global mute that lasts longest: gate 4.
pub fn global(mutes: &[Mute], now: Timestamp) -> Option<&Mute> {
    longest(mutes.iter().filter(|mute| mute.scope == MuteScope::Global), now)
}

/// The active mute of this endpoint or channel that lasts longest: gate 7.
pub fn scoped(mutes: &[Mute], endpoint_id: Option<EndpointId>, channel_id: ChannelId, now: Timestamp) -> Option<&Mute> {
    let is_in_scope = |mute: &&Mute| mute.scope != MuteScope::Global && mute.applies_to(endpoint_id, channel_id);
    longest(mutes.iter().filter(is_in_scope), now)
}

/// The active mute that expires last, so that its end is the end of all of them. The tie-breakers make the choice
/// deterministic: prefer a mute that does not end on recovery, then the oldest.
fn longest<'a>(mutes: impl Iterator<Item = &'a Mute>, now: Timestamp) -> Option<&'a Mute> {
    let duration_key = |mute: &&Mute| {
        let expires_at = mute.expires_at.unwrap_or(Timestamp::from_unix_ms(i64::MAX));
        (expires_at, !mute.ends_on_recovery, Reverse(mute.id))
    };
    mutes.filter(|mute| mute.is_active(now)).max_by_key(duration_key)
}

#[cfg(test)]
mod tests;
