//! ICMP probes: sends an echo request once a second until a reply arrives.

mod packet;
mod socket;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidings_channels::egress::{DialOptions, is_own};
use tidings_domain::check::{Answer, Failure, FailureClass};
use tokio::time::{Instant, timeout};

use crate::connector::Connector;
use crate::failure::{failure, local_failure};
use crate::target::ProbeTarget;
use crate::timing::{Phase, TimingRecorder};
use packet::Echo;
use socket::{EchoSocket, SocketError};

/// Time between echo requests: any packet may get lost.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Numbers the probes of this process. Together with the process id they identify our own replies.
#[derive(Debug, Default)]
pub(crate) struct EchoIds(AtomicU64);

/// Makes one probe. The caller enforces the timeout.
pub(crate) async fn probe(
    ids: &EchoIds,
    connector: &Connector,
    target: &ProbeTarget,
    dial: DialOptions,
    deadline: Instant,
    recorder: &mut TimingRecorder,
) -> Result<Answer, Failure> {
    let vetted = connector.resolve(target, dial, deadline, recorder).await?;
    let mut last_failure = failure(FailureClass::Dns, format!("the name {} has no address", target.host));
    for address in vetted.addresses() {
        let mut echo = Echo::new(address.is_ipv6(), std::process::id(), ids.0.fetch_add(1, Ordering::Relaxed));
        let result = match EchoSocket::open(address) {
            Ok(socket) => ping(&socket, &mut echo, recorder).await,
            Err(SocketError::NotPermitted) => return Err(not_permitted()),
            Err(SocketError::Io(error)) => Err(error),
        };
        // An immediate error is often a missing address family: the next address may be of the other one.
        last_failure = match result {
            Ok(()) => return Ok(Answer::Reached),
            Err(error) if is_own(&error) => local_failure(&target.name, &error),
            Err(error) => {
                let message = format!("{} ({}) cannot be reached: {}", target.name, address.ip(), error.kind());
                failure(FailureClass::Connect, message)
            }
        };
    }
    Err(last_failure)
}

/// The failure where this process may not open an ICMP socket. It is classed as this machine's own, so that the check
/// is inconclusive.
fn not_permitted() -> Failure {
    let message = "ICMP is not permitted to this process: add its group to the sysctl net.ipv4.ping_group_range, or \
                   grant it the capability CAP_NET_RAW";
    failure(FailureClass::OwnNetwork, message)
}

/// Sends requests until a reply arrives or the network reports an error.
async fn ping(socket: &EchoSocket, echo: &mut Echo, recorder: &mut TimingRecorder) -> std::io::Result<()> {
    loop {
        recorder.start(Phase::FirstByte);
        socket.send(&echo.request()).await?;
        match timeout(RETRY_INTERVAL, receive_reply(socket, echo)).await {
            Ok(received) => {
                received?;
                recorder.finish();
                return Ok(());
            }
            Err(_) => echo.next_sequence(),
        }
    }
}

async fn receive_reply(socket: &EchoSocket, echo: &Echo) -> std::io::Result<()> {
    let mut buffer = [0; packet::BYTES_MAX];
    loop {
        let length = socket.receive(&mut buffer).await?;
        if echo.matches_reply(&buffer[..length]) {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_permitted_names_both_remedies() {
        let failure = not_permitted();
        assert_eq!(failure.class, FailureClass::OwnNetwork);
        assert!(failure.message.contains("net.ipv4.ping_group_range") && failure.message.contains("CAP_NET_RAW"));
    }
}
