//! A page that is watched: it answers as it is told to, goes away and comes back.

use std::io::{self, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use super::watch::MonitoredEndpoint;
use super::wire;

/// What a page knows.
#[derive(Default)]
struct State {
    /// The status that it answers.
    status: u16,
    /// Whether it is there at all.
    is_there: bool,
    /// The connections that it has.
    connections: Vec<TcpStream>,
    /// How often it was looked at.
    looks: usize,
}

/// A server on an address of its own. It ends with the test.
pub struct Page {
    address: SocketAddr,
    state: Arc<MonitoredEndpoint<State>>,
}

impl Page {
    /// One that answers every request with this status.
    pub fn answering(status: u16) -> Self {
        // Nobody else uses this address, so that nobody takes the port while the page is away.
        let [.., high, middle, low] = std::process::id().to_be_bytes();
        let listener = TcpListener::bind((Ipv4Addr::new(127, 64 | high & 63, middle, low), 0)).unwrap();
        let state = MonitoredEndpoint::of(State { status, ..State::default() });
        let page = Self { address: listener.local_addr().unwrap(), state: Arc::new(state) };
        page.serve(listener);
        page
    }

    fn serve(&self, listener: TcpListener) {
        let state = Arc::clone(&self.state);
        state.change(|state| state.is_there = true);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let Ok(kept) = stream.try_clone() else { continue };
                let is_there = state.change(|state| {
                    state.connections.push(kept);
                    state.is_there
                });
                if !is_there {
                    break;
                }
                let state = Arc::clone(&state);
                std::thread::spawn(move || answer(stream, &state));
            }
            drop(listener);
            state.change(|state| {
                state.connections.drain(..).for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
            });
        });
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}/health", self.address)
    }

    /// It goes away: connections end, and new ones are refused.
    pub fn stop(&self) {
        self.state.change(|state| state.is_there = false);
        // The listener wakes up by it, and sees that it is over.
        let _ = TcpStream::connect(self.address);
        // One that was still in line may be reset first.
        let is_refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
        super::eventually("it refuses", || TcpStream::connect(self.address).err().filter(is_refused));
    }

    /// It comes back, where it was.
    pub fn start(&self) {
        self.serve(TcpListener::bind(self.address).unwrap());
    }

    /// How often it was looked at.
    pub fn looks(&self) -> usize {
        self.state.look(|state| state.looks)
    }

    /// Waits until it was looked at so often.
    #[track_caller]
    pub fn wait_for_looks(&self, count: usize) {
        let seen = self.state.wait_for(|state| (state.looks >= count).then_some(()));
        assert!(seen.is_some(), "only {} of {count} looks", self.looks());
    }
}

fn answer(stream: TcpStream, state: &MonitoredEndpoint<State>) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    while wire::read(&mut reader)?.is_some() {
        let status = state.change(|state| {
            state.looks += 1;
            state.status
        });
        let head = format!("HTTP/1.1 {status} So\r\ncontent-length: 2\r\n\r\nok");
        reader.get_mut().write_all(head.as_bytes())?;
    }
    Ok(())
}
