//! Text search: `holds_text(needle, text, …)`, an SQL function of our own.
//!
//! SQLite's `LIKE` folds only ASCII case and interprets `%` and `_` in the search text. This function takes every
//! character literally and folds case in every script, which the conformance suite demands of each backend.

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::ValueRef;

use crate::Result;

/// Registers the function with this connection. The needle must be folded already; the texts are folded by the
/// function.
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

/// The text without differences of case: to upper case and back, so that `ß` equals `SS` and `ς` equals `σ`.
pub(crate) fn fold(text: &str) -> String {
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
    fn fold_any_script_ignores_case() {
        for (one, other) in [("ÜBERTRAG", "übertrag"), ("STRASSE", "straße"), ("ΟΔΟΣ", "οδος"), ("Flow", "fLOW")]
        {
            assert_eq!(fold(one), fold(other));
        }
        assert_ne!(fold("a"), fold("ä"));
    }
}
