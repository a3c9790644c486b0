//! Decodes HTTP bodies into text: first the content codings, then the charset. The probes' responses and the excerpts
//! of the channels' responses both pass here.
//!
//! Everything streams. Compressed input is unpacked piece by piece into [`TextSink`], which refuses more as soon as it has
//! what is wanted. So a small body that unpacks to gigabytes costs no more than the caps in [`Wanted`].

mod gzip;
mod text;

use std::io::{self, Write};

use encoding_rs::{Encoding, UTF_8};
use flate2::write::{DeflateDecoder, GzDecoder, ZlibDecoder};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use tidings_domain::check::{Body, BodyFault};

use crate::http_channel::Secrets;
use gzip::Gzip;
use text::{TextSink, declared_charset};

/// The content codings that are decoded: what `Accept-Encoding` asks for.
pub const ACCEPTED_CODINGS: &str = "gzip, deflate";
/// Codings one over the other, at most.
const CODINGS_MAX: usize = 3;
/// How much longer than the text its packed form within another coding may be.
const INNER_SLACK_BYTES: usize = 64 * 1_024;

/// What is wanted of a body. Sizes are those of the decoded text, in bytes of UTF-8.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// How much of the beginning is kept.
    pub kept_max: usize,
    /// How much is searched for `texts`. Not less than `kept_max`.
    pub searched_max: usize,
    /// Texts to find anywhere in the searched part.
    pub texts: Vec<String>,
}

/// Whether more of the body is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    More,
    /// All that is wanted has been read, or the rest cannot be decoded.
    Enough,
}

/// Decodes one body.
pub struct BodyDecoder {
    outermost: Box<dyn Stage>,
    read_bytes: usize,
    /// Compressed input may decode to nothing for ever: it is bounded, too.
    read_max: usize,
    fault: Option<BodyFault>,
    coding: String,
}

impl BodyDecoder {
    /// A decoder of the body of a response with these headers. `secrets` are masked in what is kept, and not found by a
    /// search.
    pub fn new(headers: &HeaderMap, wanted: Wanted, secrets: Secrets) -> Self {
        let content_type = headers.get(CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let declared = content_type.as_deref().and_then(declared_charset);
        let read_max = wanted.searched_max.max(wanted.kept_max);
        let mut outermost: Box<dyn Stage> = Box::new(TextSink::new(declared, wanted, secrets));
        let (codings, mut fault) = (codings(headers), None);
        // Before any decoder is made: a head may list ten thousands of codings.
        if codings.len() > CODINGS_MAX {
            fault = Some(BodyFault::UnknownCoding(shorten(&codings.join(", "))));
        }
        // Listed in the order in which they were applied, so the last one is unpacked first.
        for (index, coding) in codings.iter().take(CODINGS_MAX).enumerate() {
            if index > 0 {
                outermost = Box::new(Capped { next: outermost, left: read_max.saturating_add(INNER_SLACK_BYTES) });
            }
            outermost = match coding.as_str() {
                "gzip" | "x-gzip" => Box::new(Gzip::new(outermost)),
                "deflate" => Box::new(Deflate::Unknown(Some(outermost), Vec::new())),
                _ => {
                    fault = Some(BodyFault::UnknownCoding(coding.clone()));
                    break;
                }
            };
        }
        Self { outermost, read_bytes: 0, read_max, fault, coding: shorten(&codings.join(", ")) }
    }

    /// Decodes the next part of the body.
    pub fn push(&mut self, bytes: &[u8]) -> Progress {
        self.read_bytes += bytes.len();
        if self.fault.is_some() || self.outermost.text().is_satisfied {
            return Progress::Enough;
        }
        match self.outermost.write_all(bytes) {
            Ok(()) if self.read_bytes <= self.read_max => Progress::More,
            // Decoders may take all of their input before they notice that the sink is satisfied.
            Ok(()) => Progress::Enough,
            Err(_) => {
                self.note_fault();
                Progress::Enough
            }
        }
    }

    /// A decoder failed: because the sink is satisfied, or because its input is malformed.
    fn note_fault(&mut self) {
        if !self.outermost.text().is_satisfied {
            self.fault = Some(BodyFault::Malformed(self.coding.clone()));
        }
    }

    /// What was decoded. `is_whole` is whether all of the body was pushed.
    pub fn finish(mut self, is_whole: bool) -> Body {
        // An empty body is empty in every coding.
        let is_empty = self.read_bytes == 0;
        if is_empty {
            self.fault = None;
        } else if self.fault.is_none() {
            // Decoders hold back what they unpacked last. Of a part of a body the end is missing, which is no fault.
            let ended = self.outermost.end();
            if ended.is_err() && is_whole {
                self.note_fault();
            }
        }
        let fault = self.fault.take();
        let sink = self.outermost.text();
        sink.end_text();
        let is_decoded = fault.is_none() && is_whole;
        Body {
            is_complete: is_decoded && sink.keeps_all(),
            is_searched: is_decoded && !sink.is_satisfied,
            searched_bytes: sink.seen_bytes as u64,
            found: std::mem::take(&mut sink.search.found),
            text: sink.take_kept(),
            fault,
        }
    }
}

/// Decodes the beginning of a short body, at most `bytes_max` bytes of text. A body that is not encoded and is UTF-8 is
/// returned as it is.
pub fn decode_beginning(headers: &HeaderMap, body: Vec<u8>, bytes_max: usize) -> Vec<u8> {
    let content_type = headers.get(CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let declared = content_type.as_deref().and_then(declared_charset);
    let is_plain = declared.is_none_or(|charset| charset == UTF_8 || charset.is_ascii_compatible() && body.is_ascii());
    let has_mark = Encoding::for_bom(&body).is_some();
    if !headers.contains_key(CONTENT_ENCODING) && is_plain && !has_mark && std::str::from_utf8(&body).is_ok() {
        return body;
    }
    let wanted = Wanted { kept_max: bytes_max, searched_max: bytes_max, texts: Vec::new() };
    let mut decoder = BodyDecoder::new(headers, wanted, Secrets::default());
    decoder.push(&body);
    // Not whole: the end of a compressed body may have been cut off, which is no fault of what was decoded.
    let decoded = decoder.finish(false);
    match decoded.fault {
        Some(BodyFault::UnknownCoding(coding)) => format!("(a body with the content coding {coding})").into_bytes(),
        _ => decoded.text.into_bytes(),
    }
}

/// The content codings in lower case, in the order in which they were applied.
fn codings(headers: &HeaderMap) -> Vec<String> {
    let lists = headers.get_all(CONTENT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let names = lists.flat_map(|list| list.split(',')).map(|name| name.trim().to_ascii_lowercase());
    names.filter(|name| !name.is_empty() && name != "identity").map(|name| shorten(&name)).collect()
}

fn shorten(name: &str) -> String {
    tidings_domain::text::truncate_chars(&name.replace(char::is_control, " "), 30)
}

/// A step of the way from the wire to the text.
trait Stage: Write + Send {
    fn text(&mut self) -> &mut TextSink;
    /// The end of the input: fails if it is not where the format ends.
    fn end(&mut self) -> io::Result<()>;
}

macro_rules! stage_of_flate2 {
    ($($decoder:ident),*) => {$(
        impl Stage for $decoder<Box<dyn Stage>> {
            fn text(&mut self) -> &mut TextSink {
                self.get_mut().text()
            }

            fn end(&mut self) -> io::Result<()> {
                // Both: what was unpacked before an error is passed on.
                let finished = self.try_finish();
                self.get_mut().end().and(finished)
            }
        }
    )*};
}

stage_of_flate2!(GzDecoder, ZlibDecoder, DeflateDecoder);

/// Writes to a decoder of flate2 until its format ends: then it takes no more. Returns how much it took.
fn write_to_end(decoder: &mut (impl Write + ?Sized), bytes: &[u8]) -> io::Result<usize> {
    let mut taken = 0;
    while taken < bytes.len() {
        match decoder.write(&bytes[taken..])? {
            0 => break,
            count => taken += count,
        }
    }
    Ok(taken)
}

/// What one decoder passes on to the next, bounded: each may unpack a thousandfold, and input that unpacks to nothing would
/// never satisfy the sink.
struct Capped {
    next: Box<dyn Stage>,
    left: usize,
}

impl Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(left) = self.left.checked_sub(bytes.len()) else {
            self.left = 0;
            self.text().is_satisfied = true;
            return Err(io::ErrorKind::StorageFull.into());
        };
        self.left = left;
        self.next.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stage for Capped {
    fn text(&mut self) -> &mut TextSink {
        self.next.text()
    }

    fn end(&mut self) -> io::Result<()> {
        self.next.end()
    }
}

/// `deflate` means zlib (RFC 9110, 8.4.1.2), but some servers send it without zlib's wrapper. The first two bytes
/// distinguish them.
enum Deflate {
    Unknown(Option<Box<dyn Stage>>, Vec<u8>),
    Known(Box<dyn Stage>),
}

impl Deflate {
    fn is_zlib(head: [u8; 2]) -> bool {
        let [method, flags] = head;
        method & 0x0f == 8 && method >> 4 <= 7 && u16::from_be_bytes([method, flags]).is_multiple_of(31)
    }
}

impl Write for Deflate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            // What follows the end is ignored.
            Self::Known(decoder) => write_to_end(decoder.as_mut(), bytes).map(|_| bytes.len()),
            Self::Unknown(next, head) => {
                head.extend_from_slice(bytes);
                if let (&[first, second, ..], Some(_)) = (head.as_slice(), &next) {
                    let (head, next) = (std::mem::take(head), next.take());
                    let Some(next) = next else { return Ok(bytes.len()) };
                    let mut decoder: Box<dyn Stage> = match Self::is_zlib([first, second]) {
                        true => Box::new(ZlibDecoder::new(next)),
                        false => Box::new(DeflateDecoder::new(next)),
                    };
                    let written = write_to_end(decoder.as_mut(), &head);
                    *self = Self::Known(decoder);
                    written?;
                }
                Ok(bytes.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stage for Deflate {
    fn text(&mut self) -> &mut TextSink {
        match self {
            Self::Known(decoder) => decoder.text(),
            Self::Unknown(Some(next), _) => next.text(),
            Self::Unknown(None, _) => unreachable!("the next stage moves on only into a known decoder"),
        }
    }

    fn end(&mut self) -> io::Result<()> {
        match self {
            Self::Known(decoder) => decoder.end(),
            Self::Unknown(..) => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

#[cfg(test)]
mod tests;
