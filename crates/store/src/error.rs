//! Errors of store operations.

/// Why an operation failed. None of it was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The row to change, or one that it refers to, does not exist.
    #[error("not found")]
    NotFound,
    /// The row to create exists.
    #[error("already exists")]
    Exists,
    /// The row is at another revision than the caller expected, or in a state that does not allow the operation.
    #[error("conflict: the row has changed, or its state does not allow this")]
    Conflict,
    /// Another row still refers to the one to delete.
    #[error("still in use")]
    InUse,
    /// The workspace would be left without an owner.
    #[error("the workspace would have no owner left")]
    LastOwner,
    /// A history read was interrupted because it exceeded its time limit.
    #[error("the search took longer than {seconds} s")]
    TooSlow {
        /// The time limit.
        seconds: u64,
    },
    /// A search ended for lack of time before it had found anything.
    #[error("the search takes too long")]
    SearchCut,
    /// A history read found all connections busy for the whole time limit.
    #[error("too many concurrent searches")]
    Busy,
    /// The store is closing or closed.
    #[error("the store is closed")]
    Closed,
    /// A value cannot be stored, or a stored one cannot be decoded.
    #[error("value cannot be encoded or decoded: {0}")]
    Corrupt(String),
    /// The data was written by a newer version of Tidings.
    #[error("the data has schema version {found}, this program supports up to {known}: use a newer Tidings")]
    TooNew {
        /// The schema version of the data.
        found: u32,
        /// The newest schema version that this program supports.
        known: u32,
    },
    /// The data was written by an unreleased build with another schema.
    #[error(
        "the data directory {0} was made by an unreleased build of Tidings with another schema, which this one cannot \
         read: run that build on it, or name an empty directory (--data-dir)"
    )]
    OtherSchema(String),
    /// Another process has the data directory locked.
    #[error("another process is using the data directory {0}: stop it, or name another directory")]
    Locked(String),
    /// The operation hit a bug in this program.
    #[error("defect: {0}")]
    Defect(String),
    /// The database failed.
    #[error("database: {0}")]
    Database(String),
}

impl StoreError {
    /// Whether the database as a whole failed, rather than one operation: every operation of the batch would fail
    /// alike.
    pub(crate) fn is_database_failure(&self) -> bool {
        matches!(self, Self::Database(_))
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ffi;
        match error.sqlite_error().map(|raw| raw.extended_code) {
            // Deletions look for references themselves (`InUse`), so a failing foreign key is always a new row whose
            // target is missing.
            Some(ffi::SQLITE_CONSTRAINT_FOREIGNKEY) => Self::NotFound,
            Some(ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_UNIQUE) => Self::Exists,
            Some(code) if code & 0xff == ffi::SQLITE_CONSTRAINT => Self::Corrupt(error.to_string()),
            _ => Self::Database(error.to_string()),
        }
    }
}
