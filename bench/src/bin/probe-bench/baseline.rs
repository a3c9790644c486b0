//! The baseline: the same HTTP exchanges without the prober, over one keep-alive connection per loop.

use std::{io, sync::Arc, time::Duration};

use anyhow::Context as _;
use rustls::{ClientConfig, pki_types::ServerName};
use tidings_bench::{hosts, read_buffer::ReadBuffer, wire};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::TlsConnector;

use crate::{Hosts, flat_out::Count, report::Report};

const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// Each loop sends requests to one host.
pub async fn run(hosts: &Hosts, at_once: u32, time: Duration) -> anyhow::Result<Report> {
    anyhow::ensure!(hosts.path != "/close", "the baseline keeps its connections open");
    let count = Arc::new(Count::default());
    let tls = hosts.tls.is_some().then(|| connector(hosts)).transpose()?;
    let mut loops = JoinSet::new();
    for number in 0..at_once {
        // All names resolve to the first host.
        let address = hosts::host(hosts.first[0], if tls.is_some() { 0 } else { number % hosts.hosts });
        let stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        let request = format!(
            "GET {} HTTP/1.1\r\nhost: {address}\r\nuser-agent: Tidings/0.0.0\r\naccept: */*\r\n\r\n",
            hosts.path
        );
        let count = count.clone();
        match &tls {
            None => loops.spawn(exchange(stream, request, count)),
            Some(tls) => {
                let name = ServerName::try_from(format!("host-{number}.bench.example"))?;
                loops.spawn(exchange(tls.connect(name, stream).await?, request, count))
            }
        };
    }
    count.measure(loops, time).await
}

fn connector(hosts: &Hosts) -> anyhow::Result<TlsConnector> {
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(hosts.roots()?)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: String,
    count: Arc<Count>,
) -> anyhow::Result<()> {
    let mut buffer = ReadBuffer::new(ANSWER_BYTES_MAX);
    while !count.is_over() {
        stream.write_all(request.as_bytes()).await?;
        let (status, length) = loop {
            if let Some(answer) = wire::response(buffer.bytes())? {
                break (answer.status, answer.length);
            }
            let length = stream.read(buffer.space()?).await?;
            if length == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            buffer.filled(length);
        };
        buffer.consume(length);
        count.add((status != 200).then(|| format!("status {status}")));
    }
    Ok(())
}
