//! A response's body, to a cap: the beginning is kept, a little more is drained so that the connection can be used
//! again, and of what is larger no more is read than that.

use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::{Instant, timeout_at};

use super::stream::{Http, drive};

/// How many bytes of a body are kept.
pub const KEPT_BYTES_MAX: usize = 16 * 1_024;
/// How many bytes are read to reach the end; a connection with more to come is dropped.
const READ_BYTES_MAX: usize = 64 * 1_024;

/// The beginning of the body, and whether its end was seen. A body that breaks off or that the deadline cuts gives
/// what came of it.
pub(super) async fn body(connection: &mut Option<Http>, mut incoming: Incoming, deadline: Instant) -> (Vec<u8>, bool) {
    let announced = incoming.size_hint().lower();
    let mut kept = Vec::with_capacity(announced.min(KEPT_BYTES_MAX as u64) as usize);
    let hopeless = announced > READ_BYTES_MAX as u64;
    let mut read_bytes = 0;
    let reading = async {
        while let Some(frame) = incoming.frame().await {
            let Ok(frame) = frame else { return false };
            let Some(data) = frame.data_ref() else { continue };
            read_bytes += data.len();
            kept.extend_from_slice(&data[..data.len().min(KEPT_BYTES_MAX - kept.len())]);
            if read_bytes > READ_BYTES_MAX || (hopeless && kept.len() == KEPT_BYTES_MAX) {
                return false;
            }
        }
        true
    };
    let ended = timeout_at(deadline, drive(connection, reading)).await.unwrap_or(false);
    (kept, ended)
}
