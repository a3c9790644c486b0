//! Prepared requests: everything but the send times is formatted once.

use serde_json::json;
use tidings_bench::{clock, send_time, target::Target};

/// The runs of a request.
pub struct Body {
    pub resource_type: String,
    pub resource_id: String,
    /// Size of one run, unless its fields need more.
    pub bytes: usize,
    /// Runs per request.
    pub batch: usize,
}

impl Body {
    fn one(&self) -> anyhow::Result<String> {
        let completed_at = i64::try_from(clock::now_nanos() / 1_000_000)?;
        let completed_at = jiff::Timestamp::from_millisecond(completed_at)?;
        let run = |output: &str| {
            json!({
                "resourceType": self.resource_type,
                "resourceId": self.resource_id,
                "resourceName": "Nightly sales sync",
                "runId": "#".repeat(send_time::LENGTH),
                "status": "success",
                "triggerType": "scheduled",
                "completedAt": format!("{completed_at:.3}"),
                "durationMs": 1842,
                "rowCount": 124,
                "deepLink": "https://app.example.com/workspaces/sales/flows/nightly-sales-sync",
                "output": {"log": output},
            })
            .to_string()
        };
        let padding = self.bytes.saturating_sub(run("").len());
        let log = "wrote 124 rows to sales_daily; ".bytes().cycle().take(padding).map(char::from).collect::<String>();
        Ok(run(&log))
    }
}

/// A request without its send times.
#[derive(Clone)]
pub struct Template {
    bytes: Vec<u8>,
    /// Offsets of the send times.
    send_times: Vec<usize>,
}

impl Template {
    /// Formats head and body.
    pub fn new(target: &Target, key: &str, body: &Body) -> anyhow::Result<Self> {
        anyhow::ensure!(key.bytes().all(|byte| byte.is_ascii_graphic()), "the key is not plain ASCII");
        let mut runs = vec![body.one()?; body.batch].join(",");
        if body.batch > 1 {
            runs = format!("[{runs}]");
        }
        let Target { address, path } = target;
        let authorization = if key.is_empty() { String::new() } else { format!("authorization: Bearer {key}\r\n") };
        let text = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\n{authorization}content-type: application/json\r\n\
             content-length: {}\r\n\r\n{runs}",
            runs.len()
        );
        let send_times: Vec<usize> = text.match_indices(&"#".repeat(send_time::LENGTH)).map(|(at, _)| at).collect();
        anyhow::ensure!(
            send_times.len() == body.batch,
            "the resource id must not contain the placeholder of a send time"
        );
        Ok(Self { bytes: text.into_bytes(), send_times })
    }

    /// The request with this number and send time.
    pub fn request(&mut self, number: u64, nanos: u64) -> &[u8] {
        let first = number * self.send_times.len() as u64;
        for (at, number) in self.send_times.iter().zip(first..) {
            send_time::write(&mut self.bytes[*at..], number, nanos);
        }
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(batch: usize) -> Body {
        Body { resource_type: "flow".to_owned(), resource_id: "bench".to_owned(), bytes: 600, batch }
    }

    fn sent(batch: usize, number: u64) -> (usize, serde_json::Value) {
        let target = Target::parse("http://127.0.0.1:8080/api/runs").unwrap();
        let mut template = Template::new(&target, "tdg_x", &body(batch)).unwrap();
        let bytes = template.request(number, 1_767_225_600_123_456_789).to_vec();
        let request = tidings_bench::wire::request(&bytes).unwrap().unwrap();
        assert_eq!((request.method, request.target), (b"POST".as_slice(), b"/api/runs".as_slice()));
        assert_eq!(request.length, bytes.len());
        (request.body.len(), serde_json::from_slice(request.body).unwrap())
    }

    #[test]
    fn request_single_run_has_its_size_and_send_time() {
        let (length, run) = sent(1, 7);
        assert_eq!(length, 600);
        assert_eq!(run["runId"], "tdb-0000000007-1767225600123456789");
    }

    #[test]
    fn request_batch_numbers_its_runs() {
        let (_, runs) = sent(3, 7);
        let ids: Vec<&str> = runs.as_array().unwrap().iter().map(|run| run["runId"].as_str().unwrap()).collect();
        assert_eq!(ids[0], "tdb-0000000021-1767225600123456789");
        assert_eq!(ids[2], "tdb-0000000023-1767225600123456789");
    }
}
