//! Gate 8: the endpoint is in a maintenance window.

use super::{Facts, Stop};
use crate::maintenance;
use crate::time::Timestamp;

pub(super) fn ask(facts: &Facts<'_>, now: Timestamp) -> Option<Stop> {
    let endpoint = facts.endpoint?;
    let ends_at = maintenance::ends_at(&endpoint.definition.maintenance_windows, now)?;
    Some(Stop::suppress(maintenance::words(endpoint.name, ends_at, now, facts.zone)).until(ends_at))
}
