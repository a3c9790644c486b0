//! The committed copy of the API's OpenAPI description.

use std::fs;
use std::process::Stdio;

use anyhow::Context as _;

use crate::shell::{Repo, Shown};

/// The copy, from the root of the repository.
const COPY: &str = "docs/openapi.json";

/// Writes the description that the code gives to [`COPY`], for review and for generators of clients.
pub fn run(repo: &Repo) -> anyhow::Result<()> {
    // An example of the crate rather than a call from here: else every chore would compile the whole service first.
    let mut command = repo.cargo(&["run", "--quiet", "--locked", "--package", "tidings-web", "--example", "openapi"]);
    let output = command.stderr(Stdio::inherit()).output().context("cannot start cargo")?;
    anyhow::ensure!(output.status.success(), "`{}` ended with {}", Shown(&command), output.status);
    let path = repo.root.join(COPY);
    let is_current = fs::read(&path).is_ok_and(|current| current == output.stdout);
    if !is_current {
        fs::write(&path, &output.stdout).with_context(|| format!("cannot write {}", path.display()))?;
    }
    println!("{COPY}: {}", if is_current { "unchanged" } else { "written" });
    Ok(())
}
