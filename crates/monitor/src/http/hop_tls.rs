//! The TLS settings of an HTTP endpoint, for each URL in a chain of redirects.

use std::borrow::Cow;

use tidings_channels::egress::TlsProfile;
use tidings_domain::tls::TlsSettings;
use tidings_domain::violation::Violations;
use url::Host;

use super::request::Hop;
use crate::target::ProbeTarget;

/// What to verify, and with which connections a request may share the pool.
#[derive(Debug)]
pub(crate) struct HopTls {
    host: Host,
    own: Choice,
    /// For redirects to other hosts: `serverName` is the name of the endpoint's own server only.
    elsewhere: Choice,
}

#[derive(Debug)]
struct Choice {
    profile: TlsProfile,
    /// Appended to the origin in the pool's keys: a connection that was verified in another way is never used. Empty for
    /// the default.
    key: String,
}

impl Choice {
    fn new(settings: &TlsSettings) -> Result<Self, Violations> {
        let profile = TlsProfile::new(settings)?;
        // Exact, not a hash: two profiles must not share a connection by chance.
        let key = if settings.is_default() { String::new() } else { format!(" {:?}", profile.settings()) };
        Ok(Self { profile, key })
    }
}

impl HopTls {
    /// Of an endpoint at this target.
    pub fn new(target: &ProbeTarget, settings: &TlsSettings) -> Result<Self, Violations> {
        let elsewhere = TlsSettings { server_name: None, ..settings.clone() };
        Ok(Self { host: target.host.clone(), own: Choice::new(settings)?, elsewhere: Choice::new(&elsewhere)? })
    }

    fn choice(&self, hop: &Hop) -> &Choice {
        if hop.target.host == self.host { &self.own } else { &self.elsewhere }
    }

    /// What is verified at this URL.
    pub fn profile(&self, hop: &Hop) -> &TlsProfile {
        &self.choice(hop).profile
    }

    /// The pool's key for connections to this URL.
    pub fn pool_key<'a>(&self, hop: &'a Hop) -> Cow<'a, str> {
        match self.choice(hop).key.as_str() {
            key if hop.is_tls && !key.is_empty() => Cow::Owned(format!("{}{key}", hop.origin)),
            _ => Cow::Borrowed(&hop.origin),
        }
    }
}
