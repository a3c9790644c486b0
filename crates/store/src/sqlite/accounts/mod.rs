//! Accounts: users, members, sessions, invitations, API keys, workspaces, and the audit log.

pub(super) mod api_key;
pub(super) mod audit;
mod implementation;
pub(super) mod invitation;
pub(super) mod member;
pub(super) mod purge;
pub(super) mod session;
pub(super) mod user;
pub(super) mod workspace;

/// How long an invitation is kept after it expired, so that a late click gets the true answer.
const INVITATION_KEPT_MS: u64 = 30 * 86_400_000;
