//! One connection: requests in, answers out, until the other side closes it.

use std::{cell::RefCell, io};

use tidings_bench::{
    inbox::Inbox,
    wire::{self, Request},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::board::{Behaviour, Board};

/// The largest batch that the generator can send.
const MESSAGE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// What is done about one request.
enum Reply {
    Now,
    Later(std::time::Duration),
    Never,
}

/// Serves a connection to its end.
pub async fn serve(mut stream: TcpStream, board: &RefCell<Board>) -> io::Result<()> {
    let mut inbox = Inbox::new(MESSAGE_BYTES_MAX);
    let mut out = Vec::with_capacity(1024);
    loop {
        while let Some(request) = wire::request(inbox.bytes()).map_err(io::Error::other)? {
            let (reply, length) = (answer(&request, board, &mut out), request.length);
            inbox.used_up(length);
            match reply {
                Reply::Now => {}
                Reply::Later(after) => tokio::time::sleep(after).await,
                Reply::Never => return wait_for_the_end(stream).await,
            }
        }
        if !out.is_empty() {
            stream.write_all(&out).await?;
            out.clear();
        }
        let length = stream.read(inbox.space()?).await?;
        if length == 0 {
            return Ok(());
        }
        inbox.filled(length);
    }
}

fn answer(request: &Request<'_>, board: &RefCell<Board>, out: &mut Vec<u8>) -> Reply {
    if request.target.starts_with(b"/_") {
        control(request, &mut board.borrow_mut(), out);
        return Reply::Now;
    }
    match board.borrow_mut().receive(request) {
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

fn control(request: &Request<'_>, board: &mut Board, out: &mut Vec<u8>) {
    match (request.method, request.target) {
        (b"GET", b"/_stats") => write(out, 200, &board.stats(false)),
        (b"GET", b"/_stats?distinct") => write(out, 200, &board.stats(true)),
        (b"POST", b"/_reset") => {
            board.reset();
            write(out, 200, b"{}");
        }
        _ => write(out, 404, b"no such command"),
    }
}

fn write(out: &mut Vec<u8>, status: u16, body: &[u8]) {
    let head = format!("HTTP/1.1 {status} Said\r\ncontent-length: {}\r\n\r\n", body.len());
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(body);
}

/// Reads and drops until the other side has had enough.
async fn wait_for_the_end(mut stream: TcpStream) -> io::Result<()> {
    let mut dropped = [0; 4096];
    while stream.read(&mut dropped).await? > 0 {}
    Ok(())
}
