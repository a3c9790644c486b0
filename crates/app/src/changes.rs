//! `/changes`: which topics changed, as it happens.

use serde::{Deserialize, Serialize};
use tidings_engine::changes::{self, Subscription, SubscriptionsExceeded};
use utoipa::ToSchema;

use crate::error::{AppError, Result};
use crate::principal::{Authorized, Read};

/// What a change is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ChangeTopic)]
pub enum Topic {
    /// Runs were reported.
    Runs,
    /// Deliveries were made, attempted or settled.
    Deliveries,
    /// Incidents were opened, changed or resolved.
    Incidents,
    /// Endpoints have another status.
    Endpoints,
    /// Checks were recorded.
    Checks,
    /// Channels, rules, endpoints, mutes, preferences or inbound webhooks were changed.
    Configuration,
    /// Members, invitations or API keys were changed.
    Members,
}

impl Topic {
    const fn topic(self) -> changes::Topic {
        match self {
            Self::Runs => changes::Topic::Runs,
            Self::Deliveries => changes::Topic::Deliveries,
            Self::Incidents => changes::Topic::Incidents,
            Self::Endpoints => changes::Topic::Endpoints,
            Self::Checks => changes::Topic::Checks,
            Self::Configuration => changes::Topic::Configuration,
            Self::Members => changes::Topic::Members,
        }
    }
}

/// Which changes to be notified of.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ChangesQuery {
    /// Only these topics; without it all.
    pub topics: Vec<Topic>,
}

/// Subscribes to the changes of the workspace. With the id of the last change that the caller saw, it resumes there.
///
/// # Errors
/// [`AppError::Busy`] if there are too many subscriptions of the caller, the workspace or the instance.
pub fn subscribe(by: &Authorized<Read>, query: &ChangesQuery, last_id: Option<&str>) -> Result<Subscription> {
    let topics: Vec<_> = query.topics.iter().map(|topic| topic.topic()).collect();
    let actor = by.actor();
    let caller = actor.id.as_deref().unwrap_or(&actor.name);
    by.engine().changes().subscribe(by.workspace_id(), caller, &topics, last_id).map_err(|exceeded| {
        AppError::Busy(match exceeded {
            SubscriptionsExceeded::Caller => "this key or user has too many open change streams: close one",
            SubscriptionsExceeded::Workspace => "this workspace has too many open change streams: poll instead",
            SubscriptionsExceeded::Node => "too many change streams are open: poll instead",
        })
    })
}
