//! Users: their passwords, sign-ins and sessions.

pub mod password;
pub mod throttle;
