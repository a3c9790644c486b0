//! The routes that need no credentials, which the router joins by itself, for the description.

use serde_json::{Value, json};

use super::{DescribedRoute, Description};
use crate::operation::Operation;

/// A route outside the tables of the API.
pub(crate) struct ServiceRoute {
    pub method: &'static str,
    pub path: &'static str,
    operation_id: &'static str,
    tag: &'static str,
    summary: &'static str,
    describe: fn(&mut Description),
}

impl ServiceRoute {
    /// With the path and what its handler says of itself.
    pub(crate) fn described<'a>(&self) -> DescribedRoute<'a> {
        let mut description = Description::default();
        (self.describe)(&mut description);
        // By hyper, before there is a request; the bound is that of the accept loop.
        description.response_content(431, "The headers are too large.", Value::Null);
        DescribedRoute {
            method: self.method,
            path: self.path.to_owned(),
            operation_id: self.operation_id.to_owned(),
            tag: self.tag,
            summary: self.summary,
            description,
        }
    }
}

/// Every one of them, but for the pages below `/docs`.
pub(crate) fn routes() -> [ServiceRoute; 5] {
    let get = |path, operation_id, summary, describe| ServiceRoute {
        method: "GET",
        path,
        operation_id,
        tag: "Service",
        summary,
        describe,
    };
    [
        ServiceRoute {
            method: "POST",
            path: "/in/alertmanager/{secret}",
            operation_id: "inbound_alertmanager",
            tag: "Inbound webhooks",
            summary: "Report alerts, as Alertmanager does",
            describe: describe_of(&crate::api::ingest_alertmanager),
        },
        get("/healthz", "service_healthz", "Whether the process is alive", |description| status(description, "ok")),
        get("/readyz", "service_readyz", "Whether events are accepted", |description| status(description, "ready")),
        get("/metrics", "service_metrics", "Metrics for Prometheus", |description| {
            let content = json!({"text/plain; version=0.0.4; charset=utf-8": {"schema": {"type": "string"}}});
            description.response_content(200, "The metrics, in Prometheus' text format.", content);
        }),
        get("/api/openapi.json", "service_openapi", "This description", |description| {
            let content = json!({"application/json": {"schema": {"type": "object"}}});
            description.response_content(200, "An OpenAPI 3.1 document.", content);
            description.response_content(304, "It has not changed since the ETag of If-None-Match.", Value::Null);
            description.header("If-None-Match", "The ETags of copies that the caller has.");
        }),
    ]
}

fn describe_of<T, H: Operation<T>>(_: &H) -> fn(&mut Description) {
    H::describe
}

fn status(description: &mut Description, word: &str) {
    let schema = json!({"type": "object", "required": ["status"], "properties": {"status": {"const": word}}});
    description.response_content(200, "It is.", json!({"application/json": {"schema": schema}}));
}
