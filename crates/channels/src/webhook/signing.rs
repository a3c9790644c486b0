//! A webhook's signing secrets as they are stored: the current one, and during a rotation the previous one.

use tidings_domain::secret::Secret;
use tidings_domain::signature::Signer;
use tidings_domain::time::Timestamp;

use crate::config::ChannelConfig;

/// The current secret's key in [`ChannelConfig::secrets`].
pub const SIGNING_SECRET: &str = "signingSecret";
/// The previous secret, as `<unix ms until which it signs>:<secret>`.
const SIGNING_SECRET_PREVIOUS: &str = "signingSecretPrevious";

/// Makes `fresh` the signing secret. The previous one keeps signing beside it for `overlap_ms`, so that the receiver
/// can switch without losing a message; with 0, or without a previous one, `fresh` signs alone at once.
pub fn rotate(stored: &mut ChannelConfig, fresh: Secret, overlap_ms: u64, now: Timestamp) {
    let before = stored.secrets.insert(SIGNING_SECRET.into(), fresh);
    match before {
        Some(before) if overlap_ms > 0 => {
            let until = now.plus_ms(overlap_ms).unix_ms();
            let kept = Secret::new(format!("{until}:{}", before.expose()));
            stored.secrets.insert(SIGNING_SECRET_PREVIOUS.into(), kept);
        }
        // Also ends the overlap of an earlier rotation.
        _ => {
            stored.secrets.remove(SIGNING_SECRET_PREVIOUS);
        }
    }
}

/// Copies the signing secrets of the stored configuration: an edit of `config` does not change them.
pub(super) fn copy_signing_secrets(stored: &mut ChannelConfig, current: Option<&ChannelConfig>) {
    for key in [SIGNING_SECRET, SIGNING_SECRET_PREVIOUS] {
        if let Some(secret) = current.and_then(|current| current.secrets.get(key)) {
            stored.secrets.insert(key.into(), secret.clone());
        }
    }
}

pub(super) fn signer(stored: &ChannelConfig) -> Result<Signer, String> {
    let current = stored.secrets.get(SIGNING_SECRET).ok_or("the webhook has no signing secret")?;
    let previous = previous(stored);
    Ok(Signer::new(current, previous.as_ref().map(|(secret, until)| (secret, *until))))
}

/// The secrets as texts, to mask in responses.
pub(super) fn secret_texts(stored: &ChannelConfig) -> Vec<String> {
    let current = stored.secrets.get(SIGNING_SECRET).cloned();
    let previous = previous(stored).map(|(secret, _)| secret);
    current.into_iter().chain(previous).map(|secret| secret.expose().to_owned()).collect()
}

fn previous(stored: &ChannelConfig) -> Option<(Secret, Timestamp)> {
    let (until, secret) = stored.secrets.get(SIGNING_SECRET_PREVIOUS)?.expose().split_once(':')?;
    Some((Secret::new(secret), Timestamp::from_unix_ms(until.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotate_first_secret_signs_alone_second_overlaps() {
        let now = Timestamp::from_unix_ms(1_000);
        let mut stored = ChannelConfig::default();
        assert!(signer(&stored).is_err());
        rotate(&mut stored, Secret::new("whsec_a"), 5_000, now);
        assert_eq!(previous(&stored), None);
        rotate(&mut stored, Secret::new("whsec_b"), 5_000, now);
        assert_eq!(previous(&stored), Some((Secret::new("whsec_a"), Timestamp::from_unix_ms(6_000))));
        let sign = |stored: &ChannelConfig, ms| signer(stored).unwrap().standard("x", Timestamp::from_unix_ms(ms), b"");
        assert_eq!(sign(&stored, 5_999).split(' ').count(), 2);
        assert_eq!(sign(&stored, 6_000).split(' ').count(), 1);
        rotate(&mut stored, Secret::new("whsec_c"), 0, now);
        assert_eq!(previous(&stored), None, "at once");
    }
}
