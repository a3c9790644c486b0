//! The id of a request: in its answer as `x-request-id`, and in every log line that it causes. What a proxy or client sends
//! in that header is kept, so that one id can be followed through all of them.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};

/// The id of a request, as one of its extensions.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub HeaderValue);

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Bytes of an id from outside.
const BYTES_MAX: usize = 128;

/// The id in the headers if it is harmless in logs and headers, else a new one.
pub(crate) fn request_id(headers: &HeaderMap) -> HeaderValue {
    match headers.get(X_REQUEST_ID) {
        Some(id) if is_sane(id.as_bytes()) => id.clone(),
        _ => new(),
    }
}

fn is_sane(id: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(byte);
    (1..=BYTES_MAX).contains(&id.len()) && id.iter().all(is_plain)
}

/// `req_` and 16 hex digits, unlike any other of this process: a counter from a random start, each number replaced by
/// another so that neighbours do not look alike.
fn new() -> HeaderValue {
    static NEXT: LazyLock<AtomicU64> = LazyLock::new(|| AtomicU64::new(RandomState::new().build_hasher().finish()));
    let number = scramble(NEXT.fetch_add(1, Ordering::Relaxed));
    let mut text = *b"req_0123456789abcdef";
    for (place, digit) in text[4..].iter_mut().rev().enumerate() {
        *digit = b"0123456789abcdef"[(number >> (4 * place) & 15) as usize];
    }
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("req_"))
}

/// The output function of SplitMix64, a permutation of the 64-bit numbers.
fn scramble(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn incoming_id_is_kept_if_it_is_harmless() {
        let read = |value: &'static [u8]| {
            let headers = HeaderMap::from_iter([(X_REQUEST_ID, HeaderValue::from_bytes(value).unwrap())]);
            request_id(&headers)
        };
        for id in ["a", "7f3c8e51-0b0a-4c49-9d4b-4f0c0a0f8a11", "Root=1-67891233-abcdef012345678912345678", "a:b/c+d@e"]
        {
            assert_eq!(read(id.as_bytes()), id);
        }
        let long: &'static [u8] = &[b'a'; BYTES_MAX + 1];
        for id in [b"".as_slice(), b"a b", b"a\"b", b"a{b}", b"\xc3\xa4", b"a\tb", long] {
            assert!(read(id).to_str().unwrap().starts_with("req_"), "{id:?}");
        }
    }

    #[test]
    fn new_ids_are_different() {
        let ids: HashSet<_> = (0..1_000).map(|_| new()).collect();
        assert_eq!(ids.len(), 1_000);
        assert!(ids.iter().all(|id| id.len() == 20 && is_sane(id.as_bytes())));
    }
}
