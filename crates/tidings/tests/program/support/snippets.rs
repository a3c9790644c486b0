//! Fenced code blocks of the repository's documents, and how they are run.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A fenced code block of a Markdown document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snippet {
    /// The document, from the root of the repository.
    pub file: String,
    /// The number of the opening fence's line, from 1.
    pub line: usize,
    /// The heading above it, without its `#`.
    pub heading: String,
    /// The first word of the info string.
    pub language: String,
    /// From `title="…"` in the info string.
    pub title: Option<String>,
    /// The lines between the fences, without the indentation of the opening fence.
    pub text: String,
}

impl fmt::Display for Snippet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, heading, .. } = self;
        write!(f, "{file}:{line} ({})", self.title.as_deref().unwrap_or(heading))
    }
}

impl Snippet {
    /// Writes it to a file, whose path it returns.
    #[track_caller]
    pub fn save(&self, path: PathBuf) -> PathBuf {
        fs::write(&path, &self.text).unwrap_or_else(|error| panic!("{self} cannot be written to {path:?}: {error}"));
        path
    }

    /// Saves it in the command's directory and runs it there: the command is the interpreter, and the file's path its
    /// last argument.
    #[track_caller]
    pub fn run(&self, directory: &Path, mut interpreter: Command) -> String {
        interpreter.arg(self.save(directory.join("snippet"))).current_dir(directory);
        self.output_of(interpreter)
    }

    /// Runs a command that uses the snippet, and returns its standard output. If it fails, so does the test, and names
    /// the snippet.
    #[track_caller]
    pub fn output_of(&self, mut command: Command) -> String {
        let program = command.get_program().to_owned();
        let output = command
            .output()
            .unwrap_or_else(|error| panic!("{self} needs {program:?}: {error}; `cargo xtask tools` installs it"));
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let status = output.status;
        assert!(status.success(), "{self}\n{command:?} ended with {status}\n{stderr}\n{stdout}");
        // Interpreters warn of what is deprecated there.
        assert!(stderr.is_empty(), "{self}\n{command:?} printed to standard error:\n{stderr}");
        stdout.into_owned()
    }
}

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The documents for users and operators: Markdown in the root, except for contributors' files, and in `docs`.
pub fn documents() -> Vec<String> {
    let mut files: Vec<String> = ["", "docs/"].into_iter().flat_map(markdown_files).collect();
    files.retain(|file| !["CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"].contains(&file.as_str()));
    files.sort();
    files
}

fn markdown_files(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(directory)).unwrap().map(|entry| entry.unwrap());
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".md")).map(|name| format!("{directory}{name}")).collect()
}

/// All snippets of a document.
#[track_caller]
pub fn of(file: &str) -> Vec<Snippet> {
    let text = fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    parse(file, &text)
}

/// The only snippet of a document with this title.
#[track_caller]
pub fn titled(file: &str, title: &str) -> Snippet {
    let mut found: Vec<_> = of(file).into_iter().filter(|snippet| snippet.title.as_deref() == Some(title)).collect();
    assert_eq!(found.len(), 1, "snippets in {file} with title=\"{title}\": {found:?}");
    found.remove(0)
}

/// A block opens with a line of three or more backticks or tildes and an info string, and closes with a line of at least
/// as many of them (CommonMark, 4.5).
pub fn parse(file: &str, text: &str) -> Vec<Snippet> {
    let mut snippets = Vec::new();
    let mut heading = String::new();
    let mut lines = (1..).zip(text.lines());
    while let Some((number, line)) = lines.next() {
        let unindented = line.trim_start();
        let Some((fence, info)) = opening_fence(unindented) else {
            // Headings of these documents are never indented, and a `#` in prose is not followed by a space.
            if let Some((marks, words)) = line.split_once(' ').filter(|_| line.starts_with('#'))
                && marks.bytes().all(|byte| byte == b'#')
            {
                heading = words.trim().to_owned();
            }
            continue;
        };
        let indent = line.len() - unindented.len();
        let mut snippet = Snippet {
            file: file.to_owned(),
            line: number,
            heading: heading.clone(),
            language: info.split_whitespace().next().unwrap_or_default().to_owned(),
            title: info.split_once("title=\"").and_then(|(_, rest)| Some(rest.split_once('"')?.0.to_owned())),
            text: String::new(),
        };
        loop {
            let Some((_, line)) = lines.next() else { panic!("{snippet} is never closed") };
            if closes(line.trim(), fence) {
                break;
            }
            let spaces = line.bytes().take(indent).take_while(|byte| *byte == b' ').count();
            snippet.text.push_str(&line[spaces..]);
            snippet.text.push('\n');
        }
        snippets.push(snippet);
    }
    snippets
}

/// The fence and the info string after it.
fn opening_fence(line: &str) -> Option<(&str, &str)> {
    let mark = line.chars().next().filter(|mark| ['`', '~'].contains(mark))?;
    let info = line.trim_start_matches(mark);
    let fence = &line[..line.len() - info.len()];
    // An info string holds no backtick: a line with one is inline code.
    (fence.len() >= 3 && !info.contains('`')).then_some((fence, info.trim()))
}

fn closes(line: &str, fence: &str) -> bool {
    line.starts_with(fence) && line.bytes().all(|byte| byte == fence.as_bytes()[0])
}
