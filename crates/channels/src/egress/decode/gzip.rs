//! The content coding `gzip`.

use std::io::{self, Write};

use flate2::write::GzDecoder;

use super::{Stage, TextSink, write_to_end};

/// One gzip member after the other (RFC 1952, 2.2). What follows the last one is ignored, as browsers and gzip itself do:
/// some servers append a line break or padding.
pub(super) struct Gzip {
    state: GzipState,
    /// Members so far. Each costs a decoder, however short it is.
    members: usize,
}

enum GzipState {
    Member(Box<GzDecoder<Box<dyn Stage>>>),
    /// After a member, perhaps with the first byte of what follows.
    Between(Box<dyn Stage>, Option<u8>),
    Trailing(Box<dyn Stage>),
    /// While one state becomes another.
    Changing,
}

impl Gzip {
    /// How a member begins.
    const MAGIC: [u8; 2] = [0x1f, 0x8b];
    const MEMBERS_MAX: usize = 1_000;

    pub(super) fn new(next: Box<dyn Stage>) -> Self {
        Self { state: GzipState::Member(Box::new(GzDecoder::new(next))), members: 1 }
    }

    /// Takes the first of the bytes, at least one. Returns how many.
    fn advance(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.state {
            GzipState::Member(decoder) => {
                let taken = write_to_end(decoder.as_mut(), bytes)?;
                if taken == bytes.len() {
                    return Ok(taken);
                }
                // Checks the sums. While the member is in place: after an error its text is still asked for.
                decoder.try_finish()?;
                if let GzipState::Member(decoder) = std::mem::replace(&mut self.state, GzipState::Changing) {
                    self.state = GzipState::Between(decoder.finish()?, None);
                }
                Ok(taken)
            }
            GzipState::Between(_, first @ None) => {
                *first = bytes.first().copied();
                Ok(1)
            }
            GzipState::Between(_, Some(first)) => {
                let head = [*first, bytes[0]];
                let GzipState::Between(next, _) = std::mem::replace(&mut self.state, GzipState::Changing) else {
                    return Ok(1);
                };
                if head != Self::MAGIC {
                    self.state = GzipState::Trailing(next);
                    return Ok(1);
                }
                self.state = GzipState::Member(Box::new(GzDecoder::new(next)));
                self.members += 1;
                if self.members > Self::MEMBERS_MAX {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                self.advance(&head).map(|_| 1)
            }
            GzipState::Trailing(_) | GzipState::Changing => Ok(bytes.len()),
        }
    }
}

impl Write for Gzip {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut taken = 0;
        while taken < bytes.len() {
            taken += self.advance(&bytes[taken..])?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stage for Gzip {
    fn text(&mut self) -> &mut TextSink {
        match &mut self.state {
            GzipState::Member(decoder) => decoder.text(),
            GzipState::Between(next, _) | GzipState::Trailing(next) => next.text(),
            GzipState::Changing => unreachable!("a change of state ends with the next one"),
        }
    }

    fn end(&mut self) -> io::Result<()> {
        match &mut self.state {
            GzipState::Member(decoder) => decoder.end(),
            GzipState::Between(next, _) | GzipState::Trailing(next) => next.end(),
            GzipState::Changing => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}
