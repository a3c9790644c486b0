//! Pages of lists that are newest first: a page begins where the one before ended.

use std::borrow::Cow;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tidings_domain::time::Timestamp;
use tidings_store::history::{self, SearchedUntil};
use utoipa::openapi::schema::{ArrayBuilder, KnownFormat, ObjectBuilder, Schema, SchemaFormat, SchemaType, Type};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::error::{AppError, Result};
use crate::response::Response;

/// The page that a request asks for.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PageQuery {
    /// The most items of the page.
    #[schema(minimum = 1, maximum = 200)]
    pub limit: u32,
    /// The `nextCursor` of the page before.
    #[schema(max_length = 100)]
    pub cursor: Option<String>,
}

impl Default for PageQuery {
    fn default() -> Self {
        Self { limit: 50, cursor: None }
    }
}

impl PageQuery {
    /// The item after which the page begins.
    ///
    /// # Errors
    /// [`AppError::Invalid`] for a cursor that no page has returned.
    pub fn before<I: FromStr>(&self) -> Result<Option<I>> {
        let parse = |text: &String| {
            text.parse().map_err(|_| AppError::invalid("/cursor", "must be the nextCursor of the previous page"))
        };
        self.cursor.as_ref().map(parse).transpose()
    }

    /// Where the page of a search begins: after an item, or where a search came that ended early.
    ///
    /// # Errors
    /// [`AppError::Invalid`] for a cursor that no page has returned.
    pub fn search_start<I: FromStr>(&self) -> Result<(Option<I>, Option<SearchedUntil>)> {
        match self.cursor.as_deref().and_then(|cursor| cursor.parse().ok()) {
            Some(until) => Ok((None, Some(until))),
            None => Ok((self.before()?, None)),
        }
    }

    /// How many records to fetch: one more than the page holds, which shows whether another page follows.
    pub const fn fetch_limit(&self) -> u32 {
        self.limit + 1
    }

    /// The page of up to [`Self::fetch_limit`] records, newest first.
    pub fn page<R, V, I: ToString>(&self, records: &[R], id: impl Fn(&R) -> I, view: impl Fn(&R) -> V) -> Page<V> {
        let length = records.len().min(self.limit as usize);
        let has_more = records.len() > length;
        let next_cursor = records[..length].last().filter(|_| has_more).map(|record| id(record).to_string());
        Page { data: records[..length].iter().map(view).collect(), next_cursor, searched_until: None }
    }

    /// The page of up to [`Self::fetch_limit`] records of a search. If it ended early, the cursor goes on from there.
    pub fn search_page<R, V, I: ToString>(
        &self,
        found: &history::Page<R>,
        id: impl Fn(&R) -> I,
        view: impl Fn(&R) -> V,
    ) -> Page<V> {
        let page = self.page(&found.records, id, view);
        // A full page goes on from its last record, however far the search came.
        match found.searched_until.filter(|_| page.next_cursor.is_none()) {
            Some(until) => Page { next_cursor: Some(until.to_string()), searched_until: Some(until.at()), ..page },
            None => page,
        }
    }
}

/// A page of a list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    pub data: Vec<T>,
    /// `None` on the last page.
    pub next_cursor: Option<String>,
    /// Set if a search ended early: everything at or after this instant was searched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub searched_until: Option<Timestamp>,
}

impl<T> Page<T> {
    /// All items, of lists that are short enough for one page.
    pub const fn complete(data: Vec<T>) -> Self {
        Self { data, next_cursor: None, searched_until: None }
    }
}

impl<T: ToSchema> PartialSchema for Page<T> {
    fn schema() -> RefOr<Schema> {
        let items = Ref::from_schema_name(T::name());
        let cursor = ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
            .description(Some("The `cursor` of the next page; null on the last."));
        let until = ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .description(Some(
                "Of a search that ended early: everything at or after this instant was searched, and the cursor looks \
                 further back.",
            ));
        ObjectBuilder::new()
            .property("data", ArrayBuilder::new().items(items))
            .required("data")
            .property("nextCursor", cursor)
            .required("nextCursor")
            .property("searchedUntil", until)
            .into()
    }
}

impl<T: ToSchema> ToSchema for Page<T> {
    fn name() -> Cow<'static, str> {
        Cow::Owned(format!("{}Page", T::name()))
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(schemas);
    }
}

impl<T: Serialize + ToSchema> Response for Page<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_has_next_cursor_only_if_records_remain() {
        let query = PageQuery { limit: 2, cursor: None };
        let json_of = |records: &[u32]| serde_json::to_value(query.page(records, |r| *r, |r| *r)).unwrap();
        assert_eq!(json_of(&[9, 8, 7]), serde_json::json!({"data": [9, 8], "nextCursor": "8"}));
        assert_eq!(json_of(&[9, 8]), serde_json::json!({"data": [9, 8], "nextCursor": null}));
        assert_eq!(json_of(&[]), serde_json::json!({"data": [], "nextCursor": null}));
    }

    #[test]
    fn search_page_ended_early_has_cursor_and_instant() {
        let query = PageQuery { limit: 2, cursor: None };
        let until = SearchedUntil::from(Timestamp::from_unix_ms(1_780_000_000_000));
        let json_of = |records: &[u32], searched_until| {
            let found = history::Page { records: records.to_vec(), searched_until };
            serde_json::to_value(query.search_page(&found, |r| *r, |r| *r)).unwrap()
        };
        assert_eq!(json_of(&[9, 8, 7], None), serde_json::json!({"data": [9, 8], "nextCursor": "8"}));
        assert_eq!(json_of(&[9], None), serde_json::json!({"data": [9], "nextCursor": null}));
        let next = until.to_string();
        let early = serde_json::json!({"data": [9], "nextCursor": next, "searchedUntil": "2026-05-28T20:26:40.000Z"});
        assert_eq!(json_of(&[9], Some(until)), early);
        let continued = PageQuery { limit: 2, cursor: Some(next) };
        assert_eq!(continued.search_start::<u32>().unwrap(), (None, Some(until)));
        assert!(PageQuery { limit: 2, cursor: Some("until_-00000000000000f".into()) }.search_start::<u32>().is_err());
    }
}
