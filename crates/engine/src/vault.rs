//! The vault: seals secrets at rest with XChaCha20-Poly1305, bound to the row that they belong to.
//!
//! A sealed secret cannot be moved to another row: the row's identity is authenticated with it. The key's id is stored
//! with it, so that a wrong key is distinguished from damaged data.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use tidings_domain::id::{ChannelId, EndpointId, Id, WorkspaceId};
use tidings_domain::secret::Secret;
use tidings_store::settings::InstanceKey;

use crate::clock::Clock;

const NONCE_BYTES: usize = 24;
/// A known text, sealed at the first start: it opens with the right key only.
const CANARY: &[u8] = b"tidings sealing key";
const CANARY_ROW: &[u8] = b"instance";

/// Why a sealed secret could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    #[error(
        "sealed with another key (id {found}, but the configured key has id {ours}): set TIDINGS_SECRET_KEY to the key \
         that this data was written with"
    )]
    WrongKey {
        /// Id of the key that sealed it.
        found: String,
        /// Id of the vault's own key.
        ours: String,
    },
    /// It was altered, or belongs to another row.
    #[error("sealed data is damaged or was moved to another row")]
    Damaged,
}

/// Seals and opens secrets with one key.
pub struct Vault {
    cipher: XChaCha20Poly1305,
    key_id: String,
}

impl Vault {
    pub fn new(key: &[u8; 32]) -> Self {
        let digest = Sha256::new().chain_update(b"tidings key id").chain_update(key).finalize();
        Self { cipher: XChaCha20Poly1305::new(key.into()), key_id: hex::encode(&digest[..8]) }
    }

    /// Identifies the key without revealing it: a truncated hash.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// What the store keeps from the first start on, to verify the key with.
    pub fn instance_key(&self, clock: &dyn Clock) -> InstanceKey {
        InstanceKey { key_id: self.key_id.clone(), canary: self.seal(CANARY, CANARY_ROW, clock) }
    }

    /// Verifies that this is the key of the first start.
    ///
    /// # Errors
    /// [`VaultError::WrongKey`] if it is another one.
    pub fn verify(&self, stored: &InstanceKey) -> Result<(), VaultError> {
        match self.open(&stored.canary, &stored.key_id, CANARY_ROW)?.as_slice() {
            CANARY => Ok(()),
            _ => Err(VaultError::Damaged),
        }
    }

    /// Seals the secrets of a row.
    pub fn seal_secrets(&self, secrets: &BTreeMap<String, Secret>, owner: Owner, clock: &dyn Clock) -> Vec<u8> {
        let plain: BTreeMap<&str, &str> = secrets.iter().map(|(key, value)| (key.as_str(), value.expose())).collect();
        let text =
            Secret::new(serde_json::to_string(&plain).unwrap_or_else(|_| unreachable!("a map of texts is JSON")));
        self.seal(text.expose().as_bytes(), &owner.row(), clock)
    }

    /// Opens the secrets of a row.
    ///
    /// # Errors
    /// [`VaultError`] if they were sealed with another key or for another row, or were altered.
    pub fn open_secrets(
        &self,
        sealed: &[u8],
        key_id: &str,
        owner: Owner,
    ) -> Result<BTreeMap<String, Secret>, VaultError> {
        let text = self.open(sealed, key_id, &owner.row())?;
        let text = Secret::new(String::from_utf8(text).map_err(|_| VaultError::Damaged)?);
        let plain: BTreeMap<String, String> = serde_json::from_str(text.expose()).map_err(|_| VaultError::Damaged)?;
        Ok(plain.into_iter().map(|(key, value)| (key, Secret::new(value))).collect())
    }

    fn seal(&self, plain: &[u8], row: &[u8], clock: &dyn Clock) -> Vec<u8> {
        let mut nonce = [0; NONCE_BYTES];
        clock.random(&mut nonce);
        let sealed = self
            .cipher
            .encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: row })
            .unwrap_or_else(|_| unreachable!("texts are far shorter than the cipher's limit"));
        [nonce.as_slice(), &sealed].concat()
    }

    fn open(&self, sealed: &[u8], key_id: &str, row: &[u8]) -> Result<Vec<u8>, VaultError> {
        if key_id != self.key_id {
            return Err(VaultError::WrongKey { found: key_id.to_owned(), ours: self.key_id.clone() });
        }
        let (nonce, text) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(VaultError::Damaged)?;
        self.cipher.decrypt(&XNonce::from(*nonce), Payload { msg: text, aad: row }).map_err(|_| VaultError::Damaged)
    }
}

/// The row that secrets belong to.
#[derive(Debug, Clone, Copy)]
pub enum Owner {
    Channel(WorkspaceId, ChannelId),
    Endpoint(WorkspaceId, EndpointId),
}

impl Owner {
    /// The row's identity as authenticated data. The prefix keeps a channel and an endpoint of equal ids apart.
    fn row(self) -> Vec<u8> {
        match self {
            Self::Channel(workspace_id, id) => [b"channel".as_slice(), workspace_id.as_bytes(), id.as_bytes()].concat(),
            Self::Endpoint(workspace_id, id) => {
                [b"endpoint".as_slice(), workspace_id.as_bytes(), id.as_bytes()].concat()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use tidings_domain::time::Timestamp;

    fn sealed() -> (Vault, Vec<u8>, WorkspaceId, ChannelId) {
        let vault = Vault::new(&[7; 32]);
        let (workspace_id, channel_id) = (WorkspaceId::from_bytes([1; 16]), ChannelId::from_bytes([2; 16]));
        let secrets = BTreeMap::from([("url".to_owned(), Secret::new("https://x/?token=marked"))]);
        let clock = ManualClock::at(Timestamp::from_unix_ms(0));
        let sealed = vault.seal_secrets(&secrets, Owner::Channel(workspace_id, channel_id), &clock);
        (vault, sealed, workspace_id, channel_id)
    }

    #[test]
    fn sealed_secrets_open_and_hide_their_text() {
        let (vault, sealed, workspace_id, channel_id) = sealed();
        assert!(!sealed.windows(6).any(|window| window == b"marked"));
        let opened = vault.open_secrets(&sealed, vault.key_id(), Owner::Channel(workspace_id, channel_id)).unwrap();
        assert_eq!(opened["url"].expose(), "https://x/?token=marked");
    }

    #[test]
    fn open_secrets_of_other_row_other_key_or_altered_data_fails() {
        let (vault, mut sealed, workspace_id, channel_id) = sealed();
        let elsewhere = ChannelId::from_bytes([3; 16]);
        assert!(matches!(
            vault.open_secrets(&sealed, vault.key_id(), Owner::Channel(workspace_id, elsewhere)),
            Err(VaultError::Damaged)
        ));
        let endpoint = Owner::Endpoint(workspace_id, EndpointId::from_bytes(*channel_id.as_bytes()));
        assert!(matches!(vault.open_secrets(&sealed, vault.key_id(), endpoint), Err(VaultError::Damaged)));
        let other = Vault::new(&[8; 32]);
        assert!(matches!(
            other.open_secrets(&sealed, vault.key_id(), Owner::Channel(workspace_id, channel_id)),
            Err(VaultError::WrongKey { .. })
        ));
        sealed[30] ^= 1;
        assert!(matches!(
            vault.open_secrets(&sealed, vault.key_id(), Owner::Channel(workspace_id, channel_id)),
            Err(VaultError::Damaged)
        ));
        assert!(matches!(
            vault.open_secrets(&[], vault.key_id(), Owner::Channel(workspace_id, channel_id)),
            Err(VaultError::Damaged)
        ));
    }

    #[test]
    fn verify_accepts_only_the_key_of_the_first_start() {
        let clock = ManualClock::at(Timestamp::from_unix_ms(0));
        let stored = Vault::new(&[7; 32]).instance_key(&clock);
        assert!(Vault::new(&[7; 32]).verify(&stored).is_ok());
        assert!(matches!(Vault::new(&[8; 32]).verify(&stored), Err(VaultError::WrongKey { .. })));
    }
}
