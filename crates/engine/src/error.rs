//! Why the engine does not do what a webhook asks. Nothing of it was done.

use tidings_domain::delivery::Status;
use tidings_domain::violation::{Violation, Violations};
use tidings_store::StoreError;

use crate::settings::ChannelUsers;

/// Why the engine does not do what a webhook asks.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// There is no such thing in this workspace.
    #[error("there is no such {0} in this workspace")]
    NotFound(&'static str),
    /// The input is not right.
    #[error("the input is not right")]
    Invalid(Violations),
    /// It is not at the revision that the caller has seen.
    #[error("it was changed meanwhile: read it again")]
    RevisionMismatch,
    /// The channel is still in use.
    #[error("{0}")]
    ChannelInUse(ChannelUsers),
    /// A delivery in this state cannot be resent.
    #[error("a delivery that is {} cannot be resent: only sent and failed ones can", .0.as_str())]
    NotResendable(Status),
    /// The delivery's rule is disabled or gone, so that nothing may be sent for it.
    #[error("the rule of this delivery is disabled or deleted: enable it first")]
    RuleNotLive,
    /// A gate that is asked again stands in the way.
    #[error("{0}: what is sent again now would be suppressed")]
    GateClosed(String),
    /// The incident is over.
    #[error("the incident is resolved")]
    IncidentResolved,
    /// The workspace has as many of these as it may have.
    #[error("this workspace has {max} {what} and may have no more")]
    Quota {
        /// What, in the plural.
        what: &'static str,
        /// How many it may have.
        max: u32,
    },
    /// The delivery was a test.
    #[error("a test is not resent: test the channel again")]
    TestNotResendable,
    /// There is a workspace with this slug already.
    #[error("there is a workspace with this slug already")]
    SlugTaken,
    /// The channel's secrets cannot be opened.
    #[error("the channel cannot be used: {0}")]
    Unusable(String),
    /// The store did not do its part.
    #[error("the store failed")]
    Store(#[source] StoreError),
}

impl EngineError {
    /// One thing wrong with one field.
    pub fn invalid(pointer: &str, message: impl Into<String>) -> Self {
        Self::Invalid(vec![Violation::new(pointer, message)])
    }
}

impl From<StoreError> for EngineError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
