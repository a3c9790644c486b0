//! Cursor pagination: lists are newest first, and a page begins where the one before ended.

use serde::Serialize;

/// Items in a page where the request sets no limit.
pub(crate) const LIMIT_DEFAULT: u32 = 50;
/// The largest limit of a request.
pub(crate) const LIMIT_MAX: u32 = 200;

/// The page that a request asks for.
pub(crate) struct Page<T> {
    /// Only items older than this one, whose id is the cursor.
    pub before: Option<T>,
    pub limit: u32,
}

impl<T: Copy> Page<T> {
    /// How many records to fetch: one more than the page holds, which shows whether another page follows.
    pub(crate) fn fetch_limit(&self) -> u32 {
        self.limit + 1
    }

    /// The page of up to [`Page::fetch_limit`] records, newest first.
    pub(crate) fn of<'a, R, V>(&self, records: &'a [R], id: impl Fn(&R) -> T, view: impl Fn(&'a R) -> V) -> List<V, T> {
        let length = records.len().min(self.limit as usize);
        let next_cursor = (records.len() > length).then(|| records[..length].last().map(id)).flatten();
        List { data: records[..length].iter().map(view).collect(), next_cursor }
    }
}

/// A page in a response.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct List<V, T> {
    data: Vec<V>,
    next_cursor: Option<T>,
}

impl<V> List<V, ()> {
    /// All items, for lists that are short enough for one page.
    pub(crate) fn complete(data: Vec<V>) -> Self {
        Self { data, next_cursor: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_has_next_cursor_only_if_records_remain() {
        let page = Page { before: None, limit: 2 };
        let json_of = |records: &[u32]| serde_json::to_value(page.of(records, |r| *r, |r| *r)).unwrap();
        assert_eq!(json_of(&[9, 8, 7]), serde_json::json!({"data": [9, 8], "nextCursor": 8}));
        assert_eq!(json_of(&[9, 8]), serde_json::json!({"data": [9, 8], "nextCursor": null}));
        assert_eq!(json_of(&[]), serde_json::json!({"data": [], "nextCursor": null}));
    }
}
