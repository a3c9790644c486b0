//! Request metrics: labelled by the matched route, never by what the client sent.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use http_body_util::Full;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use crate::harness::Service;

/// Records the labels of all request series: route, method and status.
#[derive(Default)]
struct Noted(Mutex<BTreeSet<String>>);

impl Recorder for Noted {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        if key.name() == "tidings_http_requests_total" {
            let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            self.0.lock().unwrap().insert(labels.join(" "));
        }
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[tokio::test]
async fn requests_are_counted_by_matched_route() {
    let noted = Arc::new(Noted::default());
    let _guard = metrics::set_default_local_recorder(&*noted);
    let service = Service::start().await;
    let bare = async |method: &str, path: &str| {
        service.execute(service.bare(method, path).body(Full::default()).unwrap()).await;
    };
    service.failed("r1").await;
    service.post("/runs/", &serde_json::json!({})).await;
    service.send("HEAD", "/channels", None).await;
    service.get("/channels/unknown_id").await;
    service.delete("/events").await;
    bare("GET", "/api/workspaces/%64efault/mutes").await;
    bare("GET", "/healthz").await;
    bare("BREW", "/readyz").await;
    bare("POST", "/in/alertmanager/secret").await;
    bare("GET", "/nothing/like/it").await;
    let found = noted.0.lock().unwrap().iter().cloned().collect::<Vec<_>>();
    let expected = [
        "route=/api/workspaces/{workspace}/channels method=HEAD status=200",
        "route=/api/workspaces/{workspace}/channels/{id} method=GET status=404",
        "route=/api/workspaces/{workspace}/events method=DELETE status=405",
        "route=/api/workspaces/{workspace}/mutes method=GET status=401",
        "route=/api/workspaces/{workspace}/runs method=POST status=202",
        "route=/api/workspaces/{workspace}/runs/ method=POST status=422",
        "route=/healthz method=GET status=200",
        "route=/in/alertmanager/{secret} method=POST status=404",
        "route=/readyz method=other status=405",
        "route=none method=GET status=404",
    ];
    assert_eq!(found, expected);
}
