//! How a server's TLS certificate is verified, as users set it for endpoints, webhooks and mail servers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The `tls` object of an endpoint or a channel. The default verifies everything, with the system's authorities.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsSettings {
    pub verify: Verify,
    /// Certificates in PEM that are trusted instead of the system's authorities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_certificate: Option<String>,
    /// The name to ask for (SNI) and to verify, instead of the host that is connected to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

/// What of a certificate is verified. The server must hold its private key in every case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verify {
    /// Issuer, name and dates.
    #[default]
    Full,
    /// The dates alone.
    ExpiryOnly,
    /// Nothing.
    None,
}

impl Verify {
    /// All values.
    pub const ALL: [Self; 3] = [Self::Full, Self::ExpiryOnly, Self::None];

    /// The name in the API and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::ExpiryOnly => "expiry_only",
            Self::None => "none",
        }
    }

    /// The value of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|value| value.as_str() == name)
    }
}

impl TlsSettings {
    /// Whether nothing differs from the defaults.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serialised_names_are_those_of_as_str() {
        for value in Verify::ALL {
            assert_eq!(serde_json::to_value(value).unwrap(), value.as_str());
            assert_eq!(Verify::parse(value.as_str()), Some(value));
        }
        assert_eq!(serde_json::to_string(&TlsSettings::default()).unwrap(), r#"{"verify":"full"}"#);
        assert_eq!(serde_json::from_str::<TlsSettings>("{}").unwrap(), TlsSettings::default());
    }
}
