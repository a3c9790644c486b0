//! Logs on standard error, and metrics for `/metrics`.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, Settings};

/// The buckets of the duration histograms, in seconds.
const DURATION_BUCKETS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];
/// How often recorded samples are drained into the histograms. Otherwise they pile up until the next scrape.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Installs the global logger.
pub(crate) fn init_log(settings: &Settings) -> Result<()> {
    let filter = EnvFilter::try_new(&settings.log).map_err(|error| {
        anyhow!("log: {:?} is not a filter, such as info or warn,tidings_engine=debug: {error}", settings.log)
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(use_colours(std::io::stderr().is_terminal(), |name| std::env::var_os(name)))
        .with_writer(std::io::stderr)
        // Reports of failed writes go to standard error by `eprintln!`, which panics if standard error is closed.
        .log_internal_errors(false);
    let installed = match settings.log_format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().with_span_list(false).try_init(),
    };
    installed.map_err(|error| anyhow!("cannot install the logger: {error}"))
}

/// Whether lines may hold colours: on a terminal that has them, unless the user wants none (<https://no-color.org>).
fn use_colours(is_terminal: bool, variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let is_unwanted = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
    let is_dumb = variable("TERM").is_some_and(|value| value == "dumb");
    is_terminal && !is_unwanted && !is_dumb
}

/// Installs the global metrics recorder. Returns a function that renders the metrics as Prometheus text.
pub(crate) fn init_metrics() -> Result<Arc<dyn Fn() -> String + Send + Sync>> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &DURATION_BUCKETS)
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(|error| anyhow!("cannot install the metrics recorder: {error}"))?;
    let upkeep = handle.clone();
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
        loop {
            ticks.tick().await;
            upkeep.run_upkeep();
        }
    });
    Ok(Arc::new(move || handle.render()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_whose_user_wants_them() {
        let use_colours = |is_terminal, set: &[(&str, &str)]| {
            use_colours(is_terminal, |name| {
                set.iter().find(|(set, _)| *set == name).map(|(_, value)| OsString::from(value))
            })
        };
        assert!(use_colours(true, &[]));
        assert!(use_colours(true, &[("NO_COLOR", ""), ("TERM", "xterm-256color")]), "an empty value says nothing");
        assert!(!use_colours(true, &[("NO_COLOR", "1")]));
        assert!(!use_colours(true, &[("NO_COLOR", "0")]), "any value");
        assert!(!use_colours(true, &[("TERM", "dumb")]));
        assert!(!use_colours(false, &[]));
    }
}
