//! `/rules`: the rules of the whole workspace.

use serde::Deserialize;
use tidings_domain::id::{ChannelId, RuleId};
use tidings_domain::resource::ResourceType;
use utoipa::ToSchema;

use super::Rule;
use crate::error::Result;
use crate::page::{Page, PageQuery};
use crate::principal::{Authorized, Read};
use crate::schemas;

/// Which rules to list. All conditions must hold.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AllRulesQuery {
    #[schema(schema_with = schemas::rule_type)]
    pub resource_type: Option<ResourceType>,
    /// Your own id of the resource; `*` for the rules of every resource of a type.
    #[schema(max_length = 200)]
    pub resource_id: Option<String>,
    /// The channel that they notify.
    pub channel: Option<ChannelId>,
    pub enabled: Option<bool>,
    pub paused: Option<bool>,
    /// Text in the resource id or in the channel's name, whatever its case.
    #[schema(max_length = 200)]
    pub q: Option<String>,
    #[serde(flatten)]
    pub page: PageQuery,
}

/// The rules of the workspace, newest first, also those with a channel of their own.
///
/// # Errors
/// [`crate::AppError::Invalid`] for a wrong cursor.
pub fn all(by: &Authorized<Read>, query: &AllRulesQuery) -> Result<Page<Rule>> {
    let view = by.view()?;
    let before = query.page.before::<RuleId>()?;
    let text = query.q.as_ref().map(|text| text.to_lowercase());
    let mut found: Vec<_> = view
        .rules()
        .filter(|rule| before.is_none_or(|before| rule.id < before))
        .filter(|rule| query.resource_type.is_none_or(|kind| kind == rule.resource_type))
        .filter(|rule| query.resource_id.as_ref().is_none_or(|id| id == rule.resource.as_str()))
        .filter(|rule| query.channel.is_none_or(|id| id == rule.channel_id))
        .filter(|rule| query.enabled.is_none_or(|enabled| enabled == rule.enabled))
        .filter(|rule| query.paused.is_none_or(|paused| paused == rule.paused))
        .filter_map(|rule| Some((rule, &view.channel(rule.channel_id)?.channel)))
        .filter(|(rule, channel)| {
            text.as_ref().is_none_or(|text| {
                [rule.resource.as_str(), &channel.name].iter().any(|part| part.to_lowercase().contains(text))
            })
        })
        .collect();
    found.sort_unstable_by_key(|(rule, _)| std::cmp::Reverse(rule.id));
    found.truncate(query.page.fetch_limit() as usize);
    Ok(query.page.page(&found, |(rule, _)| rule.id, |(rule, channel)| Rule::of(rule, channel)))
}
