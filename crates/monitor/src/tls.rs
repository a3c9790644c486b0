//! TLS handshakes of probes. The certificate is read whether or not it is trusted, and errors name what is wrong with
//! it.
//!
//! Sessions are not resumed, because a resumed session presents no certificate.

use rustls::RootCertStore;
use tidings_channels::egress::tls::{self, Handshake, TlsClients, TlsProfile};
use tidings_domain::check::Certificate;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::target::ProbeTarget;

/// Does the TLS handshakes of all probes.
pub(crate) struct TlsProber {
    clients: TlsClients,
}

/// What follows the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// HTTP/1.1, which ALPN offers.
    Http,
    /// Nothing: no ALPN, so that servers of any protocol accept it.
    HandshakeOnly,
}

/// The result of a handshake.
pub(crate) struct Probed {
    /// The server's certificate, also where it is why the handshake failed.
    pub certificate: Option<Certificate>,
    /// The connection, or the failure's message.
    pub result: Result<TlsStream<TcpStream>, String>,
}

impl TlsProber {
    /// Trusts these authorities, unless a profile has its own.
    pub fn new(roots: RootCertStore) -> Self {
        Self { clients: TlsClients::new(roots) }
    }

    /// Does a handshake with the target.
    pub async fn handshake(
        &self,
        tcp: TcpStream,
        target: &ProbeTarget,
        profile: &TlsProfile,
        purpose: Purpose,
    ) -> Probed {
        let handshake = match purpose {
            Purpose::Http => Handshake::FullHttp,
            Purpose::HandshakeOnly => Handshake::Full,
        };
        let client = self.clients.client(profile);
        match client.connect(&target.host.to_string(), &target.name, tcp, handshake).await {
            Ok(stream) => Probed { certificate: tls::peer_certificate(&stream), result: Ok(stream) },
            Err(error) => {
                Probed { result: Err(error.message_naming("tls.caCertificate")), certificate: error.certificate }
            }
        }
    }
}
