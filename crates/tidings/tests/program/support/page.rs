//! A monitored page: a server with a fixed status that can be stopped and started again.

use std::io::{self, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use super::observed::Observed;
use super::wire;

#[derive(Default)]
struct State {
    /// The status of its responses.
    status: u16,
    is_running: bool,
    connections: Vec<TcpStream>,
    /// Requests so far.
    probes: usize,
}

/// A server with an address of its own. It ends with the test.
pub struct Page {
    address: SocketAddr,
    state: Arc<Observed<State>>,
}

impl Page {
    /// Answers every request with this status.
    pub fn answering(status: u16) -> Self {
        // An address that no other process uses, so that the port stays free while the page is stopped.
        let [.., high, middle, low] = std::process::id().to_be_bytes();
        let listener = TcpListener::bind((Ipv4Addr::new(127, 64 | high & 63, middle, low), 0)).unwrap();
        let state = Observed::of(State { status, ..State::default() });
        let page = Self { address: listener.local_addr().unwrap(), state: Arc::new(state) };
        page.serve(listener);
        page
    }

    fn serve(&self, listener: TcpListener) {
        let state = Arc::clone(&self.state);
        state.change(|state| state.is_running = true);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let Ok(kept) = stream.try_clone() else { continue };
                let is_running = state.change(|state| {
                    state.connections.push(kept);
                    state.is_running
                });
                if !is_running {
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

    pub fn url(&self) -> String {
        format!("http://{}/health", self.address)
    }

    /// Closes all connections and refuses new ones.
    pub fn stop(&self) {
        self.state.change(|state| state.is_running = false);
        // Wakes the listener, which then stops.
        let _ = TcpStream::connect(self.address);
        // A connection in the backlog may be reset first.
        let is_refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
        super::eventually("connections are refused", || TcpStream::connect(self.address).err().filter(is_refused));
    }

    /// Starts again at the same address.
    pub fn start(&self) {
        self.serve(TcpListener::bind(self.address).unwrap());
    }

    /// Requests so far.
    pub fn probes(&self) -> usize {
        self.state.read(|state| state.probes)
    }

    /// Waits until `count` requests have come.
    #[track_caller]
    pub fn wait_for_probes(&self, count: usize) {
        let seen = self.state.wait_for(|state| (state.probes >= count).then_some(()));
        assert!(seen.is_some(), "only {} of {count} probes", self.probes());
    }
}

fn answer(stream: TcpStream, state: &Observed<State>) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    while wire::read(&mut reader)?.is_some() {
        let status = state.change(|state| {
            state.probes += 1;
            state.status
        });
        let head = format!("HTTP/1.1 {status} So\r\ncontent-length: 2\r\n\r\nok");
        reader.get_mut().write_all(head.as_bytes())?;
    }
    Ok(())
}
