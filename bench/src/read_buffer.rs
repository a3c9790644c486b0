//! A growing read buffer for a connection.

use std::io;

const START_BYTES: usize = 16 * 1024;

/// Bytes that were received and not consumed. It is filled at the end, consumed at the front, and grows to a limit.
pub struct ReadBuffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    bytes_max: usize,
}

impl ReadBuffer {
    /// An empty buffer of at most `bytes_max`.
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes: vec![0; START_BYTES.min(bytes_max)], start: 0, end: 0, bytes_max }
    }

    /// The bytes that are not consumed.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Space for the next read, never empty. Fails if the buffer is full and at its limit.
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

    /// Reports that `length` bytes were read into [`Self::space`].
    pub fn filled(&mut self, length: usize) {
        self.end = (self.end + length).min(self.bytes.len());
    }

    /// Discards `length` bytes at the front.
    pub fn consume(&mut self, length: usize) {
        self.start = (self.start + length).min(self.end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(buffer: &mut ReadBuffer, bytes: &[u8]) {
        buffer.space().unwrap()[..bytes.len()].copy_from_slice(bytes);
        buffer.filled(bytes.len());
    }

    #[test]
    fn space_moves_unconsumed_bytes_to_the_front() {
        let mut buffer = ReadBuffer::new(8);
        put(&mut buffer, b"abcdefgh");
        buffer.consume(6);
        put(&mut buffer, b"ij");
        assert_eq!(buffer.bytes(), b"ghij");
    }

    #[test]
    fn space_grows_only_to_the_limit() {
        let mut buffer = ReadBuffer::new(START_BYTES + 1);
        put(&mut buffer, &vec![7; START_BYTES]);
        assert_eq!(buffer.space().unwrap().len(), 1);
        buffer.filled(1);
        assert!(buffer.space().is_err());
        buffer.consume(usize::MAX);
        assert_eq!(buffer.space().unwrap().len(), START_BYTES + 1);
    }
}
