//! Users, their sessions, and invitations into workspaces.

use crate::access::{Actor, Role};
use crate::id::{InvitationId, SessionId, UserId, WorkspaceId};
use crate::text::has_control;
use crate::time::Timestamp;

const DAY_MS: u64 = 86_400_000;
/// A session ends after this time without use.
pub const SESSION_IDLE_MS: u64 = 14 * DAY_MS;
/// A session ends after this time, however much it is used.
pub const SESSION_MAX_MS: u64 = 90 * DAY_MS;
/// How long an invitation can be accepted.
pub const INVITATION_MS: u64 = 7 * DAY_MS;
/// The longest name of a user or API key, in characters.
pub const NAME_CHARS_MAX: usize = 200;
/// RFC 5321, 4.5.3.1.1 and the length of a path without its angle brackets.
const EMAIL_LOCAL_MAX: usize = 64;
const EMAIL_BYTES_MAX: usize = 254;
/// The longest kept `User-Agent`, in characters.
const USER_AGENT_CHARS_MAX: usize = 300;

/// A person who can sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    /// As entered; unique by [`email_key`].
    pub email: String,
    /// The display name.
    pub name: String,
    /// Whether the user may make, list and suspend workspaces.
    pub is_operator: bool,
    pub created_at: Timestamp,
    pub password_changed_at: Timestamp,
    /// Starts at 1; changes of the password leave it.
    pub revision: u32,
}

impl User {
    /// The user as an actor.
    pub fn actor(&self) -> Actor {
        Actor::user(self.id, self.name.as_str())
    }
}

/// What identifies an email address: no two users have the same. RFC 5321 has local parts depend on case, but no provider
/// does, and people do not expect it.
pub fn email_key(email: &str) -> String {
    email.to_lowercase()
}

/// What is wrong with an email address, completing a sentence that begins with the field; `None` if nothing is.
pub fn validate_email(email: &str) -> Option<&'static str> {
    let is_valid = email.len() <= EMAIL_BYTES_MAX
        && !email.chars().any(|c| c.is_whitespace() || c.is_control() || "<>()[],;:\\\"".contains(c))
        && email.rsplit_once('@').is_some_and(|(local, domain)| {
            (1..=EMAIL_LOCAL_MAX).contains(&local.len()) && !local.contains('@') && is_domain(domain)
        });
    (!is_valid).then_some("must be an email address, such as ana@example.com")
}

fn is_domain(text: &str) -> bool {
    text.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_alphanumeric() || c == '-')
    })
}

/// What is wrong with the name of a user or API key; `None` if nothing is.
pub fn validate_name(name: &str) -> Option<&'static str> {
    let is_valid = !name.trim().is_empty() && name.chars().nth(NAME_CHARS_MAX).is_none() && !has_control(name);
    (!is_valid).then_some("must be one line of 1 to 200 characters")
}

/// A signed-in browser of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub id: SessionId,
    pub user_id: UserId,
    pub created_at: Timestamp,
    /// Written lazily.
    pub last_seen_at: Timestamp,
    /// Exclusive. Use defers it, at most to [`SESSION_MAX_MS`] after the sign-in.
    pub expires_at: Timestamp,
    /// The IP address of the latest use.
    pub address: Option<String>,
    /// As the browser sent it at sign-in, cut.
    pub user_agent: Option<String>,
}

impl Session {
    /// A session that begins now.
    pub fn new(
        id: SessionId,
        user_id: UserId,
        now: Timestamp,
        address: Option<String>,
        user_agent: Option<&str>,
    ) -> Self {
        let expires_at = session_expiry(now, now);
        let user_agent = user_agent.map(|text| text.chars().take(USER_AGENT_CHARS_MAX).collect());
        Self { id, user_id, created_at: now, last_seen_at: now, expires_at, address, user_agent }
    }
}

/// When a session expires that began at `created_at` and was last used at `last_seen_at`.
pub fn session_expiry(created_at: Timestamp, last_seen_at: Timestamp) -> Timestamp {
    last_seen_at.plus_ms(SESSION_IDLE_MS).min(created_at.plus_ms(SESSION_MAX_MS))
}

/// An invitation to become a member of a workspace, which is accepted with the secret of its link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    pub id: InvitationId,
    pub workspace_id: WorkspaceId,
    pub email: String,
    pub role: Role,
    pub invited_by: Actor,
    pub created_at: Timestamp,
    /// Exclusive.
    pub expires_at: Timestamp,
    pub accepted_at: Option<Timestamp>,
}

impl Invitation {
    /// Whether it can be accepted.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.accepted_at.is_none() && now < self.expires_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn email_is_checked_and_compared_without_case() {
        for valid in ["ana@example.com", "root@localhost", "a.b+c@sub.exämple.org", "x@1.2.3.4"] {
            assert_eq!(validate_email(valid), None, "{valid}");
        }
        let long = format!("{}@example.com", "a".repeat(65));
        let longer = format!("a@{}.com", "b".repeat(250));
        for wrong in [
            "",
            "@",
            "ana",
            "ana@",
            "@example.com",
            "a@b@c",
            "a b@c",
            "a@b..c",
            "a@-b",
            "a@b\n",
            "<a@b>",
            &long,
            &longer,
        ] {
            assert!(validate_email(wrong).is_some(), "{wrong}");
        }
        assert_eq!(email_key("Ana@Exämple.COM"), email_key("ana@exÄmple.com"));
    }

    #[test]
    fn name_is_one_line_with_text() {
        assert_eq!(validate_name("Zoë 李"), None);
        for wrong in ["", "  ", "a\nb", &"x".repeat(201)] {
            assert!(validate_name(wrong).is_some(), "{wrong:?}");
        }
    }

    #[test]
    fn session_expires_after_idle_time_and_at_the_latest_after_its_maximum() {
        let start = Timestamp::from_unix_ms(1_000);
        assert_eq!(session_expiry(start, start), start.plus_ms(SESSION_IDLE_MS));
        let late = start.plus_ms(SESSION_MAX_MS - 1);
        assert_eq!(session_expiry(start, late), start.plus_ms(SESSION_MAX_MS));
    }
}
