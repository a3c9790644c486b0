//! ICMP probes of this machine.

use tidings_domain::check::{Answer, FailureClass};
use tidings_domain::endpoint::Probe;

use crate::support::{FakeDns, assert_failed, loopback_guard, observe, prober_with};
use rustls::RootCertStore;

#[tokio::test]
async fn icmp_probe_of_loopback_succeeds() {
    let names = FakeDns::with_records(&[("here.example", &["10.0.0.1", "127.0.0.1"])]);
    let prober = prober_with(loopback_guard(), names, RootCertStore::empty());
    for host in ["127.0.0.1", "127.1", "here.example", "::1"] {
        let observation = observe(&prober, &Probe::Icmp { host: host.into() }).await;
        match &observation.outcome {
            Ok(answer) => {
                assert_eq!(*answer, Answer::Reached);
                assert!(observation.timings.first_byte_ms.is_some() && observation.timings.connect_ms.is_none());
                assert_eq!(observation.timings.dns_ms.is_some(), host == "here.example");
            }
            // Some machines have no IPv6.
            Err(failure) if host == "::1" && !failure.message.contains("permitted") => {
                assert_failed(&observation, FailureClass::OwnNetwork, "from this machine");
            }
            // Some systems allow no ICMP socket: the message names the remedies.
            Err(_) => {
                assert_failed(&observation, FailureClass::OwnNetwork, "net.ipv4.ping_group_range");
                assert_failed(&observation, FailureClass::OwnNetwork, "CAP_NET_RAW");
            }
        }
    }
}

#[tokio::test]
async fn concurrent_icmp_probes_match_their_own_replies() {
    let prober = prober_with(loopback_guard(), FakeDns::default(), RootCertStore::empty());
    let probes: Vec<_> = (1..=100).map(|last| Probe::Icmp { host: format!("127.0.0.{last}") }).collect();
    let observations = probes.iter().map(|probe| observe(&prober, probe));
    for observation in observations {
        let observation = observation.await;
        assert!(observation.outcome == Ok(Answer::Reached) || format!("{observation:?}").contains("CAP_NET_RAW"));
    }
}
