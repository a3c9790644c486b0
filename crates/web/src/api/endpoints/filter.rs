//! The filter of `GET /endpoints`.

use tidings_domain::endpoint::{Endpoint, Probe};

use super::probe::{TYPES, type_of};
use crate::fields::one_of;
use crate::query::Query;
use crate::view::endpoint::STATUSES;

/// Conditions that all must hold.
pub(super) struct Filter {
    status: Option<&'static str>,
    tag: Option<String>,
    kind: Option<&'static str>,
    /// In lower case.
    text: Option<String>,
}

impl Filter {
    pub(super) fn read(query: &mut Query) -> Self {
        let known = |values: &[&'static str], word: &str| values.iter().copied().find(|known| *known == word);
        Self {
            status: query.parsed("status", &one_of(STATUSES), |word| known(&STATUSES, word)),
            tag: query.search("tag"),
            kind: query.parsed("type", &one_of(TYPES), |word| known(&TYPES, word)),
            text: query.search("q").map(|text| text.to_lowercase()),
        }
    }

    /// Whether the definition matches. The status is apart, because it needs the state from the store.
    pub(super) fn matches(&self, endpoint: &Endpoint) -> bool {
        let definition = &endpoint.definition;
        self.kind.is_none_or(|kind| kind == type_of(&definition.probe))
            && self.tag.as_ref().is_none_or(|tag| definition.tags.contains(tag))
            && self.text.as_ref().is_none_or(|text| {
                let contains = |other: &str| other.to_lowercase().contains(text);
                contains(&endpoint.name)
                    || contains(target(&definition.probe))
                    || definition.tags.iter().any(|tag| contains(tag))
            })
    }

    pub(super) fn matches_status(&self, status: &str) -> bool {
        self.status.is_none_or(|expected| expected == status)
    }
}

/// The URL or host.
fn target(probe: &Probe) -> &str {
    match probe {
        Probe::Http(http) => &http.url,
        Probe::External { .. } => "",
        Probe::Tcp { host, .. } | Probe::Icmp { host } | Probe::Dns { host, .. } | Probe::Tls { host, .. } => host,
    }
}
