//! Files that hold a secret: mode 0600, and either absent or complete.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use tidings_domain::secret::Secret;

/// Reads the secret without surrounding whitespace; `None` if there is no such file.
///
/// # Errors
/// The file cannot be read, or users other than its owner can read it.
pub(crate) fn read(path: &Path) -> Result<Option<Secret>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let mode = file.metadata()?.permissions().mode();
    if mode & 0o077 != 0 {
        bail!("{} can be read by other users (mode {:o}): run chmod 600 on it", path.display(), mode & 0o777);
    }
    let mut text = String::new();
    file.read_to_string(&mut text).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Some(Secret::new(text.trim())))
}

/// Creates the file with the secret as its only line. After a crash or a full disk the file is absent or complete.
pub(crate) fn create(path: &Path, secret: &Secret) -> io::Result<()> {
    let draft = draft_of(path);
    // A draft is left behind by a start that was interrupted before the rename, so that nothing depends on it.
    match std::fs::remove_file(&draft) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let created = write(&draft, secret).and_then(|()| std::fs::rename(&draft, path));
    if let Err(error) = created {
        let _ = std::fs::remove_file(&draft);
        return Err(error);
    }
    // The rename is durable only after an fsync of the directory. Without it a power failure could take away the file,
    // but not the database that depends on its secret.
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

/// Removes what a start left that was interrupted while it created the file: a secret that nothing uses.
pub(crate) fn remove_draft(path: &Path) {
    if let Err(error) = std::fs::remove_file(draft_of(path))
        && error.kind() != ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %draft_of(path).display(), "cannot remove the draft of a secret: remove it by hand");
    }
}

fn draft_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

fn write(path: &Path, secret: &Secret) -> io::Result<()> {
    // `create_new` also refuses to follow a symbolic link.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(secret.expose().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn created_file_is_private_and_reads_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.key");
        assert!(read(&path).unwrap().is_none());
        create(&path, &Secret::new("s3cret")).unwrap();
        assert_eq!(read(&path).unwrap().unwrap().expose(), "s3cret");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);

        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read(&path).err().unwrap().to_string().contains("chmod 600"));
    }

    #[test]
    fn draft_of_an_interrupted_start_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.key");
        std::fs::write(directory.path().join("a.key.new"), "half a s").unwrap();
        create(&path, &Secret::new("s3cret")).unwrap();
        assert_eq!(read(&path).unwrap().unwrap().expose(), "s3cret");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "the draft is gone");
    }

    #[test]
    fn draft_is_removed_and_the_file_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.key");
        std::fs::write(directory.path().join("a.key.new"), "half a s").unwrap();
        create(&path, &Secret::new("s3cret")).unwrap();
        std::fs::write(directory.path().join("a.key.new"), "half a s").unwrap();
        remove_draft(&path);
        remove_draft(&path);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        assert_eq!(read(&path).unwrap().unwrap().expose(), "s3cret");
    }

    #[test]
    fn failed_creation_leaves_no_draft() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.key");
        std::fs::create_dir_all(path.join("not empty")).unwrap();
        assert!(create(&path, &Secret::new("s3cret")).is_err());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
