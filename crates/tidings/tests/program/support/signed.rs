//! Verification of webhooks as documented for receivers, independent of the code that signs them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::Request;

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

/// `createHmac("sha256", secret).update(rawBody, "utf8").digest("hex")`, and that is the header.
pub fn is_signed_as_mako(request: &Request, secret: &str) -> bool {
    request.header("X-Mako-Signature") == hex::encode(hmac(secret.as_bytes(), request.body()))
}

/// `t=<unix_timestamp>,v1=<hex>`, over `<t>.` and the raw body, and the timestamp is recent.
pub fn is_signed_as_magone(request: &Request, secret: &str) -> bool {
    let header = request.header("X-MagOne-Signature");
    let (t, v1) = header.split_once(',').expect("two parts");
    let (t, v1) = (t.strip_prefix("t=").expect("t"), v1.strip_prefix("v1=").expect("v1"));
    is_recent(t) && v1 == magone_signature(secret, t, request.body())
}

/// The hex after `v1=`.
pub fn magone_signature(secret: &str, timestamp: &str, body: &[u8]) -> String {
    hex::encode(hmac(secret.as_bytes(), &[timestamp.as_bytes(), b".", body].concat()))
}

/// Standard Webhooks: one of the signatures is `v1,` and base64 over `id.timestamp.body`, and the timestamp is recent.
pub fn is_signed_as_standard(request: &Request, secret: &str) -> bool {
    let timestamp = request.header("webhook-timestamp");
    let expected = sign_as_standard(secret, request.header("webhook-id"), timestamp, request.body());
    is_recent(timestamp) && request.header("webhook-signature").split(' ').any(|signature| signature == expected)
}

/// One signature as Standard Webhooks specifies it, with its version.
pub fn sign_as_standard(secret: &str, id: &str, timestamp: &str, body: &[u8]) -> String {
    let key = BASE64.decode(secret.strip_prefix("whsec_").expect("the prefix")).expect("base64");
    let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
    format!("v1,{}", BASE64.encode(hmac(&key, &signed)))
}

#[expect(clippy::disallowed_methods, reason = "receivers compare timestamps with their own clock")]
fn is_recent(unix_seconds: &str) -> bool {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    now.abs_diff(unix_seconds.parse().expect("a number")) <= 300
}

/// Whether it has the form that the documents promise: `whsec_` and 64 hex digits.
pub fn is_signing_secret(text: &str) -> bool {
    let digits = text.strip_prefix("whsec_");
    digits.is_some_and(|digits| digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
