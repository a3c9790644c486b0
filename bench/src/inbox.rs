//! Bytes that arrived on a connection and were not yet used up.

use std::io;

const START_BYTES: usize = 16 * 1024;

/// A buffer that is read into at the end and used up from the front, and grows to a limit.
pub struct Inbox {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    bytes_max: usize,
}

impl Inbox {
    /// An empty one that never holds more than `bytes_max`.
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes: vec![0; START_BYTES.min(bytes_max)], start: 0, end: 0, bytes_max }
    }

    /// What arrived and was not used up.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Where the next bytes go. Never empty: a full buffer grows, and at its limit it is an error.
    pub fn space(&mut self) -> io::Result<&mut [u8]> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.bytes.len() && self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.bytes.len() {
            if self.end >= self.bytes_max {
                return Err(io::Error::other(format!("a message is larger than {} bytes", self.bytes_max)));
            }
            self.bytes.resize((self.end * 2).min(self.bytes_max), 0);
        }
        Ok(&mut self.bytes[self.end..])
    }

    /// Says that so many bytes were put into [`Self::space`].
    pub fn filled(&mut self, length: usize) {
        self.end = (self.end + length).min(self.bytes.len());
    }

    /// Says that so many bytes at the front are done with.
    pub fn used_up(&mut self, length: usize) {
        self.start = (self.start + length).min(self.end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(inbox: &mut Inbox, bytes: &[u8]) {
        inbox.space().unwrap()[..bytes.len()].copy_from_slice(bytes);
        inbox.filled(bytes.len());
    }

    #[test]
    fn what_is_left_stays_when_space_is_made() {
        let mut inbox = Inbox::new(8);
        put(&mut inbox, b"abcdefgh");
        inbox.used_up(6);
        put(&mut inbox, b"ij");
        assert_eq!(inbox.bytes(), b"ghij");
    }

    #[test]
    fn it_grows_to_its_limit_and_no_further() {
        let mut inbox = Inbox::new(START_BYTES + 1);
        put(&mut inbox, &vec![7; START_BYTES]);
        assert_eq!(inbox.space().unwrap().len(), 1);
        inbox.filled(1);
        assert!(inbox.space().is_err());
        inbox.used_up(usize::MAX);
        assert_eq!(inbox.space().unwrap().len(), START_BYTES + 1);
    }
}
