//! Property tests over random histories: in any order of events nothing is lost, and every delivery can be explained.
//!
//! [`strategies`] generates setups and actions, [`runner`] executes them, [`invariants`] and [`order`] check what must hold
//! at the end.

mod invariants;
mod order;
mod runner;
mod strategies;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use runner::History;
use strategies::{Action, Setup};

/// The number of cases can be raised with `TIDINGS_TEST_HISTORIES`.
fn config() -> ProptestConfig {
    let cases = std::env::var("TIDINGS_TEST_HISTORIES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(20);
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/history/regressions.txt");
    ProptestConfig {
        cases,
        max_shrink_iters: 400,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(file))),
        ..ProptestConfig::default()
    }
}

/// Executes the actions and brings the history to an end: all gates are opened, all incidents resolved.
fn play(setup: &Setup, actions: &[Action], is_settled_each: bool) {
    let mut history = History::begin(setup, is_settled_each);
    for action in actions {
        history.act(action);
    }
    history.open_all_gates();
    history.run_until_settled();
    invariants::openings_were_sent(&history);
    history.resolve_parent();
    history.run_until_settled();
    invariants::openings_were_sent(&history);
    history.resolve_all();
    history.run_until_settled();
    invariants::check(&history);
    order::check(&history);
    history.report_everything_again();
}

proptest! {
    #![proptest_config(config())]

    /// Everything due is done before the next action: each event can be compared with its simulation.
    #[test]
    fn history_settled_after_each_action_holds_invariants((setup, actions) in (strategies::setup(), strategies::actions())) {
        play(&setup, &actions, true);
    }

    /// Actions overlap with attempts in progress, and processes are killed.
    #[test]
    fn history_with_overlap_and_restarts_holds_invariants((setup, actions) in (strategies::setup(), strategies::actions())) {
        play(&setup, &actions, false);
    }
}
