//! Why an operation failed. Renderers turn it into a problem (RFC 9457), a form's messages, or a line on a terminal.

use tidings_domain::access::Permission;
use tidings_domain::violation::{Violation, Violations};
use tidings_engine::EngineError;
use tidings_store::StoreError;

/// The result of an operation.
pub type Result<T> = std::result::Result<T, AppError>;

/// Why an operation failed. It has changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The caller's role, or its API key, does not grant this.
    #[error("this needs the permission {}", .0.as_str())]
    Forbidden(Permission),
    /// The API key is read-only.
    #[error("use an API key with write access")]
    ReadOnlyKey,
    /// With all that is wrong. Their paths are JSON pointers of the request; in a form the same paths name its fields.
    #[error("the input is invalid")]
    Invalid(Violations),
    /// A quota of the workspace is used up.
    #[error("this workspace has {used} {what} and may have {max}: delete some, or ask the operator for more")]
    Quota {
        /// The things that are limited, in the plural.
        what: &'static str,
        used: u32,
        max: u32,
    },
    /// It accepts no checks while it is paused.
    #[error("the endpoint is paused, so the check was not accepted: resume it first")]
    EndpointPaused,
    /// No user is signed in, or another one than must be. With what to do.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// There is no such user, or the password is another one. Which of them is not disclosed.
    #[error("the email or the password is wrong")]
    WrongCredentials,
    /// Too many sign-ins, or failed ones, at once or of late.
    #[error("too many attempts to sign in: try again in {retry_after_seconds} s")]
    TooManyAttempts { retry_after_seconds: u32 },
    /// The user does not operate the instance.
    #[error("only operators of this instance may do this")]
    OperatorsOnly,
    /// An operator has suspended the workspace.
    #[error("this workspace is suspended: ask the operator of this instance")]
    WorkspaceSuspended,
    /// The change would leave the workspace without an owner.
    #[error("this is the last owner of the workspace: make another member an owner first")]
    LastOwner,
    /// Another user has the email.
    #[error("another user has this email")]
    EmailTaken,
    /// The user belongs to the workspace.
    #[error("this user is a member of the workspace already")]
    AlreadyMember,
    /// The invitation was accepted.
    #[error("this invitation was accepted already")]
    InvitationUsed,
    /// The invitation is too old.
    #[error("this invitation has expired: ask for another")]
    InvitationExpired,
    /// The signed-in user has another email than the invited one.
    #[error("this invitation is for another email: sign out, or sign in with the account of that email")]
    InvitationForAnother,
    /// A defect in Tidings, which was logged. With what failed.
    #[error("{0}")]
    Defect(&'static str),
    /// A resource that cannot be erased now, with what to do.
    #[error("{0}")]
    ResourceInUse(&'static str),
    /// Temporary: all slots are in use.
    #[error("{0}")]
    Busy(&'static str),
    /// Not available in the state that it is in. With the stable code.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl AppError {
    /// One violation of one field.
    pub fn invalid(pointer: &str, message: impl Into<String>) -> Self {
        Self::Invalid(vec![Violation::new(pointer, message)])
    }

    /// It does not exist in this workspace.
    pub const fn not_found(what: &'static str) -> Self {
        Self::Engine(EngineError::NotFound(what))
    }

    /// The same with each field's path mapped, where the caller's request names a field differently.
    #[must_use]
    pub fn map_pointers(self, map: impl Fn(&str) -> String) -> Self {
        let mapped = |violations: Violations| {
            violations.into_iter().map(|violation| Violation::new(map(&violation.pointer), violation.message)).collect()
        };
        match self {
            Self::Invalid(violations) | Self::Engine(EngineError::Invalid(violations)) => {
                Self::Invalid(mapped(violations))
            }
            other => other,
        }
    }
}

impl From<StoreError> for AppError {
    fn from(error: StoreError) -> Self {
        Self::Engine(error.into())
    }
}

impl From<Violations> for AppError {
    fn from(violations: Violations) -> Self {
        Self::Invalid(violations)
    }
}
