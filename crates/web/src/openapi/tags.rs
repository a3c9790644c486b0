//! What the groups of operations are about.

use serde_json::{Value, json};

/// By name.
const DESCRIPTIONS: &[(&str, &str)] = &[
    ("Runs", "Executions of queries, flows, use cases and jobs, reported when they have ended."),
    ("Resources", "What runs, checks and alerts are about, with how it went last."),
    ("Overview", "What is wrong now, and what waits, in counts."),
    ("Events", "What was accepted, the deliveries that it caused, and why."),
    ("Rules", "Which events of a resource are sent through which channel."),
    ("Use cases", "The webhooks of a use case: a view of its rules."),
    ("Channels", "Destinations with their policies, used by any number of rules."),
    ("Deliveries", "Notifications of one event for one rule, with their verdicts and attempts."),
    ("Mutes", "Suppress notifications of an endpoint, of a channel or of everything."),
    ("Changes", "A stream that names the topics of what changed, as it happens."),
    ("Preferences", "Defaults of the workspace, and its global mute."),
    ("Simulation", "What would be sent, when, and what stops the rest."),
    ("Endpoints", "What is monitored: their definitions, checks and channels."),
    ("Incidents", "Outages of endpoints and alerts."),
    ("Inbound webhooks", "Secret URLs at which other systems report alerts."),
    ("Workspaces", "The workspace itself, and its quotas."),
    ("Members", "Who may see and change the workspace, and invitations."),
    ("API keys", "Credentials of programs."),
    ("Audit log", "Who changed what, and when."),
    ("Session", "Signing in and out."),
    ("Account", "The user who is signed in."),
    ("Invitation", "What an invited person sees and accepts."),
    ("Instance", "The workspaces of an instance."),
    ("Service", "Health, metrics and this description. None needs credentials."),
];

/// A tag with its description; a test finds those that have none.
pub(super) fn described(name: &str) -> Value {
    match DESCRIPTIONS.iter().find(|(known, _)| *known == name) {
        Some((_, description)) => json!({"name": name, "description": description}),
        None => json!({"name": name}),
    }
}
