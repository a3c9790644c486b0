//! Text search: `holds_text(needle, text, …)`, an SQL function of ours.
//!
//! SQLite's `LIKE` folds the case of ASCII only, and reads `%` and `_` in what people type. This one takes every
//! character literally and folds the case of every script, as each store must.

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::ValueRef;

use crate::Result;

/// Makes the function known to this connection. The needle is given folded.
pub(super) fn register(db: &Connection) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_DIRECTONLY;
    db.create_scalar_function("holds_text", -1, flags, |values| {
        let needle = values.get_raw(0).as_str()?;
        Ok((1..values.len()).any(|index| match values.get_raw(index) {
            ValueRef::Text(text) => std::str::from_utf8(text).is_ok_and(|text| fold(text).contains(needle)),
            _ => false,
        }))
    })?;
    Ok(())
}

/// The text without differences of case: up and down again, so that `ß` meets `SS` and `ς` meets `σ`.
pub(super) fn fold(text: &str) -> String {
    if text.is_ascii() {
        text.to_ascii_lowercase()
    } else {
        text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_is_folded_in_every_script() {
        for (one, other) in [("ÜBERTRAG", "übertrag"), ("STRASSE", "straße"), ("ΟΔΟΣ", "οδος"), ("Flow", "fLOW")]
        {
            assert_eq!(fold(one), fold(other));
        }
        assert_ne!(fold("a"), fold("ä"));
    }
}
