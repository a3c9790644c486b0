//! Properties of whole histories: whatever happens, in whatever order, nothing is lost, and everything can be explained.
//!
//! [`plan`] says what may happen, [`run`] has it happen, [`truths`] says what must hold after it, [`order`] the same of
//! what came before what.

mod order;
mod plan;
mod run;
mod truths;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use plan::{Action, Setup};
use run::History;

/// How many histories are tried; more where there is time for them.
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

/// Has it all happen, and then lets it come to its end: what stands in the way is lifted, the incidents are resolved.
fn play(setup: &Setup, actions: &[Action], is_calm: bool) {
    let mut history = History::begin(setup, is_calm);
    for action in actions {
        history.act(action);
    }
    history.lift();
    history.run_out();
    truths::openings_were_said(&history);
    history.resolve_parent();
    history.run_out();
    truths::openings_were_said(&history);
    history.resolve_all();
    history.run_out();
    truths::hold(&history);
    order::holds(&history);
    history.say_all_again();
}

proptest! {
    #![proptest_config(config())]

    /// Everything that is due is done before the next thing happens: here each instant can be compared with what was
    /// foretold for it.
    #[test]
    fn in_a_calm_history((setup, actions) in (plan::setup(), plan::actions())) {
        play(&setup, &actions, true);
    }

    /// Things happen while others are under way, and processes are killed.
    #[test]
    fn in_a_rough_history((setup, actions) in (plan::setup(), plan::actions())) {
        play(&setup, &actions, false);
    }
}
