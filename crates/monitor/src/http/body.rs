//! An answer's body, to a cap: what is beyond is not read.

use std::error::Error as StdError;
use std::io;

use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

/// How many bytes of a body are read.
pub const BODY_BYTES_MAX: usize = 256 * 1_024;

/// How reading a body ended.
#[derive(Debug)]
pub(crate) enum End {
    /// That was all of it.
    Whole,
    /// There is more than the cap.
    Capped,
    /// It broke off.
    Broken(hyper::Error),
}

/// At most `bytes_max` bytes of the body. `is_open` says that only the end of the connection tells where it ends.
pub(crate) async fn read(mut incoming: Incoming, bytes_max: usize, is_open: bool) -> (Vec<u8>, End) {
    let announced = incoming.size_hint().lower();
    let mut body = Vec::with_capacity(announced.min(bytes_max as u64) as usize);
    let is_too_long = announced > bytes_max as u64;
    while let Some(frame) = incoming.frame().await {
        match frame {
            Ok(frame) => {
                let Some(data) = frame.data_ref() else { continue };
                let room = bytes_max - body.len();
                body.extend_from_slice(&data[..data.len().min(room)]);
                if data.len() > room || (is_too_long && body.len() == bytes_max) {
                    return (body, End::Capped);
                }
            }
            // TLS that ends without a farewell. Where the length is known, hyper sees for itself whether that was all.
            Err(error) if is_open && is_end(&error) => break,
            Err(error) => return (body, End::Broken(error)),
        }
    }
    (body, End::Whole)
}

fn is_end(error: &(dyn StdError + 'static)) -> bool {
    let here = error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof);
    here || error.source().is_some_and(is_end)
}
