//! The last stage of decoding: from bytes to text, of which the beginning is kept and some is searched.

use std::io::{self, Write};

use encoding_rs::{CoderResult, Decoder, Encoding, UTF_8, WINDOWS_1252};

use super::{Stage, Wanted};
use crate::http_channel::Secrets;

/// How much of a body without a declared charset is examined for one. The HTML standard asks for 1,024 bytes.
pub(super) const SNIFFED_BYTES: usize = 4 * 1_024;
/// Text is decoded and searched in pieces of this size.
const PIECE_BYTES: usize = 8 * 1_024;
/// After this number of searches, a text in small pieces is only searched whenever this much of it has arrived.
pub(super) const SEARCHES_AT_ONCE_MAX: usize = 4_096;
pub(super) const SEARCHED_AT_ONCE_BYTES: usize = 1_024;

/// The last stage: decodes the charset, keeps the beginning of the text and searches it.
pub(super) struct TextSink {
    charset: Charset,
    pub(super) kept: String,
    pub(super) kept_max: usize,
    searched_max: usize,
    /// Bytes of text so far.
    pub(super) seen_bytes: usize,
    /// Nothing more is wanted.
    pub(super) is_satisfied: bool,
    pub(super) search: Search,
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
    pub(super) fn new(declared: Option<&'static Encoding>, wanted: Wanted, secrets: Secrets) -> Self {
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
    pub(super) fn end_text(&mut self) {
        self.decide();
        self.decode(&[], true);
        self.search.push("", &self.secrets, true);
    }

    /// Whether `kept` is all of the text.
    pub(super) fn keeps_all(&self) -> bool {
        !self.is_satisfied && self.kept.len() == self.seen_bytes
    }

    pub(super) fn take_kept(&mut self) -> String {
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
pub(super) struct Search {
    /// The texts that were not found yet.
    pub(super) left: Vec<String>,
    pub(super) found: Vec<String>,
    window: String,
    /// Bytes of the longest text.
    text_bytes_max: usize,
    /// Bytes of the window that were not searched yet.
    unsearched: usize,
    /// Searches so far.
    pub(super) searches: usize,
    /// Bytes of the longest secret. A text that is part of a secret must not be found: the caller may guess.
    secret_bytes_max: usize,
}

impl Search {
    pub(super) fn new(texts: Vec<String>, secret_bytes_max: usize) -> Self {
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

    pub(super) fn push(&mut self, text: &str, secrets: &Secrets, is_last: bool) {
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
pub(super) fn declared_charset(content_type: &str) -> Option<&'static Encoding> {
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
