//! Which endpoints of a list are wanted.

use tidings_domain::endpoint::{Endpoint, Probe};

use super::probe::{TYPES, type_of};
use crate::fields::one_of;
use crate::query::Query;
use crate::view::endpoint::STATUSES;

/// What is asked of each of them; all that is asked must hold.
pub(super) struct Filter {
    status: Option<&'static str>,
    tag: Option<String>,
    kind: Option<&'static str>,
    /// In lower case.
    text: Option<String>,
}

impl Filter {
    /// Reads it.
    pub(super) fn read(query: &mut Query) -> Self {
        let known = |words: &[&'static str], word: &str| words.iter().copied().find(|known| *known == word);
        Self {
            status: query.parsed("status", &one_of(STATUSES), |word| known(&STATUSES, word)),
            tag: query.search("tag"),
            kind: query.parsed("type", &one_of(TYPES), |word| known(&TYPES, word)),
            text: query.search("q").map(|text| text.to_lowercase()),
        }
    }

    /// Whether the endpoint is wanted, as far as that lies in what it is.
    pub(super) fn fits(&self, endpoint: &Endpoint) -> bool {
        let definition = &endpoint.definition;
        self.kind.is_none_or(|kind| kind == type_of(&definition.probe))
            && self.tag.as_ref().is_none_or(|tag| definition.tags.contains(tag))
            && self.text.as_ref().is_none_or(|text| {
                let holds = |other: &str| other.to_lowercase().contains(text);
                holds(&endpoint.name) || holds(place(&definition.probe)) || definition.tags.iter().any(|tag| holds(tag))
            })
    }

    /// Whether it is wanted, standing so.
    pub(super) fn fits_status(&self, status: &str) -> bool {
        self.status.is_none_or(|wanted| wanted == status)
    }
}

/// Where it is.
fn place(probe: &Probe) -> &str {
    match probe {
        Probe::Http(http) => &http.url,
        Probe::Tcp { host, .. } | Probe::Icmp { host } | Probe::Dns { host, .. } | Probe::Tls { host, .. } => host,
    }
}
