//! Lists in pages: newest first, from where the last page ended.

use serde::Serialize;

/// How many items a page has where nothing is said.
pub(crate) const LIMIT_DEFAULT: u32 = 50;
/// How many it may have.
pub(crate) const LIMIT_MAX: u32 = 200;

/// Which part of a list is wanted.
pub(crate) struct Page<T> {
    /// What is older than this.
    pub before: Option<T>,
    /// At most so many.
    pub limit: u32,
}

impl<T: Copy> Page<T> {
    /// How many to ask for: one more than is shown, to know whether there is another page.
    pub(crate) fn wanted(&self) -> u32 {
        self.limit + 1
    }

    /// The page, of up to [`Page::wanted`] records.
    pub(crate) fn of<'a, R, V>(&self, records: &'a [R], id: impl Fn(&R) -> T, view: impl Fn(&'a R) -> V) -> List<V, T> {
        let shown = records.len().min(self.limit as usize);
        let next_cursor = (records.len() > shown).then(|| records[..shown].last().map(id)).flatten();
        List { data: records[..shown].iter().map(view).collect(), next_cursor }
    }
}

/// A page as it is answered.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct List<V, T> {
    data: Vec<V>,
    next_cursor: Option<T>,
}

impl<V> List<V, ()> {
    /// All there is, in one page.
    pub(crate) fn whole(data: Vec<V>) -> Self {
        Self { data, next_cursor: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_given_only_where_there_is_more() {
        let page = Page { before: None, limit: 2 };
        let shown = |records: &[u32]| serde_json::to_value(page.of(records, |r| *r, |r| *r)).unwrap();
        assert_eq!(shown(&[9, 8, 7]), serde_json::json!({"data": [9, 8], "nextCursor": 8}));
        assert_eq!(shown(&[9, 8]), serde_json::json!({"data": [9, 8], "nextCursor": null}));
        assert_eq!(shown(&[]), serde_json::json!({"data": [], "nextCursor": null}));
    }
}
