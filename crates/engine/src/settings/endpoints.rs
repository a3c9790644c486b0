//! What edits of endpoints share: sealing, and their own rules.

use std::sync::Arc;

use tidings_domain::endpoint::Endpoint;
use tidings_domain::id::EndpointId;
use tidings_domain::resource::{ResourceSelector, ResourceType};
use tidings_domain::rule::Rule;
use tidings_store::settings::EndpointRecord;

use super::Settings;
use crate::snapshot::WorkspaceView;
use crate::vault::Owner;

impl Settings {
    /// The endpoint's row, its secrets sealed.
    pub fn endpoint_record(&self, endpoint: Endpoint) -> EndpointRecord {
        let owner = Owner::Endpoint(endpoint.workspace_id, endpoint.id);
        let secrets = endpoint.definition.secrets();
        let sealed =
            if secrets.is_empty() { Vec::new() } else { self.vault.seal_secrets(&secrets, owner, self.clock.as_ref()) };
        EndpointRecord { endpoint, key_id: self.vault.key_id().to_owned(), sealed }
    }
}

/// The rules of this endpoint, oldest first, without those of every endpoint.
pub fn rules_for(view: &WorkspaceView, id: EndpointId) -> impl Iterator<Item = &Arc<Rule>> {
    let rules = view.rules_of(ResourceType::Endpoint, &id.to_string());
    rules.filter(|rule| rule.resource != ResourceSelector::All)
}
