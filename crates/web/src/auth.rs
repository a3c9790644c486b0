//! Authentication and authorisation: extractors that are the only access to the engine.
//!
//! The engine in [`AppState`] is private to this module. A handler gets it from [`Authorized`], whose extraction checks
//! the API key and the workspace of the path, or from [`InboundCaller`]; a handler without one of them cannot read or
//! change anything.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{FromRequestParts, RawPathParams};
use http::header::AUTHORIZATION;
use http::request::Parts;
use tidings_domain::id::{Id, InvalidId, WorkspaceId};
use tidings_domain::time::Timestamp;
use tidings_engine::Engine;
use tidings_engine::snapshot::{Caller, InboundWebhookMatch};
use tidings_monitor::Prober;

use crate::health::Readiness;
use crate::problem::{Code, Problem};
use crate::router::WebSettings;

/// The state that all requests share. Clones are cheap.
#[derive(Clone)]
pub(crate) struct AppState(Arc<Inner>);

struct Inner {
    engine: Engine,
    settings: WebSettings,
    readiness: Readiness,
    endpoint_test_slots: TestSlots,
    channel_test_slots: TestSlots,
}

/// Tests of endpoints at once, and of channels. They use the prober and the connections that checks and deliveries use, and
/// must not take all their capacity.
const TESTS_MAX: usize = 32;
/// Those of one workspace at once, so that none takes the slots of all.
const WORKSPACE_TESTS_MAX: usize = 8;

/// The tests in progress, by workspace.
#[derive(Default)]
struct TestSlots(Mutex<HashMap<WorkspaceId, usize>>);

/// A slot for a test, until it is dropped.
pub(crate) struct TestSlot<'a> {
    slots: &'a TestSlots,
    workspace_id: WorkspaceId,
}

impl TestSlots {
    fn lock(&self) -> MutexGuard<'_, HashMap<WorkspaceId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn acquire(&self, workspace_id: WorkspaceId) -> Result<TestSlot<'_>, Problem> {
        let mut running = self.lock();
        let own = running.get(&workspace_id).copied().unwrap_or(0);
        if own >= WORKSPACE_TESTS_MAX || running.values().sum::<usize>() >= TESTS_MAX {
            return Err(Problem::new(Code::Unavailable, "too many tests are running at once: try again"));
        }
        running.insert(workspace_id, own + 1);
        Ok(TestSlot { slots: self, workspace_id })
    }
}

impl Drop for TestSlot<'_> {
    fn drop(&mut self) {
        let mut running = self.slots.lock();
        if let Some(own) = running.get_mut(&self.workspace_id) {
            *own -= 1;
            if *own == 0 {
                running.remove(&self.workspace_id);
            }
        }
    }
}

impl AppState {
    pub(crate) fn new(engine: Engine, settings: WebSettings) -> Self {
        let (endpoint_test_slots, channel_test_slots) = (TestSlots::default(), TestSlots::default());
        let readiness = Readiness::default();
        Self(Arc::new(Inner { engine, settings, readiness, endpoint_test_slots, channel_test_slots }))
    }

    pub(crate) fn settings(&self) -> &WebSettings {
        &self.0.settings
    }

    /// Whether the store accepts writes; the result is cached for a second.
    pub(crate) async fn is_ready(&self) -> bool {
        let check = async || self.0.engine.ready().await.is_ok();
        self.0.readiness.cached_or(self.0.settings.clock.as_ref(), check).await
    }
}

/// What a caller may do in its workspace.
pub(crate) trait Permission: Send + Sync + 'static {
    /// Whether a read-only key is not enough.
    const NEEDS_WRITE: bool;
}

/// Permission to read.
pub(crate) struct Read;

/// Permission to change the workspace, or to have it send something.
pub(crate) struct Write;

impl Permission for Read {
    const NEEDS_WRITE: bool = false;
}

impl Permission for Write {
    const NEEDS_WRITE: bool = true;
}

/// A caller whose API key grants `P` in the workspace of the path.
pub(crate) struct Authorized<P> {
    state: AppState,
    workspace_id: WorkspaceId,
    key_name: Arc<str>,
    permission: PhantomData<P>,
}

impl<P> Authorized<P> {
    pub(crate) fn engine(&self) -> &Engine {
        &self.state.0.engine
    }

    pub(crate) fn workspace_id(&self) -> WorkspaceId {
        self.workspace_id
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.state.settings().clock.now()
    }
}

impl Authorized<Write> {
    /// Who makes the change, as it is recorded and shown to people: the name of the API key.
    pub(crate) fn actor(&self) -> &str {
        &self.key_name
    }

    /// A slot for an endpoint test. Fails if all of the workspace or of the instance are in use.
    pub(crate) fn endpoint_test_slot(&self) -> Result<TestSlot<'_>, Problem> {
        self.state.0.endpoint_test_slots.acquire(self.workspace_id)
    }

    /// The same for a test of a channel or rule.
    pub(crate) fn channel_test_slot(&self) -> Result<TestSlot<'_>, Problem> {
        self.state.0.channel_test_slots.acquire(self.workspace_id)
    }

    pub(crate) fn prober(&self) -> &Prober {
        &self.state.settings().prober
    }

    pub(crate) fn public_url(&self) -> Option<&str> {
        self.state.settings().public_url.as_deref()
    }
}

impl<P: Permission> FromRequestParts<AppState> for Authorized<P> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let caller = authorize(parts, state, P::NEEDS_WRITE).await?;
        let (workspace_id, key_name) = (caller.workspace_id, caller.name);
        Ok(Self { state: state.clone(), workspace_id, key_name, permission: PhantomData })
    }
}

/// Checks the API key, the workspace of the path and, for writes, that the key is not read-only.
async fn authorize(parts: &mut Parts, state: &AppState, needs_write: bool) -> Result<Caller, Problem> {
    let params = path_params(parts, state).await?;
    let engine = &state.0.engine;
    let key = bearer(parts)
        .ok_or_else(|| Problem::new(Code::Unauthenticated, "send your API key as Authorization: Bearer <API key>"))?;
    let caller = engine
        .authenticate(key)
        .ok_or_else(|| Problem::new(Code::Unauthenticated, "this API key is unknown or was revoked"))?;
    let named = find(&params, "workspace").and_then(|name| engine.workspace_id(name));
    // The same problem for both cases, so that a key does not reveal which other workspaces exist.
    if named != Some(caller.workspace_id) {
        return Err(Problem::new(Code::NotFound, "there is no such workspace, or this API key is not one of its keys"));
    }
    if needs_write && caller.read_only {
        return Err(Problem::new(Code::ReadOnly, "use an API key with write access"));
    }
    Ok(caller)
}

/// A caller that presented the secret URL of an inbound webhook; the URL is its credential.
pub(crate) struct InboundCaller {
    state: AppState,
    found: InboundWebhookMatch,
}

impl InboundCaller {
    pub(crate) fn engine(&self) -> &Engine {
        &self.state.0.engine
    }

    /// The workspace that the webhook belongs to.
    pub(crate) fn workspace_id(&self) -> WorkspaceId {
        self.found.workspace_id
    }

    /// The sender's type, which determines the format of its messages.
    pub(crate) fn kind(&self) -> &str {
        &self.found.inbound_webhook.kind
    }
}

impl FromRequestParts<AppState> for InboundCaller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let params = path_params(parts, state).await?;
        let found = find(&params, "secret").and_then(|secret| state.0.engine.find_inbound_webhook(secret));
        found.map(|found| Self { state: state.clone(), found }).ok_or_else(|| Problem::not_found("path"))
    }
}

fn bearer(parts: &Parts) -> Option<&str> {
    let value = parts.headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim()).filter(|key| !key.is_empty())
}

async fn path_params(parts: &mut Parts, state: &AppState) -> Result<RawPathParams, Problem> {
    RawPathParams::from_request_parts(parts, state).await.map_err(|_| Problem::not_found("path"))
}

fn find<'a>(params: &'a RawPathParams, name: &str) -> Option<&'a str> {
    params.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// The id in the path. A malformed one is a 404, as an unknown one is.
pub(crate) struct PathId<T>(pub T);

impl<T: Id + FromStr<Err = InvalidId>> FromRequestParts<AppState> for PathId<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let params = path_params(parts, state).await?;
        let id = find(&params, "id").unwrap_or_default().parse();
        id.map(Self).map_err(|error| Problem::new(Code::NotFound, error.to_string()))
    }
}

/// The use case in the path: the caller's own id of it.
pub(crate) struct PathUseCase(pub String);

impl FromRequestParts<AppState> for PathUseCase {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let params = path_params(parts, state).await?;
        let id = find(&params, "use_case").unwrap_or_default();
        match tidings_domain::resource::validate_resource_selector(id) {
            None => Ok(Self(id.to_owned())),
            Some(fault) => Err(Problem::new(Code::NotFound, format!("the id of the use case {fault}"))),
        }
    }
}
