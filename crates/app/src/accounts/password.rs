//! Passwords: what is accepted as one, and hashing with argon2id on a thread of its own.
//!
//! A hash is expensive by design, so it must not run where requests are served. One thread of low priority computes one
//! hash at a time; up to [`QUEUE_MAX`] callers wait for it, further ones are refused at once. Sign-ins therefore cost at
//! most one core's idle time and one buffer of memory, however many arrive.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use tidings_domain::secret::Secret;
use tokio::sync::oneshot;

/// Callers that wait for the hashing thread, besides the one being served.
pub const QUEUE_MAX: usize = 16;
/// When to try again after [`PasswordError::Busy`]: a full queue takes about that long.
pub const RETRY_AFTER_SECONDS: u32 = 2;

/// The least length of a password, in characters: the minimum of NIST SP 800-63B.
pub const PASSWORD_CHARS_MIN: usize = 8;
/// The greatest length of a password, in bytes: enough for the 64 characters that NIST SP 800-63B asks for in any script.
pub const PASSWORD_BYTES_MAX: usize = 256;

/// Bytes of a salt.
pub const SALT_BYTES: usize = 16;
const OUTPUT_BYTES: usize = 32;

// The second of OWASP's recommended settings for argon2id, which are equally strong: 19 MiB, 2 passes, no parallelism.
const MEMORY_KIB: u32 = 19 * 1_024;
const PASSES: u32 = 2;
const PARALLELISM: u32 = 1;

/// How long the memory of a hash is kept for the next one. Allocating it anew for each costs thousands of page faults.
const BUFFER_IDLE: Duration = Duration::from_secs(10);
/// The nice value of the hashing thread: it runs when nothing else wants the core.
#[cfg(target_os = "linux")]
const NICE: i32 = 19;

/// Passwords that are guessed first and are long enough to be accepted otherwise; lower case.
const COMMON: [&str; 40] = [
    "12345678",
    "123456789",
    "1234567890",
    "87654321",
    "987654321",
    "11111111",
    "00000000",
    "12341234",
    "1q2w3e4r",
    "1qaz2wsx",
    "abc12345",
    "abcd1234",
    "abcdefgh",
    "admin123",
    "administrator",
    "asdfghjk",
    "asdfghjkl",
    "baseball",
    "changeme",
    "computer",
    "dragon12",
    "football",
    "iloveyou",
    "letmein1",
    "letmein123",
    "master12",
    "monkey123",
    "p@ssw0rd",
    "passw0rd",
    "password",
    "password1",
    "password12",
    "password123",
    "princess",
    "qwer1234",
    "qwertyui",
    "qwertyuiop",
    "sunshine",
    "welcome1",
    "welcome123",
];

/// Why a password could not be hashed or verified.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// The queue is full. Nothing was hashed.
    #[error("too many sign-ins are in progress, try again in {RETRY_AFTER_SECONDS} seconds")]
    Busy,
    /// argon2 refused its parameters, or the stored hash is no PHC string of it.
    #[error("a password cannot be hashed: {0}")]
    Hash(String),
    /// The hashing thread has ended, which it does only by a panic, or could not be started.
    #[error("the hashing thread does not run")]
    Ended,
}

/// Why this is no acceptable password, in words that complete “the password …”; `None` if it is one. `email` is the user's.
pub fn validate_password(password: &str, email: &str) -> Option<&'static str> {
    if password.chars().count() < PASSWORD_CHARS_MIN {
        return Some("must have at least 8 characters");
    }
    if password.len() > PASSWORD_BYTES_MAX {
        return Some("must have at most 256 bytes");
    }
    if password.contains('\0') {
        return Some("must not contain U+0000");
    }
    let lower = password.to_lowercase();
    let local_part = email.split('@').next().unwrap_or_default().to_lowercase();
    let mut characters = lower.chars();
    let first = characters.next();
    let is_one_character = characters.all(|character| Some(character) == first);
    if is_one_character || COMMON.contains(&lower.as_str()) || lower == email.to_lowercase() || lower == local_part {
        return Some("must not be one that is easily guessed");
    }
    None
}

enum Work {
    Hash { salt: [u8; SALT_BYTES], reply: oneshot::Sender<Result<String, PasswordError>> },
    Verify { hash: Option<String>, reply: oneshot::Sender<Result<bool, PasswordError>> },
}

struct Job {
    password: Secret,
    work: Work,
}

/// The hashing thread. It ends when this is dropped.
#[derive(Debug)]
pub struct Passwords {
    queue: SyncSender<Job>,
}

impl Passwords {
    /// Starts the thread. If the system has none left, every use fails with [`PasswordError::Ended`]: no one can sign in,
    /// and everything else works.
    pub fn start() -> Self {
        let (queue, jobs) = sync_channel(QUEUE_MAX);
        if let Err(error) = std::thread::Builder::new().name("passwords".into()).spawn(move || run(&jobs)) {
            tracing::error!(%error, "cannot start the thread that hashes passwords: no one can sign in");
        }
        Self { queue }
    }

    /// Hashes a new password. `salt` must be random.
    ///
    /// # Errors
    /// [`PasswordError`]
    pub async fn hash(&self, password: Secret, salt: [u8; SALT_BYTES]) -> Result<String, PasswordError> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Job { password, work: Work::Hash { salt, reply } })?;
        answer.await.map_err(|_| PasswordError::Ended)?
    }

    /// Whether this is the password of the stored hash. Without a hash (there is no such user) it costs the same, and the
    /// answer is no.
    ///
    /// # Errors
    /// [`PasswordError`]
    pub async fn verify(&self, password: Secret, hash: Option<String>) -> Result<bool, PasswordError> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Job { password, work: Work::Verify { hash, reply } })?;
        answer.await.map_err(|_| PasswordError::Ended)?
    }

    fn enqueue(&self, job: Job) -> Result<(), PasswordError> {
        self.queue.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => PasswordError::Busy,
            TrySendError::Disconnected(_) => PasswordError::Ended,
        })
    }
}

/// Hashes a password on the calling thread, for commands.
///
/// # Errors
/// [`PasswordError::Hash`]
pub fn hash_blocking(password: &Secret, salt: &[u8; SALT_BYTES]) -> Result<String, PasswordError> {
    hash(password, salt, &mut Vec::new())
}

/// The hashing thread's loop.
fn run(jobs: &Receiver<Job>) {
    // On Linux this applies to the calling thread only. Elsewhere it would slow the whole process down.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICE) {
        tracing::warn!(%error, "the priority of password hashing cannot be lowered");
    }
    let mut memory = Vec::new();
    loop {
        let next = if memory.is_empty() {
            jobs.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            jobs.recv_timeout(BUFFER_IDLE)
        };
        match next {
            Ok(job) => serve(job, &mut memory),
            Err(RecvTimeoutError::Timeout) => memory = Vec::new(),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
}

fn serve(job: Job, memory: &mut Vec<Block>) {
    // A caller that is gone (its client disconnected) no longer needs the answer. Sending to it fails, which is ignored.
    match job.work {
        Work::Hash { reply, .. } if reply.is_closed() => {}
        Work::Verify { reply, .. } if reply.is_closed() => {}
        Work::Hash { salt, reply } => drop(reply.send(hash(&job.password, &salt, memory))),
        Work::Verify { hash, reply } => drop(reply.send(verify(&job.password, hash.as_deref(), memory))),
    }
}

fn params() -> Result<Params, PasswordError> {
    Params::new(MEMORY_KIB, PASSES, PARALLELISM, Some(OUTPUT_BYTES)).map_err(|error| refused(&error))
}

fn refused(error: &dyn std::fmt::Display) -> PasswordError {
    PasswordError::Hash(error.to_string())
}

fn hash(password: &Secret, salt: &[u8], memory: &mut Vec<Block>) -> Result<String, PasswordError> {
    let params = params()?;
    let mut output = [0; OUTPUT_BYTES];
    fill(password, salt, &params, Version::default(), &mut output, memory)?;
    let phc = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::default().into()),
        params: ParamsString::try_from(&params).map_err(|error| refused(&error))?,
        salt: Some(Salt::new(salt).map_err(|error| refused(&error))?),
        hash: Some(Output::new(&output).map_err(|error| refused(&error))?),
    };
    Ok(phc.to_string())
}

fn verify(password: &Secret, stored: Option<&str>, memory: &mut Vec<Block>) -> Result<bool, PasswordError> {
    let Some(stored) = stored else {
        // The same work as for a user, so that the time does not show whether there is one.
        fill(password, &[0; SALT_BYTES], &params()?, Version::default(), &mut [0; OUTPUT_BYTES], memory)?;
        return Ok(false);
    };
    let phc = PasswordHash::new(stored).map_err(|error| refused(&error))?;
    let is_argon2id = phc.algorithm == Algorithm::Argon2id.ident();
    let (Some(salt), Some(expected), true) = (phc.salt, phc.hash, is_argon2id) else {
        return Err(PasswordError::Hash("the stored hash is not one of argon2id".into()));
    };
    let params = Params::try_from(&phc).map_err(|error| refused(&error))?;
    let version = match phc.version {
        Some(version) => Version::try_from(version).map_err(|error| refused(&error))?,
        None => Version::default(),
    };
    let mut output = [0; Output::MAX_LENGTH];
    let output = &mut output[..expected.len()];
    fill(password, &salt, &params, version, output, memory)?;
    // `Output` compares in constant time.
    Ok(Output::new(output).map_err(|error| refused(&error))? == expected)
}

fn fill(
    password: &Secret,
    salt: &[u8],
    params: &Params,
    version: Version,
    output: &mut [u8],
    memory: &mut Vec<Block>,
) -> Result<(), PasswordError> {
    if memory.len() < params.block_count() {
        memory.resize(params.block_count(), Block::default());
    }
    let argon2 = Argon2::new(Algorithm::Argon2id, version, params.clone());
    argon2
        .hash_password_into_with_memory(password.expose().as_bytes(), salt, output, memory.as_mut_slice())
        .map_err(|error| refused(&error))
}

#[cfg(test)]
mod tests;
