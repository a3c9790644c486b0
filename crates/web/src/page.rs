//! Cursor pagination: lists are newest first, and a page begins where the one before ended.

use serde::{Serialize, Serializer};
use tidings_domain::time::Timestamp;
use tidings_store::history::{self, SearchedUntil};

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
        List { data: records[..length].iter().map(view).collect(), next_cursor, searched_until: None }
    }
}

/// The page that a request asks for of a list that is searched, and whose search may end early.
pub(crate) struct SearchPage<T> {
    /// As in [`Page::before`].
    pub before: Option<T>,
    /// The cursor of a page whose search ended early.
    pub searched_until: Option<SearchedUntil>,
    pub limit: u32,
}

impl<T: Copy> SearchPage<T> {
    /// See [`Page::fetch_limit`].
    pub(crate) fn fetch_limit(&self) -> u32 {
        self.limit + 1
    }

    /// The page of up to [`Self::fetch_limit`] records, newest first. If the search ended early, the cursor looks
    /// further back.
    pub(crate) fn of<'a, R, V>(
        &self,
        page: &'a history::Page<R>,
        id: impl Fn(&R) -> T,
        view: impl Fn(&'a R) -> V,
    ) -> List<V, Cursor<T>> {
        let List { data, next_cursor, .. } =
            Page { before: self.before, limit: self.limit }.of(&page.records, id, view);
        // A full page goes on from its last record, however far the search came.
        let searched_until = page.searched_until.filter(|_| next_cursor.is_none());
        let next_cursor = next_cursor.map(Cursor::After).or(searched_until.map(Cursor::SearchedUntil));
        List { data, next_cursor, searched_until: searched_until.map(SearchedUntil::at) }
    }
}

/// Where the next page of a search begins.
pub(crate) enum Cursor<T> {
    /// After the item with this id.
    After(T),
    SearchedUntil(SearchedUntil),
}

impl<T: Serialize> Serialize for Cursor<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::After(id) => id.serialize(serializer),
            Self::SearchedUntil(until) => serializer.collect_str(until),
        }
    }
}

/// A page in a response.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct List<V, T> {
    data: Vec<V>,
    next_cursor: Option<T>,
    /// Set if the search ended early: everything at or after this instant was searched.
    #[serde(skip_serializing_if = "Option::is_none")]
    searched_until: Option<Timestamp>,
}

impl<V> List<V, ()> {
    /// All items, for lists that are short enough for one page.
    pub(crate) fn complete(data: Vec<V>) -> Self {
        Self { data, next_cursor: None, searched_until: None }
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

    #[test]
    fn search_page_ended_early_has_cursor_and_instant() {
        let page = SearchPage { before: None, searched_until: None, limit: 2 };
        let until = SearchedUntil::from(Timestamp::from_unix_ms(1_780_000_000_000));
        let json_of = |records: &[u32], searched_until| {
            let records = history::Page { records: records.to_vec(), searched_until };
            serde_json::to_value(page.of(&records, |r| *r, |r| *r)).unwrap()
        };
        assert_eq!(json_of(&[9, 8, 7], None), serde_json::json!({"data": [9, 8], "nextCursor": 8}));
        assert_eq!(json_of(&[9], None), serde_json::json!({"data": [9], "nextCursor": null}));
        let early = serde_json::json!(
            {"data": [9], "nextCursor": until.to_string(), "searchedUntil": "2026-05-28T20:26:40.000Z"}
        );
        assert_eq!(json_of(&[9], Some(until)), early);
        assert_eq!(until.to_string().parse(), Ok(until));
    }
}
