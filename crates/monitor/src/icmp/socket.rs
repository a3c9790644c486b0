//! A socket for echoes: one that anybody may open where the system allows it, else a raw one.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket as System, Type};
use tokio::net::UdpSocket;

/// A socket that hears one address. To the runtime it is a datagram socket like any other.
pub(super) struct Socket(UdpSocket);

/// Why there is none.
#[derive(Debug)]
pub(super) enum Unopened {
    /// The system allows neither kind.
    Forbidden,
    /// Something else is wrong.
    Failed(io::Error),
}

impl Socket {
    /// A socket that hears this address.
    pub fn open(address: &SocketAddr) -> Result<Self, Unopened> {
        let system = first_allowed(|kind| System::new(Domain::for_address(*address), kind, Some(protocol(address))))?;
        let socket = || {
            system.set_nonblocking(true)?;
            system.connect(&SocketAddr::new(address.ip(), 0).into())?;
            UdpSocket::from_std(system.into())
        };
        socket().map(Self).map_err(Unopened::Failed)
    }

    pub async fn send(&self, packet: &[u8]) -> io::Result<()> {
        self.0.send(packet).await.map(|_| ())
    }

    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.recv(buffer).await
    }
}

fn protocol(address: &SocketAddr) -> Protocol {
    if address.is_ipv6() { Protocol::ICMPV6 } else { Protocol::ICMPV4 }
}

/// The unprivileged kind, and where that is not allowed the raw one.
fn first_allowed<T>(open: impl Fn(Type) -> io::Result<T>) -> Result<T, Unopened> {
    let refused = |error: &io::Error| {
        let is_unknown = error.raw_os_error() == Some(rustix::io::Errno::PROTONOSUPPORT.raw_os_error());
        error.kind() == io::ErrorKind::PermissionDenied || is_unknown
    };
    match open(Type::DGRAM) {
        Ok(socket) => Ok(socket),
        Err(error) if refused(&error) => open(Type::RAW).map_err(|error| match refused(&error) {
            true => Unopened::Forbidden,
            false => Unopened::Failed(error),
        }),
        Err(error) => Err(Unopened::Failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    fn opened(datagram: Result<(), Errno>, raw: Result<(), Errno>) -> Result<Type, Unopened> {
        let failed = |no: Errno| io::Error::from_raw_os_error(no.raw_os_error());
        first_allowed(|kind| if kind == Type::RAW { raw } else { datagram }.map(|()| kind).map_err(failed))
    }

    #[test]
    fn the_unprivileged_kind_goes_first_and_the_raw_one_stands_in() {
        assert_eq!(opened(Ok(()), Ok(())).unwrap(), Type::DGRAM);
        assert_eq!(opened(Err(Errno::ACCESS), Ok(())).unwrap(), Type::RAW);
        assert_eq!(opened(Err(Errno::PROTONOSUPPORT), Ok(())).unwrap(), Type::RAW);
    }

    #[test]
    fn what_is_not_permitted_is_told_apart_from_what_fails() {
        assert!(matches!(opened(Err(Errno::ACCESS), Err(Errno::PERM)), Err(Unopened::Forbidden)));
        assert!(matches!(opened(Err(Errno::MFILE), Ok(())), Err(Unopened::Failed(_))));
        assert!(matches!(opened(Err(Errno::ACCESS), Err(Errno::MFILE)), Err(Unopened::Failed(_))));
    }
}
