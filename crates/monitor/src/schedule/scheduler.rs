//! The loop that keeps the timetable: begins what is due, and takes edits of the roster in.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidings_domain::id::EndpointId;
use tidings_domain::time::Timestamp;
use tokio::sync::oneshot;
use tokio::task::{self, JoinError, JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::check::Check;
use super::roster::{EndpointProber, EndpointSource, MonitoredEndpoint};
use super::spread::{at_once, at_start};
use super::tally::Tally;
use super::timetable::{Timetable, Turn};
use crate::measure::{self, Skipped};

/// Tells the time of day.
pub type WallClock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How many observations may wait to be written down. While there are so many no probe begins: each may hold a body.
pub const PENDING_WRITES_MAX: usize = 2_048;
/// How often the roster's version is looked at, whatever it says of itself, and the load is told.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Edits are taken in at most so often: each time the whole roster is gone through.
const EDITS_GAP: Duration = Duration::from_millis(50);

/// The scheduler.
#[derive(Debug)]
pub struct Scheduler;

/// A running scheduler. Dropped, everything that it does ends at once.
#[derive(Debug)]
pub struct Handle {
    stop: oneshot::Sender<Duration>,
    task: JoinHandle<()>,
}

impl Scheduler {
    /// Begins to watch what is on the roster.
    pub fn start(roster: Arc<dyn EndpointSource>, look: Arc<dyn EndpointProber>, clock: WallClock) -> Handle {
        measure::describe();
        let (stop, stopped) = oneshot::channel();
        let running = Running::new(roster, look, clock);
        Handle { stop, task: tokio::spawn(running.run(stopped)) }
    }
}

impl Handle {
    /// Begins nothing more, waits until what is under way has ended and is written down, and drops what takes longer
    /// than `bound`.
    pub async fn stop(self, bound: Duration) {
        // Who has ended already cannot hear it.
        let _ = self.stop.send(bound);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the check engine's schedule failed");
        }
    }
}

struct Running {
    roster: Arc<dyn EndpointSource>,
    look: Arc<dyn EndpointProber>,
    clock: WallClock,
    /// When the timetable began.
    began: Instant,
    timetable: Timetable,
    /// The roster as it was last taken in; none before the first time.
    version: Option<u64>,
    watches: HashMap<EndpointId, Arc<MonitoredEndpoint>>,
    probes: JoinSet<()>,
    /// Whose probes are under way.
    tasks: HashMap<task::Id, EndpointId>,
    /// Dropped, the endpoint's probe is given up, unless it is over and only to be written down.
    wanted: HashMap<EndpointId, oneshot::Sender<()>>,
    unwritten: Arc<AtomicUsize>,
    tally: Tally,
}

impl Running {
    fn new(roster: Arc<dyn EndpointSource>, look: Arc<dyn EndpointProber>, clock: WallClock) -> Self {
        let began = Instant::now();
        Self {
            roster,
            look,
            clock,
            began,
            timetable: Timetable::default(),
            version: None,
            watches: HashMap::new(),
            probes: JoinSet::new(),
            tasks: HashMap::new(),
            wanted: HashMap::new(),
            unwritten: Arc::default(),
            tally: Tally::new(began),
        }
    }

    async fn run(mut self, mut stopped: oneshot::Receiver<Duration>) {
        let roster = self.roster.clone();
        self.take_in();
        let mut changed = roster.changed(self.version.unwrap_or_default());
        let (mut taken_in, mut is_edited) = (Instant::now(), false);
        let mut look_at = taken_in + LOOK_INTERVAL;
        let bound = loop {
            self.begin_due();
            let due = self.timetable.next_due().map_or(look_at, |due| self.began + due);
            let edits = if is_edited { taken_in + EDITS_GAP } else { look_at };
            tokio::select! {
                biased;
                bound = &mut stopped => break bound,
                () = &mut changed, if !is_edited => is_edited = true,
                Some(ended) = self.probes.join_next_with_id() => {
                    self.ended(ended);
                    while let Some(ended) = self.probes.try_join_next_with_id() {
                        self.ended(ended);
                    }
                }
                () = sleep_until(due.min(edits).min(look_at)) => {}
            }
            let now = Instant::now();
            let is_time_to_look = now >= look_at;
            if is_time_to_look {
                look_at = now + LOOK_INTERVAL;
                measure::load(self.timetable.len(), self.timetable.under_way());
                self.tally.say(now);
            }
            if is_time_to_look || (is_edited && now >= taken_in + EDITS_GAP) {
                let is_other = self.take_in();
                taken_in = now;
                if is_edited || is_other {
                    changed = roster.changed(self.version.unwrap_or_default());
                    is_edited = false;
                }
            }
        };
        // Whoever dropped the handle waits for nothing.
        let until = Instant::now() + bound.unwrap_or_default();
        while let Ok(Some(_)) = timeout_at(until, self.probes.join_next()).await {}
        self.probes.shutdown().await;
        measure::load(0, 0);
    }

    /// Time since the timetable began.
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Takes the roster in if it is another one.
    fn take_in(&mut self) -> bool {
        let watched = self.roster.endpoints();
        if self.version == Some(watched.version) {
            return false;
        }
        // Read together: the last checks are told in the one, what follows from them in the other.
        let (now, time_of_day, is_start) = (self.now(), (self.clock)(), self.version.is_none());
        let mut before = std::mem::take(&mut self.watches);
        let is_turned =
            |watch: &Arc<MonitoredEndpoint>| before.get(&watch.id).is_none_or(|before| is_another(before, watch));
        let together = watched.endpoints.iter().filter(|watch| is_turned(watch)).count();
        self.watches.reserve(watched.endpoints.len());
        for watch in &watched.endpoints {
            let (id, interval) = (watch.id, interval(watch));
            match before.remove(&id) {
                None if is_start => {
                    let due = at_start(id, interval, watch.last_checked_at, time_of_day);
                    self.timetable.add(id, interval, now + due);
                }
                None => self.timetable.add(id, interval, now + at_once(id, interval, together)),
                Some(before) => {
                    if self::interval(&before) != interval {
                        self.timetable.set_interval(id, interval, now);
                    }
                    if is_another(&before, watch) {
                        self.timetable.turn_to(id, now + at_once(id, interval, together));
                        self.wanted.remove(&id);
                    }
                }
            }
            self.watches.insert(id, watch.clone());
        }
        for id in before.keys() {
            self.timetable.remove(*id);
            self.wanted.remove(id);
        }
        self.version = Some(watched.version);
        true
    }

    /// Begins everything that is due.
    fn begin_due(&mut self) {
        while let Some(turn) = self.timetable.take(self.now()) {
            self.tally.skipped(Skipped::Behind, turn.missed);
            if !turn.starts {
                self.tally.skipped(Skipped::UnderWay, 1);
            } else if self.unwritten.load(Ordering::Relaxed) >= PENDING_WRITES_MAX {
                self.tally.skipped(Skipped::Unwritten, 1);
                let now = self.now();
                self.timetable.ended(turn.id, now);
            } else {
                self.begin(turn);
            }
        }
    }

    fn begin(&mut self, turn: Turn) {
        // Whoever is in the timetable is among the watches.
        let Some(watch) = self.watches.get(&turn.id).cloned() else { return };
        measure::started(&watch.definition.probe);
        self.tally.began(self.now().saturating_sub(turn.due));
        let (wanted, given_up) = oneshot::channel();
        let check = Check {
            roster: self.roster.clone(),
            look: self.look.clone(),
            clock: self.clock.clone(),
            due: self.began + turn.due,
            watch,
            unwritten: self.unwritten.clone(),
        };
        let task = self.probes.spawn(check.run(given_up)).id();
        self.tasks.insert(task, turn.id);
        self.wanted.insert(turn.id, wanted);
    }

    fn ended(&mut self, ended: Result<(task::Id, ()), JoinError>) {
        let task = match ended {
            Ok((task, ())) => task,
            Err(error) => {
                tracing::error!(%error, "a check failed; its endpoint is looked at again at its next turn");
                error.id()
            }
        };
        if let Some(id) = self.tasks.remove(&task) {
            self.wanted.remove(&id);
            self.timetable.ended(id, self.began.elapsed());
        }
    }
}

/// How often it is looked at.
fn interval(watch: &MonitoredEndpoint) -> Duration {
    Duration::from_secs(watch.definition.interval_seconds.max(1).into())
}

/// Whether something else is to be looked at.
fn is_another(before: &Arc<MonitoredEndpoint>, watch: &Arc<MonitoredEndpoint>) -> bool {
    if Arc::ptr_eq(before, watch) {
        return false;
    }
    before.definition.probe != watch.definition.probe || before.secret != watch.secret
}
