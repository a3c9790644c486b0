//! Pages of lists that are newest first: a page begins where the one before ended.

use std::borrow::Cow;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, SchemaType, Type};
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

    /// How many records to fetch: one more than the page holds, which shows whether another page follows.
    pub const fn fetch_limit(&self) -> u32 {
        self.limit + 1
    }

    /// The page of up to [`Self::fetch_limit`] records, newest first.
    pub fn page<R, V, I: ToString>(&self, records: &[R], id: impl Fn(&R) -> I, view: impl Fn(&R) -> V) -> Page<V> {
        let length = records.len().min(self.limit as usize);
        let has_more = records.len() > length;
        let next_cursor = records[..length].last().filter(|_| has_more).map(|record| id(record).to_string());
        Page { data: records[..length].iter().map(view).collect(), next_cursor }
    }
}

/// A page of a list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    pub data: Vec<T>,
    /// `None` on the last page.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// All items, of lists that are short enough for one page.
    pub const fn complete(data: Vec<T>) -> Self {
        Self { data, next_cursor: None }
    }
}

impl<T: ToSchema> PartialSchema for Page<T> {
    fn schema() -> RefOr<Schema> {
        let items = Ref::from_schema_name(T::name());
        let cursor = ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
            .description(Some("The `cursor` of the next page; null on the last."));
        ObjectBuilder::new()
            .property("data", ArrayBuilder::new().items(items))
            .required("data")
            .property("nextCursor", cursor)
            .required("nextCursor")
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
}
