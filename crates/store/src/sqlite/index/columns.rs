//! The encoding of a block: columns of dictionary codes, and texts that are searched as one piece of memory.
//!
//! A column is a dictionary of the block's distinct values and, for each row, a code into it. A column with one value
//! needs no codes, one with up to 256 values a byte each; a column in which nearly all rows have the same value lists the
//! others. The dictionaries of all columns are one blob (the *values*), small enough to be read first: most blocks are
//! passed over because a value is not in them. Then come the *codes* of all columns, and the *keys* of the rows, which are
//! read only if the codes leave a row.

use std::collections::HashMap;

use memchr::{memchr, memchr_iter, memmem};

use crate::Result;
use crate::error::StoreError;
use crate::sqlite::row::corrupt;

/// How the codes of a column with several values are written.
const BYTES: u8 = 0;
const WORDS: u8 = 1;
/// The code that most rows have, then the rows with another one.
const OTHERS: u8 = 2;
/// Bytes of such a row.
const OTHER_BYTES: usize = 4;

/// Ends each text of a dictionary of texts. No UTF-8 text contains this byte, so that no search text does.
const END: u8 = 0xff;
/// Separates the parts of one text.
pub(super) const PART: u8 = 0xfe;

/// A hash of a value, kept in files: it must not change. Values with the same hash are distinguished when the rows are
/// read.
pub(in crate::sqlite) fn hash(value: &[u8]) -> u64 {
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |hash: u64, word: u64| {
        let hash = (hash ^ word).wrapping_mul(MULTIPLIER);
        hash ^ hash >> 29
    };
    let (words, rest) = value.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let hash = words.iter().fold(value.len() as u64, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    mix(mix(hash, u64::from_le_bytes(last)), MULTIPLIER)
}

/// The codes of one column while a block is built.
#[derive(Default)]
struct Codes {
    known: HashMap<u64, u16>,
    of_rows: Vec<u16>,
    /// The value of the row before, which is nearly always that of the next one.
    last: Option<(u64, u16)>,
}

impl Codes {
    /// Adds a row. Returns whether its value is new in this block.
    fn push(&mut self, value: u64) -> bool {
        if let Some((last, code)) = self.last
            && last == value
        {
            self.of_rows.push(code);
            return false;
        }
        let next = self.known.len() as u16;
        let code = *self.known.entry(value).or_insert(next);
        self.last = Some((value, code));
        self.of_rows.push(code);
        code == next
    }

    fn write(&self, into: &mut Vec<u8>) {
        if self.known.len() <= 1 {
            return;
        }
        let others: Vec<(usize, u16)> = self.others().collect();
        if others.len() * OTHER_BYTES < self.of_rows.len() {
            into.push(OTHERS);
            write_u32(into, others.len());
            into.extend(self.usual().to_le_bytes());
            for (row, code) in others {
                into.extend((row as u16).to_le_bytes());
                into.extend(code.to_le_bytes());
            }
        } else if self.known.len() <= 256 {
            into.push(BYTES);
            into.extend(self.of_rows.iter().map(|code| *code as u8));
        } else {
            into.push(WORDS);
            into.extend(self.of_rows.iter().flat_map(|code| code.to_le_bytes()));
        }
    }

    /// The code that most rows have.
    fn usual(&self) -> u16 {
        let mut counts = vec![0u32; self.known.len()];
        for code in &self.of_rows {
            counts[usize::from(*code)] += 1;
        }
        let most = counts.iter().enumerate().max_by_key(|(_, count)| **count);
        most.map_or(0, |(code, _)| code as u16)
    }

    /// The rows that have another code.
    fn others(&self) -> impl Iterator<Item = (usize, u16)> {
        let usual = self.usual();
        // A row number has 16 bits; no block has more rows.
        self.of_rows.iter().copied().enumerate().filter(move |(_, code)| *code != usual)
    }
}

/// Several columns of values while a block is built.
pub(super) struct ColumnsBuilder<const N: usize> {
    columns: [(Codes, Vec<u64>); N],
    /// Two keys of each row: the one by which the rows are ordered, and the row's own.
    keys: Vec<(i64, i64)>,
}

impl<const N: usize> Default for ColumnsBuilder<N> {
    fn default() -> Self {
        Self { columns: std::array::from_fn(|_| Default::default()), keys: Vec::new() }
    }
}

impl<const N: usize> ColumnsBuilder<N> {
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// By what the last row is ordered.
    pub(super) fn last(&self) -> Option<i64> {
        self.keys.last().map(|(order, _)| *order)
    }

    /// Adds a row. Rows are added in the order of their keys.
    pub(super) fn push(&mut self, keys: (i64, i64), values: [u64; N]) {
        self.keys.push(keys);
        for ((codes, dictionary), value) in self.columns.iter_mut().zip(values) {
            if codes.push(value) {
                dictionary.push(value);
            }
        }
    }

    pub(super) fn finish(self) -> Columns {
        let (mut values, mut codes, mut keys) = (Vec::new(), Vec::new(), Vec::with_capacity(self.keys.len() * 8));
        write_u32(&mut codes, self.keys.len());
        for (of_rows, dictionary) in &self.columns {
            write_u32(&mut values, dictionary.len());
            values.extend(dictionary.iter().flat_map(|value| value.to_le_bytes()));
            of_rows.write(&mut codes);
        }
        let mut before = 0;
        for (order, own) in self.keys {
            // Small numbers: the order rises, and a row is made soon after what orders it.
            write_varint(&mut keys, order.wrapping_sub(before));
            write_varint(&mut keys, own.wrapping_sub(order));
            before = order;
        }
        Columns { values, codes, keys }
    }
}

/// Encoded columns.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Columns {
    pub(super) values: Vec<u8>,
    pub(super) codes: Vec<u8>,
    pub(super) keys: Vec<u8>,
}

fn write_u32(into: &mut Vec<u8>, number: usize) {
    into.extend((number as u32).to_le_bytes());
}

/// Seven bits a byte, the lowest first, of the zigzag form, so that small negative numbers are short, too.
fn write_varint(into: &mut Vec<u8>, number: i64) {
    let mut left = (number << 1 ^ number >> 63) as u64;
    while left >= 0x80 {
        into.push(left as u8 | 0x80);
        left >>= 7;
    }
    into.push(left as u8);
}

/// Reads what the builders wrote. Every read is checked: a damaged block is an error, not a panic.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, left) = self.0.split_at_checked(length).ok_or_else(|| damaged("is too short"))?;
        self.0 = left;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<usize> {
        let bytes = self.take(4)?.try_into().map_err(|_| damaged("is too short"))?;
        Ok(u32::from_le_bytes(bytes) as usize)
    }

    fn varint(&mut self) -> Result<i64> {
        let (mut number, mut shift) = (0u64, 0);
        loop {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((number >> 1) as i64 ^ -((number & 1) as i64));
            }
            shift += 7;
            if shift > 63 {
                return Err(damaged("holds a number that is too long"));
            }
        }
    }

    /// The codes of a column with this many distinct values.
    fn codes(&mut self, rows: usize, values: usize) -> Result<RowCodes<'a>> {
        if values <= 1 {
            return Ok(RowCodes::Others { usual: 0, others: &[] });
        }
        Ok(match self.take(1)?[0] {
            BYTES => RowCodes::Bytes(self.take(rows)?),
            WORDS => RowCodes::Words(self.take(rows * 2)?.as_chunks().0),
            OTHERS => {
                let count = self.u32()?;
                let usual = u16::from_le_bytes(self.take(2)?.try_into().map_err(|_| damaged("is too short"))?);
                RowCodes::Others { usual, others: self.take(count * OTHER_BYTES)?.as_chunks().0 }
            }
            _ => return Err(damaged("has an unknown kind of column")),
        })
    }
}

fn damaged(how: &str) -> StoreError {
    corrupt("history_block", how)
}

/// For each row its code in a column.
#[derive(Clone, Copy)]
enum RowCodes<'a> {
    Bytes(&'a [u8]),
    Words(&'a [[u8; 2]]),
    /// All rows have the usual code, but those of these numbers, with their codes.
    Others {
        usual: u16,
        others: &'a [[u8; OTHER_BYTES]],
    },
}

impl RowCodes<'_> {
    /// Unselects the rows whose code is not wanted.
    fn retain(self, selected: &mut [bool], is_wanted: impl Fn(usize) -> bool) {
        match self {
            Self::Bytes(codes) => {
                selected.iter_mut().zip(codes).for_each(|(is, code)| *is &= is_wanted(usize::from(*code)));
            }
            Self::Words(codes) => {
                let code = |bytes: &[u8; 2]| usize::from(u16::from_le_bytes(*bytes));
                selected.iter_mut().zip(codes).for_each(|(is, bytes)| *is &= is_wanted(code(bytes)));
            }
            Self::Others { usual, others } => {
                let is_usual_wanted = is_wanted(usize::from(usual));
                let were: Vec<(usize, bool)> = others
                    .iter()
                    .filter_map(|[row_low, row_high, code_low, code_high]| {
                        let row = usize::from(u16::from_le_bytes([*row_low, *row_high]));
                        let code = u16::from_le_bytes([*code_low, *code_high]);
                        Some((row, *selected.get(row)? && is_wanted(usize::from(code))))
                    })
                    .collect();
                if !is_usual_wanted {
                    selected.fill(false);
                }
                for (row, is) in were {
                    selected[row] = is;
                }
            }
        }
    }
}

/// Which values each column may have; `None` for any.
pub(in crate::sqlite) type Wanted<const N: usize> = [Option<Vec<u64>>; N];

/// For each column, how many values it has, and which codes are wanted; `None` for all.
pub(in crate::sqlite) struct Selection<const N: usize>([(usize, Option<Vec<usize>>); N]);

impl<const N: usize> Selection<N> {
    /// `None` if no row of the block can match.
    pub(in crate::sqlite) fn of(values: &[u8], wanted: &Wanted<N>) -> Result<Option<Self>> {
        let mut reader = Reader(values);
        let mut columns = std::array::from_fn(|_| (0, None));
        for (column, wanted) in columns.iter_mut().zip(wanted) {
            let count = reader.u32()?;
            let dictionary = reader.take(count * 8)?.as_chunks::<8>().0;
            *column = (count, None);
            if let Some(wanted) = wanted {
                let value = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
                let found = dictionary.iter().enumerate().filter(|(_, bytes)| wanted.contains(&value(bytes)));
                let codes: Vec<usize> = found.map(|(code, _)| code).collect();
                if codes.is_empty() {
                    return Ok(None);
                }
                column.1 = Some(codes);
            }
        }
        Ok(Some(Self(columns)))
    }

    /// For each row whether it matches and `also` is set; `None` if no row does.
    pub(in crate::sqlite) fn rows(&self, codes: &[u8], also: Option<Vec<bool>>) -> Result<Option<Vec<bool>>> {
        let mut reader = Reader(codes);
        let count = reader.u32()?;
        let mut selected = also.unwrap_or_else(|| vec![true; count]);
        selected.resize(count, false);
        for (values, wanted) in &self.0 {
            let codes = reader.codes(count, *values)?;
            match wanted.as_deref() {
                None => {}
                Some([one]) => codes.retain(&mut selected, |code| code == *one),
                Some(wanted) => codes.retain(&mut selected, |code| wanted.contains(&code)),
            }
        }
        Ok(selected.contains(&true).then_some(selected))
    }
}

/// The keys of the selected rows, in their order.
pub(in crate::sqlite) fn selected_keys(keys: &[u8], selected: &[bool]) -> Result<Vec<(i64, i64)>> {
    let mut reader = Reader(keys);
    let (mut found, mut before) = (Vec::new(), 0i64);
    for is_selected in selected {
        let order = before.wrapping_add(reader.varint()?);
        let own = order.wrapping_add(reader.varint()?);
        before = order;
        if *is_selected {
            found.push((order, own));
        }
    }
    Ok(found)
}

/// Several columns of texts while a block is built.
pub(super) struct TextsBuilder<const N: usize> {
    columns: [(Codes, Vec<u8>); N],
}

impl<const N: usize> Default for TextsBuilder<N> {
    fn default() -> Self {
        Self { columns: std::array::from_fn(|_| Default::default()) }
    }
}

impl<const N: usize> TextsBuilder<N> {
    /// Adds a row to a column. `key` distinguishes its text from others; `text` is called if it is new in this block.
    pub(super) fn push(&mut self, column: usize, key: u64, write: impl FnOnce(&mut Vec<u8>)) {
        let (codes, texts) = &mut self.columns[column];
        if codes.push(key) {
            write(texts);
            texts.push(END);
        }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        let rows = self.columns[0].0.of_rows.len();
        let length = self.columns.iter().map(|(_, texts)| texts.len() + rows * 2 + 8).sum();
        let mut into = Vec::with_capacity(length);
        write_u32(&mut into, rows);
        for (codes, texts) in &self.columns {
            write_u32(&mut into, codes.known.len());
            write_u32(&mut into, texts.len());
            into.extend(texts);
            codes.write(&mut into);
        }
        into
    }
}

/// Unselects the rows none of whose texts contains the needle, and returns whether one is left. `also` is a text of the
/// last column with which rows stay selected, whatever else they contain.
pub(in crate::sqlite) fn search<const N: usize>(
    texts: &[u8],
    needle: &memmem::Finder<'_>,
    also: &[u8],
    selected: &mut [bool],
) -> Result<bool> {
    let mut reader = Reader(texts);
    let rows = reader.u32()?;
    let mut found_rows = vec![false; rows];
    for column in 0..N {
        let (count, length) = (reader.u32()?, reader.u32()?);
        let texts = reader.take(length)?;
        let codes = reader.codes(rows, count)?;
        let mut found = matching_texts(texts, needle);
        if column + 1 == N {
            found.extend(texts.split(|byte| *byte == END).position(|text| text == also));
        }
        if found.is_empty() {
            continue;
        }
        let mut is_found = vec![false; count];
        for code in found {
            if let Some(is_found) = is_found.get_mut(code) {
                *is_found = true;
            }
        }
        let mut of_column = vec![true; rows];
        codes.retain(&mut of_column, |code| is_found.get(code).copied().unwrap_or(false));
        found_rows.iter_mut().zip(of_column).for_each(|(is, this)| *is |= this);
    }
    let found_rows = found_rows.into_iter().chain(std::iter::repeat(false));
    selected.iter_mut().zip(found_rows).for_each(|(is, found)| *is &= found);
    Ok(selected.contains(&true))
}

/// The numbers of the texts that contain the needle.
fn matching_texts(texts: &[u8], needle: &memmem::Finder<'_>) -> Vec<usize> {
    let (mut found, mut number, mut from) = (Vec::new(), 0, 0);
    while let Some(at) = needle.find(&texts[from..]) {
        let at = from + at;
        number += memchr_iter(END, &texts[from..at]).count();
        found.push(number);
        let Some(end) = memchr(END, &texts[at..]) else { break };
        (number, from) = (number + 1, at + end + 1);
    }
    found
}

#[cfg(test)]
mod tests;
