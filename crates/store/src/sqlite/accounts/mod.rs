//! Accounts: users, members, sessions, invitations, API keys, workspaces, and the audit log.

pub(super) mod audit;
