//! ICMP sockets: unprivileged where the system allows that, else raw.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket as RawSocket, Type};
use tokio::net::UdpSocket;

/// An ICMP socket connected to one address. The runtime treats it like any other datagram socket.
pub(super) struct EchoSocket(UdpSocket);

/// Why no socket was opened.
#[derive(Debug)]
pub(super) enum SocketError {
    /// The system allows neither kind of socket.
    NotPermitted,
    Io(io::Error),
}

impl EchoSocket {
    /// Opens a socket that only receives packets of this address.
    pub fn open(address: &SocketAddr) -> Result<Self, SocketError> {
        let raw = open_allowed(|kind| RawSocket::new(Domain::for_address(*address), kind, Some(protocol(address))))?;
        let socket = || {
            raw.set_nonblocking(true)?;
            raw.connect(&SocketAddr::new(address.ip(), 0).into())?;
            UdpSocket::from_std(raw.into())
        };
        socket().map(Self).map_err(SocketError::Io)
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

/// Tries the unprivileged kind of socket first, then the raw one.
fn open_allowed<T>(open: impl Fn(Type) -> io::Result<T>) -> Result<T, SocketError> {
    let is_refused = |error: &io::Error| {
        let is_unsupported = error.raw_os_error() == Some(rustix::io::Errno::PROTONOSUPPORT.raw_os_error());
        error.kind() == io::ErrorKind::PermissionDenied || is_unsupported
    };
    match open(Type::DGRAM) {
        Ok(socket) => Ok(socket),
        Err(error) if is_refused(&error) => open(Type::RAW).map_err(|error| match is_refused(&error) {
            true => SocketError::NotPermitted,
            false => SocketError::Io(error),
        }),
        Err(error) => Err(SocketError::Io(error)),
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    fn opened(datagram: Result<(), Errno>, raw: Result<(), Errno>) -> Result<Type, SocketError> {
        let failed = |no: Errno| io::Error::from_raw_os_error(no.raw_os_error());
        open_allowed(|kind| if kind == Type::RAW { raw } else { datagram }.map(|()| kind).map_err(failed))
    }

    #[test]
    fn open_allowed_prefers_unprivileged_and_falls_back_to_raw() {
        assert_eq!(opened(Ok(()), Ok(())).unwrap(), Type::DGRAM);
        assert_eq!(opened(Err(Errno::ACCESS), Ok(())).unwrap(), Type::RAW);
        assert_eq!(opened(Err(Errno::PROTONOSUPPORT), Ok(())).unwrap(), Type::RAW);
    }

    #[test]
    fn open_allowed_distinguishes_not_permitted_from_errors() {
        assert!(matches!(opened(Err(Errno::ACCESS), Err(Errno::PERM)), Err(SocketError::NotPermitted)));
        assert!(matches!(opened(Err(Errno::MFILE), Ok(())), Err(SocketError::Io(_))));
        assert!(matches!(opened(Err(Errno::ACCESS), Err(Errno::MFILE)), Err(SocketError::Io(_))));
    }
}
