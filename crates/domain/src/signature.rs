//! Webhook signatures: Standard Webhooks for all receivers, and two vendor schemes for existing ones.
//!
//! Source of `webhook-signature`: the Standard Webhooks specification, <https://www.standardwebhooks.com/>. The vendor
//! schemes are hex over the body, and `t=…,v1=…` over `t.body`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::secret::Secret;
use crate::time::Timestamp;

/// The prefix of signing secrets.
pub const SECRET_PREFIX: &str = "whsec_";

/// A signing secret, `whsec_` and 64 hex digits, from 32 random bytes.
pub fn new_secret(random: &[u8; 32]) -> Secret {
    Secret::new(format!("{SECRET_PREFIX}{}", hex::encode(random)))
}

/// The HMAC keys of one secret. Has no `Debug`, so that keys cannot be printed.
#[derive(Clone)]
struct Keys {
    /// Keyed with what follows `whsec_`, base64-decoded (48 bytes).
    standard: Hmac<Sha256>,
    /// Keyed with the whole text.
    vendor: Hmac<Sha256>,
}

impl Keys {
    fn new(secret: &Secret) -> Self {
        let text = secret.expose();
        let decoded = BASE64.decode(text.strip_prefix(SECRET_PREFIX).unwrap_or(text));
        // Receivers use the text itself as the key if it is not valid base64; signatures must match theirs.
        let standard = decoded.as_deref().unwrap_or(text.as_bytes());
        Self { standard: keyed(standard), vendor: keyed(text.as_bytes()) }
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    <Hmac<Sha256> as KeyInit>::new_from_slice(key).unwrap_or_else(|_| unreachable!("hmac takes keys of any length"))
}

fn tag(key: &Hmac<Sha256>, parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = key.clone();
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// `hex::encode` pushes digit by digit, which costs more than a tenth of the time of a signature.
fn hex_text(tag: &[u8; 32]) -> String {
    let mut digits = vec![0; 64];
    let encoded = hex::encode_to_slice(tag, &mut digits);
    encoded.ok().and_then(|()| String::from_utf8(digits).ok()).unwrap_or_else(|| unreachable!("64 digits for 32 bytes"))
}

/// The length of one Standard Webhooks signature: `v1,` and 32 bytes in base64.
const V1_BYTES: usize = 3 + 44;

/// Signs bodies with a channel's current secret, and after a rotation also with the previous one until it expires.
#[derive(Clone)]
pub struct Signer {
    current: Keys,
    previous: Option<(Keys, Timestamp)>,
}

impl Signer {
    /// A signer for the current secret, and for the previous one with its expiry.
    pub fn new(current: &Secret, previous: Option<(&Secret, Timestamp)>) -> Self {
        Self { current: Keys::new(current), previous: previous.map(|(secret, until)| (Keys::new(secret), until)) }
    }

    /// `webhook-signature`: `v1,` and base64 of the HMAC-SHA256 of `id.timestamp.body`, for each secret that is valid at
    /// `now`.
    pub fn standard(&self, id: &str, now: Timestamp, body: &[u8]) -> String {
        let seconds = now.unix_seconds().to_string();
        let previous = self.previous.as_ref().filter(|(_, until)| now < *until).map(|(keys, _)| keys);
        // The exact capacity: a `HeaderValue` takes over a string without spare capacity and needs another allocation
        // for any other.
        let mut header = String::with_capacity(if previous.is_some() { 2 * V1_BYTES + 1 } else { V1_BYTES });
        for keys in std::iter::once(&self.current).chain(previous) {
            if !header.is_empty() {
                header.push(' ');
            }
            header.push_str("v1,");
            BASE64.encode_string(
                tag(&keys.standard, &[id.as_bytes(), b".", seconds.as_bytes(), b".", body]),
                &mut header,
            );
        }
        header
    }

    /// Hex HMAC-SHA256 of the raw body, current secret (`X-Mako-Signature`).
    pub fn body_hex(&self, body: &[u8]) -> String {
        hex_text(&tag(&self.current.vendor, &[body]))
    }

    /// `t=<unix>,v1=<hex HMAC-SHA256 of "t.body">`, current secret (`X-MagOne-Signature`).
    pub fn timestamped_hex(&self, now: Timestamp, body: &[u8]) -> String {
        let seconds = now.unix_seconds().to_string();
        format!("t={seconds},v1={}", hex_text(&tag(&self.current.vendor, &[seconds.as_bytes(), b".", body])))
    }
}

/// Whether one of the header's `v1` signatures is valid for this secret, compared in constant time. Does not check the
/// age of the timestamp.
pub fn verify_standard(secret: &Secret, id: &str, timestamp: &str, body: &[u8], header: &str) -> bool {
    let expected = tag(&Keys::new(secret).standard, &[id.as_bytes(), b".", timestamp.as_bytes(), b".", body]);
    header
        .split(' ')
        .filter_map(|part| part.strip_prefix("v1,"))
        .any(|encoded| BASE64.decode(encoded).is_ok_and(|given| given.ct_eq(&expected).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example from the Standard Webhooks reference libraries.
    #[test]
    fn standard_signature_matches_the_reference_vector() {
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let signer = Signer::new(&secret, None);
        let now = Timestamp::from_unix_ms(1_614_265_330_000);
        let header = signer.standard("msg_p5jXN8AQM9LWM0D4loKWxJek", now, br#"{"test": 2432232314}"#);
        assert_eq!(header, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!((header.len(), header.capacity()), (V1_BYTES, V1_BYTES));
    }

    #[test]
    fn new_secret_decodes_to_48_bytes() {
        let secret = new_secret(&[0xab; 32]);
        assert_eq!(secret.expose().len(), 6 + 64);
        assert_eq!(BASE64.decode(&secret.expose()[6..]).unwrap().len(), 48);
    }

    /// RFC 4231, test case 2, through the vendor scheme: key "Jefe".
    #[test]
    fn vendor_signature_uses_the_whole_secret_as_key() {
        let signer = Signer::new(&Secret::new("Jefe"), None);
        assert_eq!(
            signer.body_hex(b"what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        let t = signer.timestamped_hex(Timestamp::from_unix_ms(12_999), b"x");
        assert!(t.starts_with("t=12,v1=") && t.len() == 8 + 64);
    }

    #[test]
    fn previous_secret_signs_until_its_expiry() {
        let (old, new) = (new_secret(&[1; 32]), new_secret(&[2; 32]));
        let until = Timestamp::from_unix_ms(10_000);
        let signer = Signer::new(&new, Some((&old, until)));
        let during = signer.standard("dlv_1", Timestamp::from_unix_ms(9_000), b"{}");
        assert_eq!(during.split(' ').count(), 2);
        assert!(
            verify_standard(&old, "dlv_1", "9", b"{}", &during) && verify_standard(&new, "dlv_1", "9", b"{}", &during)
        );
        let after = signer.standard("dlv_1", until, b"{}");
        assert!(
            !verify_standard(&old, "dlv_1", "10", b"{}", &after) && verify_standard(&new, "dlv_1", "10", b"{}", &after)
        );
        assert!(!verify_standard(&new, "dlv_1", "10", b"{ }", &after));
    }
}
