//! What uses a channel.

use std::collections::HashMap;
use std::fmt;

use tidings_domain::id::{ChannelId, EndpointId, RuleId};

use crate::snapshot::WorkspaceView;

/// What uses a channel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelUsers {
    /// Its rules, oldest first.
    pub rules: Vec<RuleId>,
    /// The endpoints that escalate to it, oldest first.
    pub endpoints: Vec<EndpointId>,
}

/// How many rules and escalation steps use a channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChannelUses {
    pub rules: u32,
    pub escalation_steps: u32,
}

impl ChannelUses {
    /// The uses of every channel that has some, in one pass over the configuration.
    pub fn count(view: &WorkspaceView) -> HashMap<ChannelId, Self> {
        let mut uses = HashMap::<ChannelId, Self>::new();
        for rule in view.rules() {
            uses.entry(rule.channel_id).or_default().rules += 1;
        }
        for step in view.endpoints().flat_map(|loaded| &loaded.endpoint.definition.escalation) {
            uses.entry(step.channel_id).or_default().escalation_steps += 1;
        }
        uses
    }
}

impl ChannelUsers {
    /// What uses the channel.
    pub fn find(view: &WorkspaceView, id: ChannelId) -> Self {
        let mut rules: Vec<_> = view.rules().filter(|rule| rule.channel_id == id).map(|rule| rule.id).collect();
        let escalates = view.endpoints().map(|loaded| &loaded.endpoint);
        let escalates = escalates.filter(|it| it.definition.escalation.iter().any(|step| step.channel_id == id));
        let mut endpoints: Vec<_> = escalates.map(|endpoint| endpoint.id).collect();
        rules.sort_unstable();
        endpoints.sort_unstable();
        Self { rules, endpoints }
    }

    /// Whether nothing does.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.endpoints.is_empty()
    }
}

/// `1 rule uses it`, `2 rules and the escalation of 1 endpoint use it`.
impl fmt::Display for ChannelUsers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = describe_count(self.rules.len(), "rule");
        let endpoints = format!("the escalation of {}", describe_count(self.endpoints.len(), "endpoint"));
        match (self.rules.len(), self.endpoints.len()) {
            (1, 0) => write!(f, "{rules} uses it"),
            (_, 0) => write!(f, "{rules} use it"),
            (0, _) => write!(f, "{endpoints} uses it"),
            _ => write!(f, "{rules} and {endpoints} use it"),
        }
    }
}

fn describe_count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use tidings_domain::id::Id;

    use super::*;

    #[test]
    fn channel_users_display_counts_rules_and_endpoints() {
        let describe = |rules: u8, endpoints: u8| {
            let users = ChannelUsers {
                rules: (0..rules).map(|n| RuleId::from_bytes([n; 16])).collect(),
                endpoints: (0..endpoints).map(|n| EndpointId::from_bytes([n; 16])).collect(),
            };
            users.to_string()
        };
        assert_eq!(describe(1, 0), "1 rule uses it");
        assert_eq!(describe(2, 0), "2 rules use it");
        assert_eq!(describe(0, 1), "the escalation of 1 endpoint uses it");
        assert_eq!(describe(1, 2), "1 rule and the escalation of 2 endpoints use it");
    }
}
