//! One connection, until the client closes it.

use std::{cell::RefCell, io};

use tidings_bench::{
    read_buffer::ReadBuffer,
    wire::{self, Request},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::stats::{Behaviour, Stats};

/// The largest message in bytes, as large as a batch of the generator.
const MESSAGE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// When to respond to a request.
enum Reply {
    Now,
    Later(std::time::Duration),
    Never,
}

/// Serves a connection until it is closed.
pub async fn serve(mut stream: TcpStream, stats: &RefCell<Stats>) -> io::Result<()> {
    let mut buffer = ReadBuffer::new(MESSAGE_BYTES_MAX);
    let mut out = Vec::with_capacity(1024);
    loop {
        while let Some(request) = wire::request(buffer.bytes()).map_err(io::Error::other)? {
            let (reply, length) = (answer(&request, stats, &mut out), request.length);
            buffer.consume(length);
            match reply {
                Reply::Now => {}
                Reply::Later(after) => tokio::time::sleep(after).await,
                Reply::Never => return wait_for_close(stream).await,
            }
        }
        if !out.is_empty() {
            stream.write_all(&out).await?;
            out.clear();
        }
        let length = stream.read(buffer.space()?).await?;
        if length == 0 {
            return Ok(());
        }
        buffer.filled(length);
    }
}

fn answer(request: &Request<'_>, stats: &RefCell<Stats>, out: &mut Vec<u8>) -> Reply {
    if request.target.starts_with(b"/_") {
        control(request, &mut stats.borrow_mut(), out);
        return Reply::Now;
    }
    match stats.borrow_mut().receive(request) {
        Some(Behaviour::Answer(200)) => ok(out),
        Some(Behaviour::Answer(status)) => write(out, status, b""),
        Some(Behaviour::Slow(after)) => {
            ok(out);
            return Reply::Later(after);
        }
        Some(Behaviour::Hang) => return Reply::Never,
        None => write(out, 404, b"no such path"),
    }
    Reply::Now
}

fn ok(out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
}

fn control(request: &Request<'_>, stats: &mut Stats, out: &mut Vec<u8>) {
    match (request.method, request.target) {
        (b"GET", b"/_stats") => write(out, 200, &stats.to_json(false)),
        (b"GET", b"/_stats?distinct") => write(out, 200, &stats.to_json(true)),
        (b"POST", b"/_reset") => {
            stats.reset();
            write(out, 200, b"{}");
        }
        _ => write(out, 404, b"no such command"),
    }
}

fn write(out: &mut Vec<u8>, status: u16, body: &[u8]) {
    let head = format!("HTTP/1.1 {status} Status\r\ncontent-length: {}\r\n\r\n", body.len());
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(body);
}

/// Discards input until the client closes the connection.
async fn wait_for_close(mut stream: TcpStream) -> io::Result<()> {
    let mut dropped = [0; 4096];
    while stream.read(&mut dropped).await? > 0 {}
    Ok(())
}
