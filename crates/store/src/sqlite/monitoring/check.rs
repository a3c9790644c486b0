//! Checks of endpoints, stored compactly.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};
use tidings_domain::check::{AssertionResult, Certificate, Check, CheckStatus, FailureClass, Timings};
use tidings_domain::id::{CheckId, EndpointId, Id, WorkspaceId};
use tidings_domain::time::Timestamp;

use super::Refusable;
use crate::Result;
use crate::error::StoreError;
use crate::monitoring::{CheckFilter, CheckRecord};
use crate::sqlite::row::{id, instant, json, parsed, to_json};
use crate::sqlite::settings::endpoint;

/// The column `detail`: everything without a column of its own. Short names, absent values omitted, because this table
/// has the most rows.
#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
pub(super) struct Detail {
    #[serde(skip_serializing_if = "Option::is_none")]
    dns: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failure: Option<FailureClass>,
    /// The response time, if it is not `total_ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    took: Option<u32>,
    /// There is no response time.
    #[serde(skip_serializing_if = "is_false")]
    none: bool,
    /// The certificate: `not_after`, issuer, subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    cert: Option<(i64, String, String)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    asserted: Vec<AssertionResult>,
}

fn is_false(value: &bool) -> bool {
    !value
}

impl Detail {
    fn from_check(check: &Check) -> Self {
        let Timings { dns_ms, connect_ms, tls_ms, first_byte_ms, total_ms } = check.timings;
        let certificate = check.certificate.clone();
        Self {
            dns: dns_ms,
            tcp: connect_ms,
            tls: tls_ms,
            first: first_byte_ms,
            code: check.status_code,
            why: check.reason.clone(),
            failure: check.failure,
            took: check.response_time_ms.filter(|ms| *ms != total_ms),
            none: check.response_time_ms.is_none(),
            cert: certificate.map(|it| (it.not_after.unix_ms(), it.issuer, it.subject)),
            asserted: check.assertions.clone(),
        }
    }

    /// The response time of a check whose total duration is `total_ms`.
    pub(super) fn response_time_ms(&self, total_ms: u32) -> Option<u32> {
        if self.none { None } else { self.took.or(Some(total_ms)) }
    }

    fn into_check(self, checked_at: Timestamp, status: CheckStatus, total_ms: u32) -> Check {
        let certificate = |(not_after, issuer, subject)| Certificate {
            not_after: Timestamp::from_unix_ms(not_after),
            issuer,
            subject,
        };
        Check {
            checked_at,
            status,
            response_time_ms: self.response_time_ms(total_ms),
            reason: self.why,
            failure: self.failure,
            status_code: self.code,
            timings: Timings {
                dns_ms: self.dns,
                connect_ms: self.tcp,
                tls_ms: self.tls,
                first_byte_ms: self.first,
                total_ms,
            },
            certificate: self.cert.map(certificate),
            assertions: self.asserted,
        }
    }
}

/// A check with its columns encoded by the caller.
pub(super) struct EncodedCheck {
    pub(super) endpoint_id: EndpointId,
    id: CheckId,
    checked_at: i64,
    status: &'static str,
    total_ms: u32,
    detail: String,
}

impl EncodedCheck {
    pub(super) fn new(record: &CheckRecord) -> Result<Self> {
        Ok(Self {
            endpoint_id: record.endpoint_id,
            id: record.id,
            checked_at: record.check.checked_at.unix_ms(),
            status: record.check.status.as_str(),
            total_ms: record.check.timings.total_ms,
            detail: to_json(&Detail::from_check(&record.check))?,
        })
    }
}

pub(super) enum Inserted {
    /// It was inserted, for the endpoint with this number.
    New(i64),
    Duplicate,
}

/// Inserts the check and finds its endpoint in one statement, which is all that nearly every call needs.
pub(super) fn insert(db: &Connection, workspace_id: WorkspaceId, check: &EncodedCheck) -> Result<Refusable<Inserted>> {
    let mut statement = db.prepare_cached(
        "INSERT INTO endpoint_check (endpoint, sort_key, id, checked_at, status, total_ms, detail) \
         SELECT number, ?3, ?4, ?5, ?6, ?7, ?8 FROM endpoint WHERE id = ?1 AND workspace_id = ?2 \
         ON CONFLICT DO NOTHING RETURNING endpoint",
    )?;
    let values = params![
        check.endpoint_id.as_bytes(),
        workspace_id.as_bytes(),
        check.id.sort_key(),
        check.id.as_bytes(),
        check.checked_at,
        check.status,
        check.total_ms,
        check.detail,
    ];
    if let Some(endpoint) = statement.query_row(values, |row| row.get(0)).optional()? {
        return Ok(Ok(Inserted::New(endpoint)));
    }
    // Nothing was inserted: either the endpoint is missing, or its key is taken by this check or by another.
    let Some(endpoint) = endpoint::number(db, workspace_id, check.endpoint_id)? else {
        return Ok(Err(StoreError::NotFound));
    };
    let existing: CheckId = db
        .prepare_cached("SELECT id FROM endpoint_check WHERE endpoint = ? AND sort_key = ?")?
        .query_row(params![endpoint, check.id.sort_key()], |row| row.get(0).map(CheckId::from_bytes))?;
    Ok(if existing == check.id { Ok(Inserted::Duplicate) } else { Err(StoreError::Exists) })
}

/// Deletes the check that [`insert`] wrote.
pub(super) fn undo_insert(db: &Connection, endpoint: i64, check: &EncodedCheck) -> Result<()> {
    db.prepare_cached("DELETE FROM endpoint_check WHERE endpoint = ? AND sort_key = ?")?
        .execute(params![endpoint, check.id.sort_key()])?;
    Ok(())
}

pub(in crate::sqlite) fn list(
    db: &Connection,
    workspace_id: WorkspaceId,
    endpoint_id: EndpointId,
    filter: &CheckFilter,
) -> Result<Vec<CheckRecord>> {
    let Some(endpoint) = endpoint::number(db, workspace_id, endpoint_id)? else { return Ok(Vec::new()) };
    // A condition in both cases, so that the parameters are the same.
    let status = if filter.status.is_some() { "AND status = ?3" } else { "AND ?3 IS NULL" };
    let mut statement = db.prepare_cached(&format!(
        "SELECT id, checked_at, status, total_ms, detail FROM endpoint_check \
         WHERE endpoint = ?1 AND sort_key < ?2 {status} ORDER BY sort_key DESC LIMIT ?4"
    ))?;
    // Greater than every sort key.
    let before = filter.before.map_or(i64::MAX, |id| id.sort_key());
    let mut rows = statement.query(params![endpoint, before, filter.status.map(CheckStatus::as_str), filter.limit])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(CheckRecord { id: id(row, "id")?, endpoint_id, check: read(row)? });
    }
    Ok(found)
}

fn read(row: &Row<'_>) -> Result<Check> {
    let detail: Detail = json(row, "detail")?;
    let status = parsed(row, "status", CheckStatus::parse)?;
    Ok(detail.into_check(instant(row, "checked_at")?, status, row.get("total_ms")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn healthy() -> Check {
        Check {
            checked_at: Timestamp::from_unix_ms(1_780_000_000_000),
            status: CheckStatus::Healthy,
            reason: None,
            failure: None,
            status_code: Some(200),
            response_time_ms: Some(48),
            timings: Timings {
                dns_ms: Some(1),
                connect_ms: Some(9),
                tls_ms: Some(12),
                first_byte_ms: Some(40),
                total_ms: 48,
            },
            certificate: None,
            assertions: vec![],
        }
    }

    #[test]
    fn detail_of_healthy_check_is_compact() {
        assert_eq!(
            to_json(&Detail::from_check(&healthy())).unwrap(),
            r#"{"dns":1,"tcp":9,"tls":12,"first":40,"code":200}"#
        );
    }

    #[test]
    fn detail_any_response_time_round_trips() {
        for response_time_ms in [None, Some(0), Some(47), Some(48)] {
            let check = Check { response_time_ms, ..healthy() };
            let detail: Detail = serde_json::from_str(&to_json(&Detail::from_check(&check)).unwrap()).unwrap();
            assert_eq!(detail.into_check(check.checked_at, check.status, 48), check);
        }
    }
}
