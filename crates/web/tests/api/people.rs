//! People with browsers: they sign in, keep the cookie, and send what a browser sends.

use http::request::Builder;
use http_body_util::Full;
use serde_json::{Value, json};
use tidings_app::accounts::provision::{NewUser, create_user};
use tidings_domain::access::Role;
use tidings_domain::secret::Secret;

use crate::harness::{ApiResponse, Service};

/// The password of everyone.
pub const PASSWORD: &str = "correct horse battery staple";
/// The cookie's name where the public URL is https.
pub const COOKIE: &str = "__Host-tidings";

/// A browser.
pub struct Browser<'a> {
    pub service: &'a Service,
    /// The value of the session cookie.
    pub cookie: Option<String>,
    /// The address from which it connects to the trusted proxy.
    pub address: String,
    /// What it sends as `Sec-Fetch-Site`.
    pub site: Option<&'static str>,
}

/// Creates a user of the workspace `default`; without a role, of none.
pub async fn person(service: &Service, email: &str, role: Option<Role>) {
    make_person(service, email, role, false).await;
}

/// Creates a user who operates the instance, in no workspace.
pub async fn operator(service: &Service, email: &str) {
    make_person(service, email, None, true).await;
}

async fn make_person(service: &Service, email: &str, role: Option<Role>, is_operator: bool) {
    let view = service.engine.view(service.workspace_id).unwrap();
    let (store, clock) = (service.store.as_ref(), service.engine.clock());
    if !store.has_users().await.unwrap() {
        // The first user would own every workspace.
        let password = Secret::new(PASSWORD);
        let new = NewUser { email: "first@example.com", name: None, password: &password, is_operator: true };
        create_user(store, clock, new, Some((&view.workspace, Role::Owner))).await.unwrap();
    }
    let password = Secret::new(PASSWORD);
    let new = NewUser { email, name: None, password: &password, is_operator };
    create_user(store, clock, new, role.map(|role| (&view.workspace, role))).await.unwrap();
}

impl<'a> Browser<'a> {
    pub fn new(service: &'a Service) -> Self {
        Self { service, cookie: None, address: "198.51.100.7".into(), site: Some("same-origin") }
    }

    pub fn at(service: &'a Service, address: &str) -> Self {
        Self { address: address.into(), ..Self::new(service) }
    }

    /// A browser of this user, signed in.
    pub async fn of(service: &'a Service, email: &str) -> Self {
        let mut browser = Self::new(service);
        browser.sign_in(email, PASSWORD).await.expect(200);
        browser
    }

    fn request(&self, method: &str, path: &str) -> Builder {
        let mut request = self.service.bare(method, path).header("x-forwarded-for", &self.address);
        if let Some(site) = self.site {
            request = request.header("sec-fetch-site", site);
        }
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", format!("theme=dark; {COOKIE}={cookie}"));
        }
        request.header("user-agent", "Firefox")
    }

    /// Sends a request to a complete path, and keeps the cookie of the answer.
    pub async fn send(&mut self, method: &str, path: &str, body: Option<&Value>) -> ApiResponse {
        let mut request = self.request(method, path);
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let answered = self.service.execute(request.body(Full::from(body)).unwrap()).await;
        if let Some(set) = answered.header("set-cookie") {
            let (pair, attributes) = set.split_once("; ").unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            assert_eq!(name, COOKIE);
            for attribute in ["Path=/", "HttpOnly", "SameSite=Lax", "Secure"] {
                assert!(attributes.split("; ").any(|one| one == attribute), "{set}");
            }
            assert_eq!(answered.header("cache-control"), Some("no-store"));
            self.cookie = (!value.is_empty()).then(|| value.to_owned());
        }
        answered
    }

    pub async fn get(&mut self, path: &str) -> ApiResponse {
        self.send("GET", path, None).await
    }

    pub async fn post(&mut self, path: &str, body: &Value) -> ApiResponse {
        self.send("POST", path, Some(body)).await
    }

    pub async fn patch(&mut self, path: &str, body: &Value) -> ApiResponse {
        self.send("PATCH", path, Some(body)).await
    }

    pub async fn delete(&mut self, path: &str) -> ApiResponse {
        self.send("DELETE", path, None).await
    }

    pub async fn sign_in(&mut self, email: &str, password: &str) -> ApiResponse {
        self.post("/api/session", &json!({"email": email, "password": password})).await
    }
}

/// The complete path of one in the workspace `default`.
pub fn default(path: &str) -> String {
    format!("/api/workspaces/default{path}")
}
