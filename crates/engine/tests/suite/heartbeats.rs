//! External endpoints: silence for as long as the heartbeat is a `down` check.

use tidings_domain::check::CheckStatus;
use tidings_domain::endpoint::Probe;
use tidings_domain::id::EndpointId;
use tidings_store::monitoring::CheckFilter;

use crate::world::World;

impl World {
    /// An external endpoint with this heartbeat.
    fn external(&self, heartbeat_seconds: Option<u32>) -> EndpointId {
        let endpoint = self.endpoint("Nightly backup", |it| it.probe = Probe::External { heartbeat_seconds });
        self.settle();
        endpoint
    }

    fn set_enabled_endpoint(&self, id: EndpointId, enabled: bool) {
        self.set_endpoint_enabled(id, enabled);
        self.settle();
    }

    /// The checks of the endpoint, newest first: how many seconds ago, and status or reason.
    fn checks(&self, endpoint: EndpointId) -> Vec<String> {
        let filter = CheckFilter { limit: 100, ..CheckFilter::default() };
        let records = self.wait(self.engine().checks(self.workspace_id, endpoint, filter)).unwrap();
        let shown = records.iter().map(|record| {
            let ago = self.now().since_ms(record.check.checked_at) / 1_000;
            format!("{ago} {}", record.check.reason.as_deref().unwrap_or(record.check.status.as_str()))
        });
        shown.collect()
    }
}

const SILENT: &str = "nothing reported for 1 min";

#[test]
fn each_silent_period_is_one_down_check() {
    let world = World::new();
    let endpoint = world.external(Some(60));
    world.advance(59);
    assert!(world.checks(endpoint).is_empty());
    world.advance(1);
    assert_eq!(world.checks(endpoint), [format!("0 {SILENT}")]);
    assert_eq!(world.incident_of(endpoint).incident.cause_detail.as_deref(), Some(SILENT));
    world.advance(59);
    assert_eq!(world.checks(endpoint).len(), 1);
    world.advance(1);
    assert_eq!(world.checks(endpoint), [format!("0 {SILENT}"), format!("60 {SILENT}")]);
}

#[test]
fn reported_check_begins_the_period_anew() {
    let world = World::new();
    let endpoint = world.external(Some(60));
    for status in [CheckStatus::Healthy, CheckStatus::Down, CheckStatus::Inconclusive, CheckStatus::Healthy] {
        world.advance(50);
        world.check(endpoint, status);
        world.settle();
    }
    assert_eq!(world.checks(endpoint).len(), 4, "and no silence");
    world.advance(59);
    assert_eq!(world.checks(endpoint).len(), 4);
    world.advance(1);
    assert_eq!(world.checks(endpoint)[0], format!("0 {SILENT}"));
    world.up(endpoint);
    assert_eq!(world.checks(endpoint)[0], "0 healthy");
}

#[test]
fn restart_is_no_silence() {
    let mut world = World::new();
    let endpoint = world.external(Some(60));
    world.check(endpoint, CheckStatus::Healthy);
    world.advance(50);
    world.clock.advance_ms(3_600_000);
    world.restart();
    world.settle();
    world.advance(59);
    assert_eq!(world.checks(endpoint).len(), 1, "the period began with the process");
    world.advance(1);
    assert_eq!(world.checks(endpoint)[0], format!("0 {SILENT}"));
}

#[test]
fn long_sleep_of_the_process_is_one_check() {
    let world = World::new();
    let endpoint = world.external(Some(60));
    world.advance(3_600);
    assert_eq!(world.checks(endpoint), [format!("0 {SILENT}")]);
    world.advance(60);
    assert_eq!(world.checks(endpoint).len(), 2);
}

#[test]
fn pause_ends_the_period_and_resume_begins_one() {
    let world = World::new();
    let endpoint = world.external(Some(60));
    world.advance(50);
    world.set_enabled_endpoint(endpoint, false);
    world.advance(3_600);
    assert!(world.checks(endpoint).is_empty());
    world.set_enabled_endpoint(endpoint, true);
    world.advance(59);
    assert!(world.checks(endpoint).is_empty());
    world.advance(1);
    assert_eq!(world.checks(endpoint).len(), 1);
}

#[test]
fn edited_heartbeat_begins_the_period_anew_and_other_edits_do_not() {
    let world = World::new();
    let endpoint = world.external(Some(60));
    world.advance(50);
    world.redefine(endpoint, |it| it.tags = vec!["backup".into()]);
    world.settle();
    world.advance(10);
    assert_eq!(world.checks(endpoint).len(), 1);
    world.redefine(endpoint, |it| it.probe = Probe::External { heartbeat_seconds: Some(300) });
    world.settle();
    world.advance(299);
    assert_eq!(world.checks(endpoint).len(), 1);
    world.advance(1);
    assert_eq!(world.checks(endpoint)[0], "0 nothing reported for 5 min");
    world.redefine(endpoint, |it| it.probe = Probe::External { heartbeat_seconds: None });
    world.settle();
    world.advance(3_600);
    assert_eq!(world.checks(endpoint).len(), 2, "no heartbeat, no limit");
}

#[test]
fn deleted_endpoint_and_one_without_heartbeat_are_never_silent() {
    let world = World::new();
    let (deleted, patient) = (world.external(Some(60)), world.external(None));
    world.wait(world.delete_endpoint(deleted));
    world.advance(3_600);
    assert!(world.checks(patient).is_empty());
    assert!(world.incidents().is_empty());
}

#[test]
fn late_report_of_an_old_check_is_no_sign_of_life() {
    let world = World::new();
    let endpoint = world.external(Some(60));
    world.check(endpoint, CheckStatus::Healthy);
    world.advance(50);
    world.check_at(endpoint, CheckStatus::Healthy, world.now().minus_ms(3_600_000));
    world.advance(10);
    assert_eq!(world.checks(endpoint)[0], format!("0 {SILENT}"));
}
