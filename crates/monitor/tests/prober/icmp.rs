//! Echoes from this machine itself.

use tidings_domain::check::{Answer, FailureClass};
use tidings_domain::endpoint::Probe;

use crate::support::{Names, assert_failed, look, loopback, prober_with};
use rustls::RootCertStore;

#[tokio::test]
async fn an_echo_comes_back() {
    let names = Names::knowing(&[("here.example", &["10.0.0.1", "127.0.0.1"])]);
    let prober = prober_with(loopback(), names, RootCertStore::empty());
    for host in ["127.0.0.1", "127.1", "here.example", "::1"] {
        let observation = look(&prober, &Probe::Icmp { host: host.into() }).await;
        match &observation.outcome {
            Ok(answer) => {
                assert_eq!(*answer, Answer::Reached);
                assert!(observation.timings.first_byte_ms.is_some() && observation.timings.connect_ms.is_none());
                assert_eq!(observation.timings.dns_ms.is_some(), host == "here.example");
            }
            // There are machines without IPv6.
            Err(failure) if host == "::1" && !failure.message.contains("permitted") => {
                assert_failed(&observation, FailureClass::OwnNetwork, "from this machine");
            }
            // Where neither kind of socket may be opened, it is said what to do.
            Err(_) => {
                assert_failed(&observation, FailureClass::OwnNetwork, "net.ipv4.ping_group_range");
                assert_failed(&observation, FailureClass::OwnNetwork, "CAP_NET_RAW");
            }
        }
    }
}

#[tokio::test]
async fn many_at_once_get_each_its_own() {
    let prober = prober_with(loopback(), Names::default(), RootCertStore::empty());
    let probes: Vec<_> = (1..=100).map(|last| Probe::Icmp { host: format!("127.0.0.{last}") }).collect();
    let looks = probes.iter().map(|probe| look(&prober, probe));
    for look in looks {
        let observation = look.await;
        assert!(observation.outcome == Ok(Answer::Reached) || format!("{observation:?}").contains("CAP_NET_RAW"));
    }
}
