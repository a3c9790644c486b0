//! The machine that is measured on, and the scratch directory.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::Context as _;

/// Duration of the observation.
const OBSERVATION: Duration = Duration::from_secs(1);
/// Usual background load.
const BUSY_PERCENT_USUAL: f64 = 5.0;

/// The machine, and how busy it was when the benchmark started.
pub struct Machine {
    processors: usize,
    model: String,
    busy_percent: f64,
}

impl Machine {
    /// Observes the load for a second.
    pub fn observe() -> anyhow::Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").context("the benchmark needs Linux")?;
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let before = Ticks::now()?;
        thread::sleep(OBSERVATION);
        let after = Ticks::now()?;
        Ok(Self {
            processors: thread::available_parallelism()?.get(),
            model: model.map_or_else(|| "unknown processor".to_owned(), |(_, name)| name.to_owned()),
            busy_percent: after.busy_percent_since(before),
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processors, model, busy_percent } = self;
        write!(f, "{processors} processors ({model}), shared by generator, server and sink.")?;
        if *busy_percent > BUSY_PERCENT_USUAL {
            write!(
                f,
                " Other processes kept them {busy_percent:.0} % busy before the start: the results are too low."
            )?;
        }
        Ok(())
    }
}

/// Processor time since boot, in ticks.
#[derive(Clone, Copy)]
struct Ticks {
    idle: u64,
    all: u64,
}

impl Ticks {
    fn now() -> anyhow::Result<Self> {
        let stat = fs::read_to_string("/proc/stat").context("the benchmark needs Linux")?;
        Self::parse(&stat).context("/proc/stat has an unexpected format")
    }

    fn parse(stat: &str) -> Option<Self> {
        // user nice system idle iowait irq softirq steal; guests are counted in the first two.
        let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_ascii_whitespace().take(8);
        let ticks: Vec<u64> = fields.map(str::parse).collect::<Result<_, _>>().ok()?;
        Some(Self { idle: ticks.get(3)? + ticks.get(4)?, all: ticks.iter().sum() })
    }

    fn busy_percent_since(self, before: Self) -> f64 {
        let all = self.all.saturating_sub(before.all).max(1);
        let idle = self.idle.saturating_sub(before.idle).min(all);
        (all - idle) as f64 * 100.0 / all as f64
    }
}

/// A directory that is deleted at the end. Below `target`, because `/tmp` may be a RAM disk.
pub struct Scratch(PathBuf);

impl Scratch {
    /// Creates it.
    pub fn new(target: &Path) -> anyhow::Result<Self> {
        let dir = target.join("bench").join(std::process::id().to_string());
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(Self(dir))
    }

    /// Creates an empty subdirectory with this prefix.
    pub fn dir(&self, name: &str) -> anyhow::Result<PathBuf> {
        let dir = (0..10_000).map(|number| self.0.join(format!("{name}-{number}"))).find(|dir| !dir.exists());
        let dir = dir.context("too many directories with one prefix")?;
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_percent_counts_all_but_idle_and_iowait() {
        let before = Ticks::parse("cpu  10 0 10 100 0 0 0 0 0 0\ncpu0 1 2 3\n").unwrap();
        let after = Ticks::parse("cpu  30 0 15 160 10 0 0 5 0 0\n").unwrap();
        assert_eq!(after.busy_percent_since(before), 30.0);
        assert!(Ticks::parse("cpu  1 2").is_none());
    }
}
