//! The key that encrypts stored secrets: set by the operator, or generated at the first start as `secret.key` in the data
//! directory.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tidings_domain::secret::Secret;
use tidings_engine::clock::Clock;
use tidings_engine::vault::Vault;

use crate::secret_file;

const FILE: &str = "secret.key";

/// The vault with the configured key, or with that of the data directory. `is_first` allows the generation of a key: later
/// starts must find the key with which the stored secrets were encrypted.
pub(crate) fn vault(configured: Option<&Secret>, data_dir: &Path, is_first: bool, clock: &dyn Clock) -> Result<Vault> {
    if let Some(text) = configured {
        return decode(text).context("secret-key (TIDINGS_SECRET_KEY)");
    }
    let path = data_dir.join(FILE);
    secret_file::remove_draft(&path);
    match secret_file::read(&path)? {
        Some(text) => decode(&text).with_context(|| format!("the secret key {}", path.display())),
        None if is_first => generate(&path, clock),
        None => bail!(
            "{} is missing, and the stored secrets are encrypted with its key: restore the file, or set \
             TIDINGS_SECRET_KEY to its content",
            path.display()
        ),
    }
}

fn generate(path: &Path, clock: &dyn Clock) -> Result<Vault> {
    let mut key = [0; 32];
    clock.random(&mut key);
    let text = Secret::new(BASE64.encode(key));
    secret_file::create(path, &text).with_context(|| format!("cannot create the secret key {}", path.display()))?;
    Ok(Vault::new(&key))
}

/// Decodes a key. Its errors do not quote the text.
fn decode(text: &Secret) -> Result<Vault> {
    let expected = || anyhow!("must be base64 of 32 bytes, as printed by `openssl rand -base64 32`");
    let bytes = BASE64.decode(text.expose()).map_err(|_| expected())?;
    let key: &[u8; 32] = bytes.as_slice().try_into().map_err(|_| expected())?;
    Ok(Vault::new(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_engine::clock::SystemClock;

    #[test]
    fn first_start_generates_a_key_that_later_starts_read() {
        let directory = tempfile::tempdir().unwrap();
        let clock = SystemClock::default();
        let first = vault(None, directory.path(), true, &clock).unwrap();
        let second = vault(None, directory.path(), false, &clock).unwrap();
        assert_eq!(first.key_id(), second.key_id());
        assert!(directory.path().join(FILE).is_file());
    }

    #[test]
    fn missing_key_is_not_replaced_after_the_first_start() {
        let directory = tempfile::tempdir().unwrap();
        let error = vault(None, directory.path(), false, &SystemClock::default()).err().unwrap().to_string();
        assert!(error.contains("restore the file") && !directory.path().join(FILE).exists(), "{error}");
    }

    #[test]
    fn invalid_key_is_not_quoted_in_the_error() {
        for invalid in ["hunter2", "aHVudGVyMg=="] {
            let error = format!(
                "{:#}",
                vault(Some(&Secret::new(invalid)), Path::new("."), true, &SystemClock::default()).err().unwrap()
            );
            assert!(error.contains("32 bytes") && !error.contains(invalid), "{error}");
        }
    }
}
