//! Gate 8: the endpoint is in a maintenance window.

use super::{GateInput, Refusal};
use crate::maintenance;
use crate::time::Timestamp;

pub(super) fn ask(facts: &GateInput<'_>, now: Timestamp) -> Option<Refusal> {
    let endpoint = facts.endpoint?;
    let ends_at = maintenance::ends_at(&endpoint.definition.maintenance_windows, now)?;
    Some(Refusal::suppress(maintenance::describe(endpoint.name, ends_at, now, facts.zone)).until(ends_at))
}
