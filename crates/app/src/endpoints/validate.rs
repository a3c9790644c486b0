//! What is wrong with an endpoint, beyond what its schema says.

use tidings_channels::egress::tls::read_settings;
use tidings_domain::endpoint::{self, Definition, Probe, insecure_tls_violation};
use tidings_domain::id::EndpointId;
use tidings_domain::violation::{Violation, Violations};
use tidings_engine::settings::channels::name_violations;
use tidings_engine::snapshot::{LoadedEndpoint, WorkspaceView};

use super::EndpointDraft;
use crate::contract::Input;
use crate::error::Result;
use crate::principal::Authorized;

/// The operator's setting that allows endpoints to send secrets without verifying the server.
const INSECURE_TLS_SETTING: &str = "TIDINGS_ALLOW_INSECURE_TLS";
/// The longest chain of parents.
const PARENTS_MAX: usize = 20;

/// The draft with everything that an edit of `before` keeps, if nothing is wrong with it.
pub(super) fn validated<P>(
    by: &Authorized<P>,
    view: &WorkspaceView,
    mut input: Input<EndpointDraft>,
    before: Option<&LoadedEndpoint>,
) -> Result<EndpointDraft> {
    let stored = before.map(|loaded| &loaded.endpoint.definition);
    let found = completed(by, &mut input.value.definition, stored);
    input.refuse(found);
    input.refuse(name_violations(&input.value.name));
    let definition = &input.value.definition;
    let own_id = before.map(|loaded| loaded.endpoint.id);
    let mut found = endpoint::violations(definition, own_id, by.engine().settings().limits().interval_seconds_min);
    found.extend(reference_violations(view, definition, own_id));
    input.refuse(found);
    Ok(input.finish()?)
}

/// Completes the definition from the stored one, and returns what is wrong with the parts that depend on it or on the
/// operator's settings.
pub(super) fn completed<P>(by: &Authorized<P>, definition: &mut Definition, stored: Option<&Definition>) -> Violations {
    let mut found = definition.keep_secrets(stored);
    if let Some(stored) = stored {
        reset_probe_settings(definition, stored);
    }
    if let Some(tls) = definition.probe.tls_mut() {
        let value = serde_json::to_value(&*tls).unwrap_or_default();
        match read_settings(&value, true) {
            Ok(profile) => *tls = profile.settings(),
            Err(violations) => found.extend(violations.into_iter().map(|violation| violation.under("/tls"))),
        }
    }
    if !by.engine().settings().limits().allow_insecure_tls {
        found.extend(insecure_tls_violation(definition, INSECURE_TLS_SETTING));
    }
    // Only if the probe changes: the operator may have forbidden the target since, and such an endpoint must still be
    // editable.
    if stored.is_none_or(|stored| stored.probe != definition.probe)
        && found.is_empty()
        && endpoint::violations(definition, None, 1).is_empty()
        && let Err(why) = by.prober().check(&definition.probe)
    {
        let at = if matches!(definition.probe, Probe::Http(_)) { "/url" } else { "/host" };
        found.push(Violation::new(at, why));
    }
    found
}

/// Where an endpoint becomes external, the settings of its probes end with them: they would have no effect, and are
/// refused.
fn reset_probe_settings(definition: &mut Definition, stored: &Definition) {
    if !definition.probe.is_external() || stored.probe.is_external() {
        return;
    }
    fn reset<T: PartialEq>(value: &mut T, stored: &T, default: T) {
        if value == stored {
            *value = default;
        }
    }
    let defaults = Definition::new(definition.probe.clone());
    reset(&mut definition.interval_seconds, &stored.interval_seconds, defaults.interval_seconds);
    reset(&mut definition.timeout_ms, &stored.timeout_ms, defaults.timeout_ms);
    reset(&mut definition.latency_threshold_ms, &stored.latency_threshold_ms, defaults.latency_threshold_ms);
    reset(&mut definition.ssl_warning_days, &stored.ssl_warning_days, defaults.ssl_warning_days);
    reset(&mut definition.assertions, &stored.assertions, defaults.assertions);
}

/// What it refers to and is not there.
pub(super) fn reference_violations(
    view: &WorkspaceView,
    definition: &Definition,
    own_id: Option<EndpointId>,
) -> Violations {
    let mut found = Violations::new();
    found.extend(definition.parent_id.and_then(|parent_id| parent_violation(view, parent_id, own_id)));
    for (index, step) in definition.escalation.iter().enumerate() {
        if view.channel(step.channel_id).is_none_or(|loaded| !loaded.is_shared()) {
            let at = format!("/escalation/{index}/channelId");
            found.push(Violation::new(at, "there is no such channel in this workspace"));
        }
    }
    found
}

/// A parent that does not exist, or that depends on the endpoint itself, or a chain of parents that is too long.
fn parent_violation(view: &WorkspaceView, parent_id: EndpointId, own: Option<EndpointId>) -> Option<Violation> {
    if view.endpoint(parent_id).is_none() {
        return Some(Violation::new("/parentId", "there is no such endpoint in this workspace"));
    }
    let mut next = Some(parent_id);
    for _ in 0..PARENTS_MAX {
        match next {
            None => return None,
            Some(id) if Some(id) == own => {
                return Some(Violation::new("/parentId", "must not depend on this endpoint itself"));
            }
            Some(id) => next = view.endpoint(id).and_then(|loaded| loaded.endpoint.definition.parent_id),
        }
    }
    next.map(|_| Violation::new("/parentId", format!("must have fewer than {PARENTS_MAX} endpoints above it")))
}
