//! TLS servers with a self-signed certificate, which is trusted only if the test puts it into `SSL_CERT_FILE`.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::wire;

type Stream = BufReader<StreamOwned<ServerConnection, TcpStream>>;

/// A server. It ends with the test.
pub struct Certified {
    pub address: SocketAddr,
    /// Its certificate, for `SSL_CERT_FILE`.
    pub pem: String,
}

/// The parameters of a certificate for this machine.
fn parameters() -> CertificateParams {
    CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap()
}

/// Starts a server that handles every connection with this function.
fn start(serve: impl Fn(Stream) -> io::Result<()> + Send + Sync + 'static) -> Certified {
    start_with(parameters(), serve)
}

fn start_with(
    parameters: CertificateParams,
    serve: impl Fn(Stream) -> io::Result<()> + Send + Sync + 'static,
) -> Certified {
    let signing_key = KeyPair::generate().unwrap();
    let cert = parameters.self_signed(&signing_key).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (config, serve) = (Arc::clone(&config), Arc::clone(&serve));
            std::thread::spawn(move || {
                let connection = ServerConnection::new(config).map_err(io::Error::other)?;
                serve(BufReader::new(StreamOwned::new(connection, stream)))
            });
        }
    });
    Certified { address, pem: cert.pem() }
}

/// A webhook receiver that answers every request with 204.
pub fn receiver() -> Certified {
    start(take_everything)
}

/// The same with an expired certificate.
pub fn expired() -> Certified {
    let mut parameters = parameters();
    (parameters.not_before, parameters.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 31));
    start_with(parameters, take_everything)
}

fn take_everything(mut stream: Stream) -> io::Result<()> {
    while wire::read(&mut stream)?.is_some() {
        stream.get_mut().write_all(b"HTTP/1.1 204 Taken\r\n\r\n")?;
    }
    Ok(())
}

/// A mail server that rejects every login, and echoes user and password in all encodings.
pub fn talkative_mail_server() -> Certified {
    start(|mut stream| {
        let mut say = "220 hello\r\n".to_owned();
        loop {
            stream.get_mut().write_all(say.as_bytes())?;
            let mut command = String::new();
            if stream.read_line(&mut command)? == 0 {
                return Ok(());
            }
            let command = command.trim_end();
            say = match command.split_once(' ') {
                Some(("EHLO", _)) => "250-here\r\n250 AUTH PLAIN LOGIN\r\n".to_owned(),
                Some(("AUTH", rest)) => {
                    let word = rest.split(' ').next_back().unwrap_or_default();
                    let decoded = BASE64.decode(word).unwrap_or_default();
                    let decoded = String::from_utf8_lossy(&decoded).replace('\0', " ");
                    format!("535-{command} is wrong\r\n535 so is {decoded}\r\n")
                }
                _ => "250 fine\r\n".to_owned(),
            };
        }
    })
}
