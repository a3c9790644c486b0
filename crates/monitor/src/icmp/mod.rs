//! An ICMP probe: an echo is asked for once a second until one comes back.

mod packet;
mod socket;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidings_channels::egress::is_own;
use tidings_domain::check::{Answer, Failure, FailureClass};
use tokio::time::{Instant, timeout};

use crate::failure::{failure, own};
use crate::reach::Reach;
use crate::target::Target;
use crate::trace::{Stage, Trace};
use packet::Echo;
use socket::{Socket, Unopened};

/// How long one echo is waited for before the next is asked for: any packet may get lost.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Tells the probes of this process apart; other processes have another id.
#[derive(Debug, Default)]
pub(crate) struct Numbers(AtomicU64);

/// One probe. The deadline cuts it from outside.
pub(crate) async fn probe(
    numbers: &Numbers,
    reach: &Reach,
    target: &Target,
    deadline: Instant,
    trace: &mut Trace,
) -> Result<Answer, Failure> {
    let admitted = reach.admitted(target, deadline, trace).await?;
    trace.waits_for(Stage::Answer);
    let mut failed = failure(FailureClass::Dns, format!("the name {} has no address", target.host));
    for address in admitted.addresses() {
        let mut echo = Echo::new(address.is_ipv6(), std::process::id(), numbers.0.fetch_add(1, Ordering::Relaxed));
        let pinged = match Socket::open(address) {
            Ok(socket) => ping(&socket, &mut echo, trace).await,
            Err(Unopened::Forbidden) => return Err(forbidden()),
            Err(Unopened::Failed(error)) => Err(error),
        };
        // Where one fails at once, the next may be of the family that is reached from here.
        failed = match pinged {
            Ok(()) => return Ok(Answer::Reached),
            Err(error) if is_own(&error) => own(&target.name, &error),
            Err(error) => {
                let words = format!("{} ({}) cannot be reached: {}", target.name, address.ip(), error.kind());
                failure(FailureClass::Connect, words)
            }
        };
    }
    Err(failed)
}

/// What is reported where no socket may be opened: nothing was learnt about the other end.
fn forbidden() -> Failure {
    let words = "ICMP is not permitted to this process: let its group into the sysctl net.ipv4.ping_group_range, or \
                 give it the capability CAP_NET_RAW";
    failure(FailureClass::OwnNetwork, words)
}

/// Asks until an echo comes back; the error is what the network said instead.
async fn ping(socket: &Socket, echo: &mut Echo, trace: &mut Trace) -> std::io::Result<()> {
    loop {
        let since = Instant::now();
        socket.send(&echo.request()).await?;
        match timeout(AGAIN_AFTER, answer(socket, echo)).await {
            Ok(answered) => {
                answered?;
                trace.got(since);
                return Ok(());
            }
            Err(_) => echo.again(),
        }
    }
}

async fn answer(socket: &Socket, echo: &Echo) -> std::io::Result<()> {
    let mut buffer = [0; packet::BYTES_MAX];
    loop {
        let length = socket.receive(&mut buffer).await?;
        if echo.is_answered_by(&buffer[..length]) {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_it_is_not_permitted_it_is_said_what_to_do() {
        let failure = forbidden();
        assert_eq!(failure.class, FailureClass::OwnNetwork);
        assert!(failure.message.contains("net.ipv4.ping_group_range") && failure.message.contains("CAP_NET_RAW"));
    }
}
