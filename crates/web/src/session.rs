//! Extractors of people: those who are signed in, those who operate the instance, and visitors who are neither yet.
//!
//! A session's cookie authenticates whichever page makes the request, so that a request that changes something must come
//! from a page of this service ([`same_origin`]).

use std::net::IpAddr;
use std::ops::Deref;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::{AUTHORIZATION, CACHE_CONTROL, SET_COOKIE, USER_AGENT};
use http::request::Parts;
use tidings_app::accounts::session::{Begun, Browser, COOKIE_SECONDS};
use tidings_app::accounts::{Operator, SignedIn};
use tidings_app::{App, Origin};
use tidings_domain::secret::Secret;

use crate::auth::AppState;
use crate::client_address::{Client, PeerAddress};
use crate::cookies;
use crate::openapi::Description;
use crate::operation::{Answer, Argument};
use crate::problem::{Code, Problem};
use crate::request_id::RequestId;
use crate::response::Reply;
use crate::same_origin::{self, Site};

/// Where the request came from.
pub(crate) fn client(parts: &Parts, state: &AppState) -> Option<Client> {
    let PeerAddress(peer) = parts.extensions.get::<PeerAddress>()?;
    Some(Client::of(*peer, &parts.headers, &state.settings().trusted_proxies))
}

/// Where the request came from, as it is recorded.
pub(crate) fn origin(parts: &Parts, state: &AppState) -> Origin {
    let address: Option<IpAddr> = client(parts, state).map(|client| client.address);
    let id = parts.extensions.get::<RequestId>();
    Origin { address, request_id: id.and_then(|RequestId(id)| id.to_str().ok()).map(str::to_owned) }
}

/// Whether the browser reaches the service by https, so that its cookie can be kept from everything else.
fn is_https(parts: &Parts, state: &AppState) -> bool {
    let public = state.settings().public_url.as_deref().is_some_and(|url| url.starts_with("https://"));
    public || client(parts, state).and_then(|client| client.is_https) == Some(true)
}

/// The user of the session cookie; `None` without a valid one.
///
/// # Errors
/// [`Code::CrossSite`] if the request changes something and was not made by a page of this service.
pub(crate) async fn signed_in(parts: &Parts, state: &AppState) -> Result<Option<SignedIn>, Problem> {
    let Some(secret) = cookies::session_secret(&parts.headers, is_https(parts, state)) else { return Ok(None) };
    let found = SignedIn::from_secret(state.app(), secret, origin(parts, state)).await?;
    if found.is_some() && !same_origin::is_safe(&parts.method) {
        let site = same_origin::site(&parts.headers, state.settings().public_url.as_deref());
        require_own_page(site == Site::Same)?;
    }
    Ok(found)
}

fn require_own_page(is_own: bool) -> Result<(), Problem> {
    if is_own {
        return Ok(());
    }
    let detail = "with a session cookie, changes are only accepted from pages of this service: the request needs its own \
        origin in Sec-Fetch-Site or Origin; programs use an API key instead";
    Err(Problem::new(Code::CrossSite, detail))
}

/// A user who is signed in.
#[derive(Debug)]
pub(crate) struct User(pub SignedIn);

impl Deref for User {
    type Target = SignedIn;

    fn deref(&self) -> &SignedIn {
        &self.0
    }
}

impl FromRequestParts<AppState> for User {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        if parts.headers.contains_key(AUTHORIZATION) {
            let detail = "this path is for users: sign in with POST /api/session, and send no API key";
            return Err(Problem::new(Code::Unauthenticated, detail));
        }
        let found = signed_in(parts, state).await?;
        found.map(Self).ok_or_else(|| Problem::new(Code::Unauthenticated, "sign in with POST /api/session"))
    }
}

impl Argument for User {
    fn describe(description: &mut Description) {
        description.signed_in();
        description.problems([Code::CrossSite]);
    }
}

/// A signed-in user who operates the instance.
#[derive(Debug)]
pub(crate) struct InstanceOperator(Operator);

impl Deref for InstanceOperator {
    type Target = Operator;

    fn deref(&self) -> &Operator {
        &self.0
    }
}

impl FromRequestParts<AppState> for InstanceOperator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let User(user) = User::from_request_parts(parts, state).await?;
        Ok(Self(Operator::new(user)?))
    }
}

impl Argument for InstanceOperator {
    fn describe(description: &mut Description) {
        User::describe(description);
        description.problems([Code::Forbidden]);
    }
}

/// A browser, with or without a session: for what is done before there is one.
#[derive(Debug)]
pub(crate) struct Visitor {
    app: App,
    origin: Origin,
    is_https: bool,
    cookie: Option<Secret>,
    user_agent: Option<String>,
}

impl Visitor {
    /// The services.
    pub(crate) fn app(&self) -> &App {
        &self.app
    }

    /// Where the request came from.
    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// What it sent beside its credentials.
    pub(crate) fn browser(&self) -> Browser<'_> {
        Browser { replaces: self.cookie.as_ref(), user_agent: self.user_agent.as_deref() }
    }

    /// The answer that begins a session in this browser.
    pub(crate) fn begin<T>(&self, begun: Begun<T>) -> Result<WithCookie<Reply<T>>, Problem> {
        let Begun { secret, view } = begun;
        let cookie = cookies::set_session(secret.expose(), COOKIE_SECONDS, self.is_https);
        Ok(WithCookie { reply: Reply(view), cookie: cookie.ok_or_else(Problem::internal)? })
    }

    /// The answer that ends the session in this browser.
    pub(crate) fn end<R>(&self, reply: R) -> WithCookie<R> {
        WithCookie { reply, cookie: cookies::clear_session(self.is_https) }
    }
}

impl FromRequestParts<AppState> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        // Another site must not sign a browser in, be it with credentials of its own.
        let site = same_origin::site(&parts.headers, state.settings().public_url.as_deref());
        require_own_page(same_origin::is_safe(&parts.method) || site != Site::Other)?;
        let is_https = is_https(parts, state);
        let user_agent = parts.headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
        Ok(Self {
            app: state.app().clone(),
            origin: origin(parts, state),
            is_https,
            cookie: cookies::session_secret(&parts.headers, is_https).map(Secret::from),
            user_agent: user_agent.map(str::to_owned),
        })
    }
}

impl Argument for Visitor {
    fn describe(description: &mut Description) {
        description.problems([Code::CrossSite]);
    }
}

/// The user of a request that needs no session.
#[derive(Debug)]
pub(crate) struct MaybeUser(pub Option<SignedIn>);

impl FromRequestParts<AppState> for MaybeUser {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        signed_in(parts, state).await.map(Self)
    }
}

impl Argument for MaybeUser {
    fn describe(description: &mut Description) {
        description.problems([Code::CrossSite]);
    }
}

/// A reply that sets or removes the session cookie. It is not cached.
#[derive(Debug)]
pub(crate) struct WithCookie<R> {
    reply: R,
    cookie: HeaderValue,
}

impl<R: IntoResponse> IntoResponse for WithCookie<R> {
    fn into_response(self) -> Response {
        let mut response = self.reply.into_response();
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response.headers_mut().append(SET_COOKIE, self.cookie);
        response
    }
}

impl<R: Answer> Answer for WithCookie<R> {
    fn describe(description: &mut Description) {
        R::describe(description);
    }
}
