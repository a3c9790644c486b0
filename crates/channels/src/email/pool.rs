//! The connections to one mail server: few, kept for several mails, and used in turns.
//!
//! A server allows a client some connections at once and refuses further ones with 421. So there are at most
//! [`CONNECTIONS_MAX`]; a delivery waits for its turn, first between workspaces, then between their channels. A
//! server that refuses one of them while others are open is given no more than those; one that refuses the only one is left
//! alone for a while, and then tried with one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tidings_domain::id::WorkspaceId;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

use super::server::Server;
use super::session::Session;
use super::turns::Turns;
use super::wire::SmtpError;
use crate::egress::tls::TlsClient;
use crate::egress::{DialOptions, Egress};

/// Connections to one server at once.
const CONNECTIONS_MAX: usize = 3;
/// How long a connection is kept without use.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// How long a refused number of connections is not tried again.
const REFUSED_FOR: Duration = Duration::from_secs(60);
/// The pauses of a server that refuses its only connection: doubled from the first to the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// The bounds of the wait of a delivery that got no connection.
const COME_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The pools of all mail servers in use. One per instance.
#[derive(Default)]
pub struct MailPools(Mutex<PoolsByAddress>);

/// By host and port; servers there differ in login and TLS settings.
type PoolsByAddress = HashMap<(String, u16), Vec<Weak<Pool>>>;

impl MailPools {
    /// The pool of this server: the existing one while an open channel holds it, else a new one.
    pub(super) fn pool(&self, server: &Server, egress: &Arc<Egress>) -> Arc<Pool> {
        let mut by_address = lock(&self.0);
        let key = (server.host.clone(), server.port);
        let alive = by_address.get(&key).into_iter().flatten().filter_map(Weak::upgrade);
        if let Some(existing) = alive.into_iter().find(|pool| pool.server.shares_connections_with(server)) {
            return existing;
        }
        // A linear sweep, but only when a pool is made, which is rare (a channel was opened).
        by_address.retain(|_, pools| {
            pools.retain(|pool| pool.strong_count() > 0);
            !pools.is_empty()
        });
        let pool = Arc::new(Pool::new(server.clone(), egress.clone()));
        by_address.entry(key).or_default().push(Arc::downgrade(&pool));
        pool
    }
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    pub workspace_id: WorkspaceId,
    /// Identifies the open channel.
    pub channel: u64,
}

/// What a connection is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// A delivery waits for its turn, and while the server is paused.
    Delivery,
    /// The server refused the connection that this delivery had: it is first in turn.
    Again,
    /// Tests are sent although the server is paused.
    Test,
}

/// The connections to one server.
pub(super) struct Pool {
    server: Server,
    tls: Arc<TlsClient>,
    egress: Arc<Egress>,
    state: Mutex<State>,
}

struct State {
    /// Permits given out; each is for one connection.
    in_use: usize,
    /// Connections that are open, in use or idle.
    open: usize,
    idle: Vec<Session>,
    waiting: Turns<WorkspaceId, u64, oneshot::Sender<Permit>>,
    /// Connections that the server is believed to allow, and since when.
    allowed: (usize, Instant),
    /// After a pause: one connection at a time until a mail is accepted.
    is_probing: bool,
    paused_until: Option<Instant>,
    /// The last pause while refusals go on.
    pause: Option<Duration>,
    /// How long a delivery uses its connection, a moving average in milliseconds.
    use_ms: f64,
    is_reaping: bool,
}

impl State {
    fn limit(&mut self, now: Instant, reason: Reason) -> usize {
        if reason == Reason::Test {
            return self.allowed.0;
        }
        if self.paused_until.is_some_and(|until| until > now) {
            return 0;
        }
        let (allowed, since) = &mut self.allowed;
        if *allowed < CONNECTIONS_MAX && now >= *since + REFUSED_FOR {
            (*allowed, *since) = (*allowed + 1, now);
        }
        if self.is_probing { 1 } else { *allowed }
    }

    /// Takes a permit if one is free, with the session that was used last: the others may become idle for long enough to
    /// be closed.
    fn take(&mut self, now: Instant, reason: Reason) -> Option<Option<Session>> {
        if self.in_use >= self.limit(now, reason) {
            return None;
        }
        self.in_use += 1;
        Some(self.idle.pop())
    }

    /// After how long a delivery that found no connection may find one.
    fn come_again(&self, now: Instant) -> Duration {
        let (allowed, _) = self.allowed;
        let queue = Duration::from_secs_f64(self.waiting.len() as f64 * self.use_ms / 1_000.0 / allowed.max(1) as f64);
        let pause = self.paused_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        (queue + pause).clamp(COME_AGAIN.0, COME_AGAIN.1)
    }
}

/// The right to use one connection; given back on drop.
pub(super) struct Permit {
    pool: Arc<Pool>,
    /// A session that an earlier delivery left.
    kept: Option<Session>,
    since: Instant,
    /// Whether it is already given back.
    is_void: bool,
}

impl Pool {
    fn new(server: Server, egress: Arc<Egress>) -> Self {
        let tls = egress.tls().client(&server.effective_tls());
        let state = State {
            in_use: 0,
            open: 0,
            idle: Vec::new(),
            waiting: Turns::new(),
            allowed: (CONNECTIONS_MAX, Instant::now()),
            is_probing: false,
            paused_until: None,
            pause: None,
            use_ms: 100.0,
            is_reaping: false,
        };
        Self { server, tls, egress, state: Mutex::new(state) }
    }

    /// Waits for a connection for at most `patience`. The error is after how long to come again.
    pub(super) async fn acquire(
        self: &Arc<Self>,
        turn: Turn,
        patience: Duration,
        reason: Reason,
    ) -> Result<Permit, Duration> {
        let receiver = {
            let mut state = lock(&self.state);
            let now = Instant::now();
            let is_test = reason == Reason::Test;
            if !is_test && state.paused_until.is_some_and(|until| until > now + patience) {
                return Err(state.come_again(now));
            }
            if (is_test || state.waiting.is_empty())
                && let Some(kept) = state.take(now, reason)
            {
                return Ok(self.permit(kept));
            }
            let (sender, receiver) = oneshot::channel();
            if reason == Reason::Again {
                state.waiting.push_first(turn.workspace_id, turn.channel, sender);
            } else {
                state.waiting.push(turn.workspace_id, turn.channel, sender);
            }
            receiver
        };
        // What waits ahead may be abandoned.
        self.grant();
        match timeout(patience, receiver).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(lock(&self.state).come_again(Instant::now())),
        }
    }

    fn permit(self: &Arc<Self>, kept: Option<Session>) -> Permit {
        Permit { pool: self.clone(), kept, since: Instant::now(), is_void: false }
    }

    /// Gives free permits to those whose turn it is.
    fn grant(self: &Arc<Self>) {
        loop {
            let (sender, kept) = {
                let mut state = lock(&self.state);
                if state.waiting.is_empty() {
                    return;
                }
                let Some(kept) = state.take(Instant::now(), Reason::Delivery) else { return };
                let Some(sender) = state.waiting.pop() else { return };
                (sender, kept)
            };
            // Outside the lock: a permit that is dropped takes it.
            if let Err(mut refused) = sender.send(self.permit(kept)) {
                // The delivery no longer waits.
                refused.is_void = true;
                let mut state = lock(&self.state);
                state.in_use -= 1;
                state.idle.extend(refused.kept.take());
            }
        }
    }

    fn release(self: &Arc<Self>, kept: Option<Session>) {
        {
            let mut state = lock(&self.state);
            state.in_use -= 1;
            state.idle.extend(kept);
            if !state.idle.is_empty() && !state.is_reaping {
                state.is_reaping = spawn(reap(Arc::downgrade(self)));
            }
        }
        self.grant();
    }

    /// The server refused a connection that has carried no mail (421).
    pub(super) fn refuse(self: &Arc<Self>) {
        let mut state = lock(&self.state);
        let now = Instant::now();
        if state.open > 0 {
            state.allowed = (state.open.min(state.allowed.0), now);
            return;
        }
        let pause = state.pause.map_or(PAUSES.0, |last| (last * 2).min(PAUSES.1));
        let until = now + pause;
        // Refusals of connections that were opened together are one.
        if state.paused_until.is_some_and(|until| until > now) {
            return;
        }
        (state.pause, state.paused_until, state.is_probing) = (Some(pause), Some(until), true);
        let pool = Arc::downgrade(self);
        spawn(async move {
            sleep_until(until).await;
            if let Some(pool) = pool.upgrade() {
                pool.grant();
            }
        });
    }

    /// The server accepted a mail.
    pub(super) fn accept(self: &Arc<Self>) {
        let was_limited = {
            let mut state = lock(&self.state);
            (state.pause, state.paused_until) = (None, None);
            std::mem::take(&mut state.is_probing)
        };
        if was_limited {
            self.grant();
        }
    }
}

impl Permit {
    /// The session that an earlier delivery left, if it still works.
    pub(super) async fn resume(&mut self, deadline: Instant) -> Option<Session> {
        let mut session = self.kept.take()?;
        if session.is_reusable() && session.resume(deadline).await {
            return Some(session);
        }
        self.discard(session).await;
        None
    }

    /// Closes the session that an earlier delivery left.
    pub(super) async fn abandon(&mut self) -> Option<Session> {
        if let Some(session) = self.kept.take() {
            self.discard(session).await;
        }
        None
    }

    /// Opens a session.
    pub(super) async fn open(&self, dial: DialOptions, deadline: Instant) -> Result<Session, SmtpError> {
        let pool = &self.pool;
        // The instance's server is no tenant's.
        let workspace = dial.workspace.filter(|_| !pool.server.trusted);
        let dial = DialOptions { workspace, ..dial };
        let session = Session::open(&pool.server, &pool.tls, &pool.egress, dial, deadline).await?;
        lock(&pool.state).open += 1;
        Ok(session)
    }

    /// Closes the session and waits for that: the server counts it until then.
    pub(super) async fn discard(&self, session: Session) {
        session.close().await;
        self.forget();
    }

    /// The session was lost.
    pub(super) fn forget(&self) {
        let mut state = lock(&self.pool.state);
        state.open = state.open.saturating_sub(1);
    }

    /// Leaves the session to the next delivery, or closes it in the background.
    pub(super) fn finish(mut self, session: Session) {
        {
            let used_ms = self.since.elapsed().as_secs_f64() * 1_000.0;
            let mut state = lock(&self.pool.state);
            state.use_ms += (used_ms - state.use_ms) * 0.2;
        }
        if session.is_reusable() {
            self.kept = Some(session);
        } else {
            spawn(async move { self.discard(session).await });
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.is_void {
            self.pool.release(self.kept.take());
        }
    }
}

/// Closes the sessions that were idle for too long, until none is idle.
async fn reap(pool: Weak<Pool>) {
    let mut wake_at = Instant::now() + IDLE_MAX;
    loop {
        sleep_until(wake_at).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut expired = Vec::new();
        let is_done = {
            let mut state = lock(&pool.state);
            let now = Instant::now();
            let is_expired = |session: &mut Session| session.last_used_at() + IDLE_MAX <= now;
            expired.extend(state.idle.extract_if(.., is_expired));
            match state.idle.iter().map(Session::last_used_at).min() {
                Some(oldest) => wake_at = oldest + IDLE_MAX,
                None => state.is_reaping = false,
            }
            // Until they are closed the server counts them.
            state.in_use += expired.len();
            !state.is_reaping
        };
        for session in expired {
            let permit = pool.permit(None);
            permit.discard(session).await;
        }
        if is_done {
            return;
        }
    }
}

/// Spawns a task; false without a runtime, as when a process ends.
fn spawn(task: impl Future<Output = ()> + Send + 'static) -> bool {
    tokio::runtime::Handle::try_current().map(|runtime| drop(runtime.spawn(task))).is_ok()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
