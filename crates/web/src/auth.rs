//! Authentication and authorisation: extractors that are the only access to the engine.
//!
//! The services in [`AppState`] are private to this module. A handler gets them from [`Authorized`], whose extraction checks
//! the API key, the workspace of the path and the permission, or from [`InboundCaller`]; a handler without one of them
//! cannot read or change anything.

use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams};
use http::header::AUTHORIZATION;
use http::request::Parts;
use tidings_app::{App, AppError, Granted, Principal, api_keys};
use tidings_domain::access::{Access, Actor};
use tidings_domain::id::{Id, InvalidId, WorkspaceId};
use tidings_domain::resource::ResourceType;
use tidings_engine::Engine;
use tidings_engine::snapshot::InboundWebhookMatch;
use tokio::sync::watch;
use utoipa::ToSchema;

use crate::health::Readiness;
use crate::openapi::Description;
use crate::operation::Argument;
use crate::problem::{Code, Problem};
use crate::router::WebSettings;
use crate::session::{origin, signed_in};

/// The state that all requests share. Clones are cheap.
#[derive(Clone)]
pub(crate) struct AppState(Arc<Inner>);

struct Inner {
    app: App,
    settings: WebSettings,
    readiness: Readiness,
}

impl AppState {
    pub(crate) fn new(engine: Engine, settings: WebSettings) -> Self {
        let app = App::new(engine, Arc::clone(&settings.prober), settings.public_url.clone());
        Self(Arc::new(Inner { app, settings, readiness: Readiness::default() }))
    }

    /// The services, for extractors only.
    pub(crate) fn app(&self) -> &App {
        &self.0.app
    }

    pub(crate) fn settings(&self) -> &WebSettings {
        &self.0.settings
    }

    /// Notified whenever any part of the configuration may have changed.
    pub(crate) fn configuration_changes(&self) -> watch::Receiver<u64> {
        self.0.app.engine().configuration_changes()
    }

    /// Whether the store accepts writes; the result is cached for a second.
    pub(crate) async fn is_ready(&self) -> bool {
        let check = async || self.0.app.engine().ready().await.is_ok();
        self.0.readiness.cached_or(self.0.settings.clock.as_ref(), check).await
    }
}

/// A caller that has the permission `P` in the workspace of the path.
#[derive(Debug)]
pub(crate) struct Authorized<P>(tidings_app::Authorized<P>);

impl<P> Deref for Authorized<P> {
    type Target = tidings_app::Authorized<P>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<P: Granted> FromRequestParts<AppState> for Authorized<P> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let principal = authenticate(parts, state).await?;
        Ok(Self(tidings_app::Authorized::new(state.0.app.clone(), principal)?))
    }
}

impl<P: Granted> Argument for Authorized<P> {
    fn describe(description: &mut Description) {
        description.needs(P::PERMISSION.as_str());
    }
}

/// Checks the API key or the session, and that it is one of the workspace of the path.
async fn authenticate(parts: &mut Parts, state: &AppState) -> Result<Principal, Problem> {
    let params = path_params(parts, state).await?;
    let engine = state.0.app.engine();
    let named = find(&params, "workspace").and_then(|name| engine.workspace_id(name));
    let principal = if parts.headers.contains_key(AUTHORIZATION) {
        // The same problem for an unknown workspace and for that of another key, so that a key does not reveal which other
        // workspaces exist.
        Some(of_key(parts, state)?).filter(|principal| named == Some(principal.workspace_id)).ok_or(NOT_OF_KEY)
    } else {
        let user = signed_in(parts, state).await?.ok_or_else(|| Problem::new(Code::Unauthenticated, NO_CREDENTIALS))?;
        named.and_then(|workspace_id| user.in_workspace(workspace_id)).ok_or(NOT_OF_USER)
    };
    let principal = principal.map_err(|detail| Problem::new(Code::NotFound, detail))?;
    if engine.view(principal.workspace_id)?.workspace.suspended_at.is_some() {
        return Err(AppError::WorkspaceSuspended.into());
    }
    Ok(principal)
}

const NO_CREDENTIALS: &str =
    "send your API key as Authorization: Bearer <API key>, or sign in with POST /api/session and send its cookie";
const NOT_OF_KEY: &str = "there is no such workspace, or this API key is not one of its keys";
const NOT_OF_USER: &str = "there is no such workspace, or you are not one of its members";

/// The caller that the API key authenticates.
fn of_key(parts: &Parts, state: &AppState) -> Result<Principal, Problem> {
    let key = bearer(parts).ok_or_else(|| Problem::new(Code::Unauthenticated, NO_CREDENTIALS))?;
    let app = &state.0.app;
    let caller = app
        .engine()
        .authenticate(key)
        .ok_or_else(|| Problem::new(Code::Unauthenticated, "this API key is unknown, has expired or was revoked"))?;
    let origin = origin(parts, state);
    api_keys::record_use(app, caller.api_key_id, origin.address);
    let access = if caller.read_only { Access::ReadOnlyKey } else { Access::ApiKey };
    Ok(Principal {
        workspace_id: caller.workspace_id,
        actor: Actor::api_key(caller.api_key_id, &*caller.name),
        access,
        origin,
    })
}

/// A caller that presented the secret URL of an inbound webhook; the URL is its credential.
pub(crate) struct InboundCaller {
    state: AppState,
    found: InboundWebhookMatch,
}

impl InboundCaller {
    pub(crate) fn engine(&self) -> &Engine {
        self.state.0.app.engine()
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
        let engine = state.0.app.engine();
        let found = find(&params, "secret").and_then(|secret| engine.find_inbound_webhook(secret));
        let found = found.ok_or_else(|| Problem::not_found("path"))?;
        if engine.view(found.workspace_id)?.workspace.suspended_at.is_some() {
            return Err(AppError::WorkspaceSuspended.into());
        }
        Ok(Self { state: state.clone(), found })
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

impl<T: Id + ToSchema> Argument for PathId<T> {
    fn describe(description: &mut Description) {
        description.path_parameter::<T>("id", "The id.");
        description.problems([Code::NotFound]);
    }
}

/// The secret in the path.
pub(crate) struct PathSecret(pub String);

impl FromRequestParts<AppState> for PathSecret {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let params = path_params(parts, state).await?;
        Ok(Self(find(&params, "secret").unwrap_or_default().to_owned()))
    }
}

impl Argument for PathSecret {
    fn describe(description: &mut Description) {
        description.path_parameter::<String>("secret", "The secret part of the link.");
        description.problems([Code::NotFound]);
    }
}

/// The id or slug of the workspace in the path, for operators, who need not be members.
pub(crate) struct PathWorkspace(pub String);

impl FromRequestParts<AppState> for PathWorkspace {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let params = path_params(parts, state).await?;
        Ok(Self(find(&params, "workspace").unwrap_or_default().to_owned()))
    }
}

impl Argument for PathWorkspace {
    fn describe(description: &mut Description) {
        description.path_parameter::<String>("workspace", "The id or slug of the workspace.");
        description.problems([Code::NotFound]);
    }
}

/// The resource in the path: its type and the caller's own id of it.
pub(crate) struct PathResource(pub ResourceType, pub String);

impl FromRequestParts<AppState> for PathResource {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let params = path_params(parts, state).await?;
        let named = ResourceType::parse_rule_type(find(&params, "type").unwrap_or_default());
        let resource_type = named.ok_or_else(|| {
            let types = ResourceType::OF_RULES.map(ResourceType::as_str).join(", ");
            Problem::new(Code::NotFound, format!("there is no such type of resources; there are {types}"))
        })?;
        Ok(Self(resource_type, find(&params, "id").unwrap_or_default().to_owned()))
    }
}

impl Argument for PathResource {
    fn describe(description: &mut Description) {
        description.path_parameter::<ResourceType>("type", "The type; `channel` has no resources.");
        description.path_parameter::<String>("id", "Your own id of it, percent-encoded.");
        description.problems([Code::NotFound]);
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

impl Argument for PathUseCase {
    fn describe(description: &mut Description) {
        description.path_parameter::<String>("use_case", "Your own id of the use case.");
        description.problems([Code::NotFound]);
    }
}

impl Argument for InboundCaller {
    fn describe(description: &mut Description) {
        description.path_parameter::<String>("secret", "The secret part of the webhook's URL.");
        description.problems([Code::NotFound, Code::WorkspaceSuspended]);
    }
}
