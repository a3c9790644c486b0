//! The endpoints of monitoring benchmarks: many hosts in one process, as cheap as possible, so that the prober
//! dominates.
//!
//! Every request gets a 200 with a small JSON body. `/close` also closes the connection, so that the next probe needs a
//! new one. The body's `status` is `ok`; for `/stamp` it is the time of the response, which fails an assertion and
//! arrives in the notification, where the receiver computes the latency. Listens on loopback only.

mod certificate;

use std::{
    cell::Cell,
    io,
    net::{SocketAddrV4, TcpListener as StdListener},
    path::PathBuf,
    rc::Rc,
};

use anyhow::Context as _;
use clap::Parser;
use tidings_bench::{clock, hosts, process, read_buffer::ReadBuffer, send_time, wire};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::LocalSet,
};
use tokio_rustls::TlsAcceptor;

/// The largest request in bytes.
const REQUEST_BYTES_MAX: usize = 16 * 1024;
/// A typical response of a health check.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ndate: Sat, 02 May 2026 04:00:12 GMT\r\n\
    server: target\r\ncontent-length: 15\r\n\r\n{\"status\":\"ok\"}";
const LAST_ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
    date: Sat, 02 May 2026 04:00:12 GMT\r\nserver: target\r\nconnection: close\r\ncontent-length: 15\r\n\r\n\
    {\"status\":\"ok\"}";
/// Attempts to find a port that is free on all addresses.
const PORTS_TRIED: usize = 20;

/// Answers health checks on many loopback addresses
///
/// Prints the address of the first host; the others have the following addresses and the same port.
/// GET /_stats returns the number of requests and connections.
#[derive(Parser)]
struct Args {
    /// Address of the first host; loopback only, port 0 selects a free port
    #[arg(long, default_value = "127.1.0.1:0")]
    first: SocketAddrV4,
    /// Number of hosts
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    hosts: u32,
    /// Serve TLS for *.bench.example and write the authority's certificate (DER) to this file
    #[arg(long)]
    tls: Option<PathBuf>,
    /// Exit when standard input closes, that is, when the parent process ends
    #[arg(long)]
    with_parent: bool,
}

/// Numbers of requests and connections.
#[derive(Default)]
struct Counts {
    requests: Cell<u64>,
    connections: Cell<u64>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    anyhow::ensure!(args.first.ip().is_loopback(), "it listens on loopback only");
    if args.with_parent {
        process::exit_with_parent();
    }
    let files = process::raise_open_file_limit();
    anyhow::ensure!(
        files > u64::from(args.hosts) * 2,
        "the open-file limit of {files} is too low for {} hosts",
        args.hosts
    );
    let tls = args.tls.as_deref().map(certificate::acceptor).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, serve(args.first, args.hosts, tls))
}

async fn serve(first: SocketAddrV4, count: u32, tls: Option<TlsAcceptor>) -> anyhow::Result<()> {
    let mut listening = listen(first, count);
    for _ in 1..PORTS_TRIED {
        listening = listening.or_else(|_| listen(first, count));
    }
    let (first, listeners) = listening.with_context(|| format!("cannot listen on {count} hosts from {first} on"))?;
    let counts = Rc::new(Counts::default());
    let mut accepting = tokio::task::JoinSet::new();
    for listener in listeners {
        listener.set_nonblocking(true)?;
        accepting.spawn_local(accept(TcpListener::from_std(listener)?, tls.clone(), counts.clone()));
    }
    println!("{first}");
    match accepting.join_next().await {
        Some(ended) => ended?.context("cannot accept a connection"),
        None => Ok(()),
    }
}

/// Listeners on all hosts, on one port.
fn listen(first: SocketAddrV4, count: u32) -> io::Result<(SocketAddrV4, Vec<StdListener>)> {
    let listener = StdListener::bind(first)?;
    let first = SocketAddrV4::new(*first.ip(), listener.local_addr()?.port());
    let mut listeners = vec![listener];
    for number in 1..count {
        listeners.push(StdListener::bind(hosts::host(first, number))?);
    }
    Ok((first, listeners))
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, counts: Rc<Counts>) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let _ = stream.set_nodelay(true);
        counts.connections.set(counts.connections.get() + 1);
        let (tls, counts) = (tls.clone(), counts.clone());
        // Clients may disconnect at any time.
        tokio::task::spawn_local(async move { answer_all(stream, tls, &counts).await.is_ok() });
    }
}

async fn answer_all(stream: TcpStream, tls: Option<TlsAcceptor>, counts: &Counts) -> io::Result<()> {
    match tls {
        None => answer(stream, counts).await,
        Some(tls) => answer(tls.accept(stream).await?, counts).await,
    }
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, counts: &Counts) -> io::Result<()> {
    let mut buffer = ReadBuffer::new(REQUEST_BYTES_MAX);
    loop {
        if let Some(request) = wire::request(buffer.bytes()).map_err(io::Error::other)? {
            let (length, is_last) = (request.length, request.target == b"/close");
            let is_counted = request.target != b"/_stats";
            counts.requests.set(counts.requests.get() + u64::from(is_counted));
            match request.target {
                b"/_stats" => stream.write_all(&stats(counts)).await?,
                b"/stamp" => stream.write_all(&stamped(counts.requests.get())).await?,
                b"/close" => stream.write_all(LAST_ANSWER).await?,
                _ => stream.write_all(ANSWER).await?,
            }
            if is_last {
                return stream.shutdown().await;
            }
            buffer.consume(length);
            continue;
        }
        let length = stream.read(buffer.space()?).await?;
        if length == 0 {
            return Ok(());
        }
        buffer.filled(length);
    }
}

fn stats(counts: &Counts) -> Vec<u8> {
    json(format!("{{\"requests\":{},\"connections\":{}}}", counts.requests.get(), counts.connections.get()))
}

/// A response with the time at which it is sent.
fn stamped(number: u64) -> Vec<u8> {
    let mut stamp = [0; send_time::LENGTH];
    send_time::write(&mut stamp, number, clock::now_nanos());
    json(format!("{{\"status\":\"{}\"}}", String::from_utf8_lossy(&stamp)))
}

fn json(body: String) -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length";
    format!("{head}: {}\r\n\r\n{body}", body.len()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamped_response_holds_the_time() {
        let before = clock::now_nanos();
        let bytes = stamped(7);
        let answer = wire::response(&bytes).unwrap().unwrap();
        let nanos = send_time::Reader::default().nanos(answer.body).unwrap();
        assert_eq!((answer.status, answer.length), (200, bytes.len()));
        assert!((before..=clock::now_nanos()).contains(&nanos));
    }
}
