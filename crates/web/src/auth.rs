//! Who asks: the only way from a request to the engine.
//!
//! A handler reaches the engine and a workspace through [`Reader`] or [`Writer`] and through nothing else, so that none
//! can forget to ask for the key: without one of them it has nothing to answer with.

use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams};
use http::header::AUTHORIZATION;
use http::request::Parts;
use tidings_domain::id::{Id, InvalidId, WorkspaceId};
use tidings_domain::time::Timestamp;
use tidings_engine::Engine;
use tidings_engine::snapshot::InboundWebhookMatch;
use tidings_monitor::Prober;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::health::Readiness;
use crate::problem::{Code, Problem};
use crate::router::WebSettings;

/// What all requests share. The engine in it can be reached from this file only.
#[derive(Clone)]
pub(crate) struct App(Arc<Inner>);

struct Inner {
    engine: Engine,
    settings: WebSettings,
    readiness: Readiness,
    /// Places for tests of endpoints.
    tests: Semaphore,
}

/// How many tests of endpoints run at once: they share the prober's room with what is watched.
const TESTS_MAX: usize = 32;

impl App {
    pub(crate) fn new(engine: Engine, settings: WebSettings) -> Self {
        let tests = Semaphore::new(TESTS_MAX);
        Self(Arc::new(Inner { engine, settings, readiness: Readiness::default(), tests }))
    }

    /// How the doors are set.
    pub(crate) fn settings(&self) -> &WebSettings {
        &self.0.settings
    }

    /// Whether events can be taken in, now or within the last second.
    pub(crate) async fn is_ready(&self) -> bool {
        let ask = async || self.0.engine.ready().await.is_ok();
        self.0.readiness.known_or(self.0.settings.clock.as_ref(), ask).await
    }
}

/// Somebody who may read a workspace.
pub(crate) struct Reader {
    app: App,
    workspace_id: WorkspaceId,
    by: Arc<str>,
}

impl Reader {
    /// The engine.
    pub(crate) fn engine(&self) -> &Engine {
        &self.app.0.engine
    }

    /// The workspace.
    pub(crate) fn workspace_id(&self) -> WorkspaceId {
        self.workspace_id
    }

    /// The time of day.
    pub(crate) fn now(&self) -> Timestamp {
        self.app.settings().clock.now()
    }
}

impl FromRequestParts<App> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        enter(parts, app, false).await
    }
}

/// Somebody who may change a workspace, or make it say something.
pub(crate) struct Writer(Reader);

impl Writer {
    /// The engine.
    pub(crate) fn engine(&self) -> &Engine {
        self.0.engine()
    }

    /// The workspace.
    pub(crate) fn workspace_id(&self) -> WorkspaceId {
        self.0.workspace_id()
    }

    /// Who it is, as people know them: the name of the API key.
    pub(crate) fn by(&self) -> &str {
        &self.0.by
    }

    /// The time of day.
    pub(crate) fn now(&self) -> Timestamp {
        self.0.now()
    }

    /// A place for a test of an endpoint, if there is one.
    pub(crate) fn place_for_test(&self) -> Option<SemaphorePermit<'_>> {
        self.0.app.0.tests.try_acquire().ok()
    }

    /// Looks at endpoints.
    pub(crate) fn prober(&self) -> &Prober {
        &self.0.app.settings().prober
    }

    /// How the service is reached from outside, if it was told.
    pub(crate) fn public_url(&self) -> Option<&str> {
        self.0.app.settings().public_url.as_deref()
    }
}

impl FromRequestParts<App> for Writer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        enter(parts, app, true).await.map(Self)
    }
}

/// Lets the request into its workspace. A workspace that the key does not open is as one that is not there.
async fn enter(parts: &mut Parts, app: &App, writes: bool) -> Result<Reader, Problem> {
    let params = path_params(parts, app).await?;
    let engine = &app.0.engine;
    let key = bearer(parts)
        .ok_or_else(|| Problem::new(Code::Unauthenticated, "send your API key as Authorization: Bearer <API key>"))?;
    let caller = engine
        .authenticate(key)
        .ok_or_else(|| Problem::new(Code::Unauthenticated, "this API key is not known, or was deleted"))?;
    let named = find(&params, "workspace").and_then(|name| engine.workspace_id(name));
    if named != Some(caller.workspace_id) {
        return Err(Problem::new(Code::NotFound, "there is no such workspace, or this API key does not open it"));
    }
    if writes && caller.read_only {
        return Err(Problem::new(Code::ReadOnly, "use a key that may write"));
    }
    Ok(Reader { app: app.clone(), workspace_id: caller.workspace_id, by: caller.name })
}

/// A caller that presented the secret URL of an inbound webhook; the URL is its credential.
pub(crate) struct InboundCaller {
    app: App,
    found: InboundWebhookMatch,
}

impl InboundCaller {
    /// The engine.
    pub(crate) fn engine(&self) -> &Engine {
        &self.app.0.engine
    }

    /// The workspace that it opens into.
    pub(crate) fn workspace_id(&self) -> WorkspaceId {
        self.found.workspace_id
    }

    /// Whose form it reads.
    pub(crate) fn kind(&self) -> &str {
        &self.found.inbound_webhook.kind
    }
}

impl FromRequestParts<App> for InboundCaller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let params = path_params(parts, app).await?;
        let found = find(&params, "secret").and_then(|secret| app.0.engine.find_inbound_webhook(secret));
        found.map(|found| Self { app: app.clone(), found }).ok_or_else(|| Problem::not_found("path"))
    }
}

fn bearer(parts: &Parts) -> Option<&str> {
    let value = parts.headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim()).filter(|key| !key.is_empty())
}

async fn path_params(parts: &mut Parts, app: &App) -> Result<RawPathParams, Problem> {
    RawPathParams::from_request_parts(parts, app).await.map_err(|_| Problem::not_found("path"))
}

fn find<'a>(params: &'a RawPathParams, name: &str) -> Option<&'a str> {
    params.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// The id in the path. What has not an id's form names nothing.
pub(crate) struct PathId<T>(pub T);

impl<T: Id + FromStr<Err = InvalidId>> FromRequestParts<App> for PathId<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let params = path_params(parts, app).await?;
        let id = find(&params, "id").unwrap_or_default().parse();
        id.map(Self).map_err(|error| Problem::new(Code::NotFound, error.to_string()))
    }
}

/// The use case in the path, by the caller's own id.
pub(crate) struct PathUseCase(pub String);

impl FromRequestParts<App> for PathUseCase {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let params = path_params(parts, app).await?;
        let id = find(&params, "use_case").unwrap_or_default();
        match tidings_domain::resource::invalid_external_id(id) {
            None => Ok(Self(id.to_owned())),
            Some(fault) => Err(Problem::new(Code::NotFound, format!("a use case's id {fault}"))),
        }
    }
}
