//! Errors of engine operations. A failed operation has changed nothing.

use tidings_domain::delivery::Status;
use tidings_domain::id::RuleId;
use tidings_domain::violation::{Violation, Violations};
use tidings_store::StoreError;

use crate::settings::ChannelUsers;

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// With the kind of thing.
    #[error("there is no such {0} in this workspace")]
    NotFound(&'static str),
    /// With one violation for each wrong field.
    #[error("the input is invalid")]
    Invalid(Violations),
    /// It is not at the revision that the caller expected, or other writers were faster each time.
    #[error("it was changed meanwhile: read it again and repeat")]
    RevisionMismatch,
    #[error("{0}")]
    ChannelInUse(ChannelUsers),
    #[error("a delivery that is {} cannot be resent: only sent and failed ones can", .0.as_str())]
    NotResendable(Status),
    #[error("the rule of this delivery is disabled or deleted: enable it first")]
    RuleInactive,
    /// With the gate's detail.
    #[error("{0}: a delivery resent now would be suppressed")]
    GateClosed(String),
    /// A rule with the same resource, shared channel, triggers and trigger types exists.
    #[error("the rule {0} joins this resource to this channel for the same triggers already: edit that one")]
    RuleExists(RuleId),
    #[error("the incident is resolved")]
    IncidentResolved,
    /// A quota of the workspace is used up.
    #[error("this workspace has {max} {what}, which is the limit")]
    Quota {
        /// The things that are limited, in the plural.
        what: &'static str,
        max: u32,
    },
    #[error("a test delivery cannot be resent: test the channel again")]
    TestNotResendable,
    #[error("there is a workspace with this slug already")]
    SlugTaken,
    /// The channel's secrets cannot be opened, or its configuration is not valid any more.
    #[error("the channel cannot be used: {0}")]
    Unusable(String),
    #[error("the store failed")]
    Store(#[source] StoreError),
}

impl EngineError {
    /// One violation of one field, named by its JSON pointer.
    pub fn invalid(pointer: &str, message: impl Into<String>) -> Self {
        Self::Invalid(vec![Violation::new(pointer, message)])
    }
}

impl From<StoreError> for EngineError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
