//! The key that seals secrets: the operator's, or one made at the first start and kept in the data directory (0600).

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tidings_domain::secret::Secret;
use tidings_engine::clock::Clock;
use tidings_engine::vault::Vault;

/// The key's file in the data directory.
const FILE: &str = "secret.key";

/// The vault with the key that the operator set, or that of the data directory. At the first start it is made there;
/// later another one would open nothing.
pub(crate) fn vault(chosen: Option<&Secret>, data_dir: &Path, is_first: bool, clock: &dyn Clock) -> Result<Vault> {
    if let Some(text) = chosen {
        return decode(text).context("secret-key (TIDINGS_SECRET_KEY)");
    }
    let path = data_dir.join(FILE);
    match File::open(&path) {
        Ok(file) => read(file, &path),
        Err(error) if error.kind() == ErrorKind::NotFound && is_first => make(&path, clock),
        Err(error) if error.kind() == ErrorKind::NotFound => bail!(
            "{} is missing, and what is stored was sealed with it: put it back, or set TIDINGS_SECRET_KEY to what it held",
            path.display()
        ),
        Err(error) => Err(error).with_context(|| format!("cannot read the secret key {}", path.display())),
    }
}

fn read(mut file: File, path: &Path) -> Result<Vault> {
    let mode = file.metadata()?.permissions().mode();
    if mode & 0o077 != 0 {
        bail!("{} can be read by others (mode {:o}): run chmod 600 on it", path.display(), mode & 0o777);
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    decode(&Secret::new(text.trim())).with_context(|| format!("the secret key {}", path.display()))
}

fn make(path: &Path, clock: &dyn Clock) -> Result<Vault> {
    let mut key = [0; 32];
    clock.random(&mut key);
    let text = Secret::new(format!("{}\n", BASE64.encode(key)));
    keep(path, &text).with_context(|| format!("cannot make the secret key {}", path.display()))?;
    Ok(Vault::new(&key))
}

/// Writes the file whole or not at all, also where the disk is full or the power fails.
fn keep(path: &Path, text: &Secret) -> std::io::Result<()> {
    let draft = path.with_extension("key.new");
    // What an earlier start left when it was broken off. Nothing was sealed with it.
    match std::fs::remove_file(&draft) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = write(&draft, text).and_then(|()| std::fs::rename(&draft, path));
    if let Err(error) = written {
        let _ = std::fs::remove_file(&draft);
        return Err(error);
    }
    // The file's name must outlive a crash too: what is sealed with it will.
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

fn write(path: &Path, text: &Secret) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.expose().as_bytes())?;
    file.sync_all()
}

fn decode(text: &Secret) -> Result<Vault> {
    let wanted = || anyhow!("must be base64 of 32 bytes, as `openssl rand -base64 32` prints it");
    let bytes = BASE64.decode(text.expose()).map_err(|_| wanted())?;
    let key: &[u8; 32] = bytes.as_slice().try_into().map_err(|_| wanted())?;
    Ok(Vault::new(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_engine::clock::SystemClock;

    #[test]
    fn the_first_start_makes_the_key_and_the_next_finds_it() {
        let directory = tempfile::tempdir().unwrap();
        let clock = SystemClock::default();
        let first = vault(None, directory.path(), true, &clock).unwrap();
        let second = vault(None, directory.path(), false, &clock).unwrap();
        assert_eq!(first.key_id(), second.key_id());
        let path = directory.path().join(FILE);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);

        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(vault(None, directory.path(), false, &clock).err().unwrap().to_string().contains("chmod 600"));
    }

    #[test]
    fn a_start_that_was_broken_off_leaves_no_half_a_key() {
        let directory = tempfile::tempdir().unwrap();
        let draft = directory.path().join("secret.key.new");
        std::fs::write(&draft, "half a k").unwrap();
        vault(None, directory.path(), true, &SystemClock::default()).unwrap();
        assert!(!draft.exists());
        vault(None, directory.path(), false, &SystemClock::default()).unwrap();
    }

    #[test]
    fn a_key_that_cannot_be_put_in_its_place_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        std::fs::create_dir_all(path.join("in the way")).unwrap();
        assert!(make(&path, &SystemClock::default()).is_err());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "no draft stays");
    }

    #[test]
    fn a_key_that_was_lost_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let error = vault(None, directory.path(), false, &SystemClock::default()).err().unwrap().to_string();
        assert!(error.contains("put it back") && !directory.path().join(FILE).exists(), "{error}");
    }

    #[test]
    fn a_key_that_is_none_is_not_quoted() {
        for wrong in ["hunter2", "aHVudGVyMg=="] {
            let error = format!(
                "{:#}",
                vault(Some(&Secret::new(wrong)), Path::new("."), true, &SystemClock::default()).err().unwrap()
            );
            assert!(error.contains("32 bytes") && !error.contains(wrong), "{error}");
        }
    }
}
