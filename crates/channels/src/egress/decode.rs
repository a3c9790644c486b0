//! Decodes HTTP bodies into text: first the content codings, then the charset. The probes' responses and the excerpts
//! of the channels' responses both pass here.
//!
//! Everything streams. Compressed input is unpacked piece by piece into [`TextSink`], which refuses more as soon as it has
//! what is wanted. So a small body that unpacks to gigabytes costs no more than the caps in [`Wanted`].

mod gzip;

use std::io::{self, Write};

use encoding_rs::{CoderResult, Decoder, Encoding, UTF_8, WINDOWS_1252};
use flate2::write::{DeflateDecoder, GzDecoder, ZlibDecoder};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use tidings_domain::check::{Body, BodyFault};

use crate::http_channel::Secrets;
use gzip::Gzip;

/// The content codings that are decoded: what `Accept-Encoding` asks for.
pub const ACCEPTED_CODINGS: &str = "gzip, deflate";
/// Codings one over the other, at most.
const CODINGS_MAX: usize = 3;
/// How much longer than the text its packed form within another coding may be.
const INNER_SLACK_BYTES: usize = 64 * 1_024;
/// How much of a body without a declared charset is examined for one. The HTML standard asks for 1,024 bytes.
const SNIFFED_BYTES: usize = 4 * 1_024;
/// Text is decoded and searched in pieces of this size.
const PIECE_BYTES: usize = 8 * 1_024;

/// After this number of searches, a text in small pieces is only searched whenever this much of it has arrived.
const SEARCHES_AT_ONCE_MAX: usize = 4_096;
const SEARCHED_AT_ONCE_BYTES: usize = 1_024;

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

/// The last stage: decodes the charset, keeps the beginning of the text and searches it.
struct TextSink {
    charset: Charset,
    kept: String,
    kept_max: usize,
    searched_max: usize,
    /// Bytes of text so far.
    seen_bytes: usize,
    /// Nothing more is wanted.
    is_satisfied: bool,
    search: Search,
    secrets: Secrets,
}

enum Charset {
    /// The beginning of a body without a declared charset.
    Unknown(Vec<u8>),
    /// Nothing declares one, and all bytes so far are ASCII, which is the same in every charset that is likely.
    Ascii,
    Known(Box<Decoder>),
    Ended,
}

impl Charset {
    fn of(charset: &'static Encoding) -> Self {
        // The decoder itself follows a byte order mark, which takes precedence over the declaration.
        Self::Known(Box::new(charset.new_decoder()))
    }
}

impl TextSink {
    fn new(declared: Option<&'static Encoding>, wanted: Wanted, secrets: Secrets) -> Self {
        let Wanted { kept_max, searched_max, texts } = wanted;
        Self {
            charset: declared.map_or_else(|| Charset::Unknown(Vec::new()), Charset::of),
            kept: String::new(),
            kept_max,
            searched_max: searched_max.max(kept_max),
            seen_bytes: 0,
            is_satisfied: false,
            search: Search::new(texts, secrets.bytes_max()),
            secrets,
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        match &mut self.charset {
            Charset::Unknown(beginning) => {
                beginning.extend_from_slice(bytes);
                if beginning.len() >= SNIFFED_BYTES {
                    self.decide();
                }
            }
            Charset::Ascii => match std::str::from_utf8(bytes) {
                Ok(text) if text.is_ascii() => self.take(text),
                _ => {
                    self.charset = Charset::of(undeclared_charset(bytes));
                    self.decode(bytes, false);
                }
            },
            Charset::Known(_) => self.decode(bytes, false),
            Charset::Ended => {}
        }
    }

    /// Decides on the charset by the beginning of the body, and decodes that.
    fn decide(&mut self) {
        let Charset::Unknown(beginning) = &mut self.charset else { return };
        let beginning = std::mem::take(beginning);
        let declared =
            Encoding::for_bom(&beginning).map(|(charset, _)| charset).or_else(|| embedded_charset(&beginning));
        self.charset = declared.map_or(Charset::Ascii, Charset::of);
        self.push(&beginning);
    }

    /// Decodes bytes whose charset is known; `is_last` ends the text.
    fn decode(&mut self, mut bytes: &[u8], is_last: bool) {
        let Charset::Known(mut decoder) = std::mem::replace(&mut self.charset, Charset::Ended) else { return };
        let mut piece = String::with_capacity(PIECE_BYTES);
        loop {
            piece.clear();
            let (result, read, _) = decoder.decode_to_string(bytes, &mut piece, is_last);
            bytes = &bytes[read..];
            self.take(&piece);
            if result == CoderResult::InputEmpty || self.is_satisfied {
                break;
            }
        }
        if !is_last {
            self.charset = Charset::Known(decoder);
        }
    }

    fn take(&mut self, text: &str) {
        let space = self.searched_max - self.seen_bytes;
        let is_cut = text.len() > space;
        let text = if is_cut { &text[..text.floor_char_boundary(space)] } else { text };
        // Not if it was cut before: `kept` has no gap.
        if self.kept.len() == self.seen_bytes {
            let space = self.kept_max - self.kept.len();
            self.kept.push_str(&text[..text.floor_char_boundary(space.min(text.len()))]);
        }
        self.seen_bytes += text.len();
        self.search.push(text, &self.secrets, false);
        // For good: the end of the text, which adds nothing, must not undo it.
        self.is_satisfied |= is_cut || self.search.left.is_empty() && self.seen_bytes > self.kept.len();
    }

    /// Ends the text.
    fn end_text(&mut self) {
        self.decide();
        self.decode(&[], true);
        self.search.push("", &self.secrets, true);
    }

    /// Whether `kept` is all of the text.
    fn keeps_all(&self) -> bool {
        !self.is_satisfied && self.kept.len() == self.seen_bytes
    }

    fn take_kept(&mut self) -> String {
        let mut kept = std::mem::take(&mut self.kept).into_bytes();
        self.secrets.scrub(&mut kept);
        String::from_utf8(kept).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }
}

impl Write for TextSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_satisfied {
            // Stops the decoders before it.
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stage for TextSink {
    fn text(&mut self) -> &mut TextSink {
        self
    }

    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Searches a text that arrives in pieces, with a window over what may still become part of a match.
struct Search {
    /// The texts that were not found yet.
    left: Vec<String>,
    found: Vec<String>,
    window: String,
    /// Bytes of the longest text.
    text_bytes_max: usize,
    /// Bytes of the window that were not searched yet.
    unsearched: usize,
    /// Searches so far.
    searches: usize,
    /// Bytes of the longest secret. A text that is part of a secret must not be found: the caller may guess.
    secret_bytes_max: usize,
}

impl Search {
    fn new(texts: Vec<String>, secret_bytes_max: usize) -> Self {
        let text_bytes_max = texts.iter().map(String::len).max().unwrap_or(0);
        Self {
            left: texts,
            found: Vec::new(),
            window: String::new(),
            unsearched: 0,
            searches: 0,
            text_bytes_max,
            secret_bytes_max,
        }
    }

    fn push(&mut self, text: &str, secrets: &Secrets, is_last: bool) {
        if self.left.is_empty() {
            return;
        }
        self.window.push_str(text);
        self.unsearched += text.len();
        // Each search reads the whole window: a body in chunks of one byte would cost minutes.
        if !is_last && self.unsearched < SEARCHED_AT_ONCE_BYTES && self.searches >= SEARCHES_AT_ONCE_MAX {
            return;
        }
        (self.unsearched, self.searches) = (0, self.searches + 1);
        let mut end = self.window.len();
        if self.secret_bytes_max > 0 {
            let mut window = std::mem::take(&mut self.window).into_bytes();
            secrets.scrub(&mut window);
            self.window = String::from_utf8_lossy(&window).into_owned();
            // What may be the beginning of a secret is searched when the next piece shows whether it is.
            let held_back = if is_last { 0 } else { self.secret_bytes_max - 1 };
            end = self.window.floor_char_boundary(self.window.len().saturating_sub(held_back));
        }
        let searched = &self.window[..end];
        let (found, left): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.left).into_iter().partition(|text| searched.contains(text.as_str()));
        self.found.extend(found);
        self.left = left;
        let kept_from = self.window.floor_char_boundary(end.saturating_sub(self.text_bytes_max.saturating_sub(1)));
        self.window.drain(..kept_from);
    }
}

/// The `charset` of a `Content-Type`, if it is one that is known.
fn declared_charset(content_type: &str) -> Option<&'static Encoding> {
    let parameters = content_type.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let mut charsets = parameters.filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
    charsets.find_map(|(_, value)| charset_named(value.trim().trim_matches(['"', '\''])))
}

fn charset_named(label: &str) -> Option<&'static Encoding> {
    Encoding::for_label_no_replacement(label.as_bytes())
}

/// The charset that a document itself declares: `<meta charset>`, `<meta http-equiv>` or an XML declaration.
fn embedded_charset(beginning: &[u8]) -> Option<&'static Encoding> {
    let head = String::from_utf8_lossy(&beginning[..beginning.len().min(SNIFFED_BYTES)]).to_ascii_lowercase();
    let xml = head.trim_start().strip_prefix("<?xml").and_then(|rest| rest.split("?>").next());
    let of_xml = xml.and_then(|declaration| value_after(declaration, "encoding"));
    let metas = head.match_indices("<meta").map(|(at, _)| head[at..].split('>').next().unwrap_or_default());
    let label = of_xml.or_else(|| metas.filter_map(|meta| value_after(meta, "charset")).next())?;
    let charset = charset_named(label)?;
    // What was readable as ASCII up to here is not UTF-16 (HTML standard, 13.2.3.2).
    Some(if charset.is_ascii_compatible() { charset } else { UTF_8 })
}

/// The value of `name=value`, with or without quotes and blanks.
fn value_after<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.match_indices(name).find_map(|(at, _)| {
        let value = text[at + name.len()..].trim_start().strip_prefix('=')?;
        let value = value.trim_start().trim_start_matches(['"', '\'']);
        let end = value.find(|c: char| c.is_whitespace() || "\"';>/?".contains(c)).unwrap_or(value.len());
        (end > 0).then(|| &value[..end])
    })
}

/// The charset of a text that declares none: UTF-8 if it can be, else what browsers take for it. The last character may
/// be cut off.
fn undeclared_charset(bytes: &[u8]) -> &'static Encoding {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_some() => WINDOWS_1252,
        _ => UTF_8,
    }
}

#[cfg(test)]
mod tests;
