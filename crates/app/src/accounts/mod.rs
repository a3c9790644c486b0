//! Users: their passwords, sign-ins and sessions.
//!
//! - [`session`] signs in and out. [`SignedIn`] is a user whose session was verified, in no workspace in particular; in one
//!   of its own it becomes a [`crate::Principal`], as an API key does. [`Operator`] is one that may manage workspaces.
//! - [`account`] is what users see and change of themselves.
//! - [`password`] hashes, [`throttle`] limits attempts.
//! - [`last_use`] records lazily when and from where sessions and API keys were used.
//! - [`provision`] makes users without a request, for the command line and the first start.

pub mod account;
pub mod last_use;
pub mod password;
pub mod provision;
pub mod session;
mod signed_in;
pub mod throttle;

use std::sync::{Mutex, MutexGuard, PoisonError};

use last_use::{LastUses, SessionUses};
use password::{PasswordError, Passwords};
use throttle::Throttle;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard};

pub(crate) use signed_in::entry;
pub use signed_in::{Operator, SignedIn};

use crate::error::AppError;

/// What sign-ins share.
#[derive(Debug)]
pub struct Accounts {
    passwords: Passwords,
    throttle: Mutex<Throttle>,
    last_uses: LastUses,
    session_uses: SessionUses,
    counted: AsyncMutex<()>,
}

impl Accounts {
    /// Starts the hashing thread.
    pub fn start() -> Self {
        Self {
            passwords: Passwords::start(),
            throttle: Mutex::default(),
            last_uses: LastUses::default(),
            session_uses: SessionUses::default(),
            counted: AsyncMutex::default(),
        }
    }

    pub(crate) fn passwords(&self) -> &Passwords {
        &self.passwords
    }

    fn throttle(&self) -> MutexGuard<'_, Throttle> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn last_uses(&self) -> &LastUses {
        &self.last_uses
    }

    pub(crate) fn session_uses(&self) -> &SessionUses {
        &self.session_uses
    }

    /// Held from the check of a quota of what is no configuration until the thing is made: requests that arrive together
    /// would otherwise all pass the check.
    pub(crate) async fn counted(&self) -> AsyncMutexGuard<'_, ()> {
        self.counted.lock().await
    }
}

impl From<PasswordError> for AppError {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => Self::TooManyAttempts { retry_after_seconds: password::RETRY_AFTER_SECONDS },
            defect @ (PasswordError::Hash(_) | PasswordError::Ended) => {
                tracing::error!(error = %defect, "a password could not be hashed");
                Self::Defect("a password could not be hashed")
            }
        }
    }
}
