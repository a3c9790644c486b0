//! What can go wrong with a verb.

/// Why a verb was not carried out. Nothing of it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// What should be changed is not there.
    #[error("not found")]
    NotFound,
    /// What should be made is there already.
    #[error("exists already")]
    Exists,
    /// It was changed by somebody else meanwhile.
    #[error("changed meanwhile")]
    Conflict,
    /// Something else still needs it.
    #[error("still in use")]
    InUse,
    /// A look into the log was broken off, because it took longer than this.
    #[error("the search took longer than {seconds} s")]
    TooSlow {
        /// How long it may take.
        seconds: u64,
    },
    /// Others look into the log, and did not get done in time.
    #[error("too many searches at once")]
    Busy,
    /// The store is shutting down.
    #[error("the store is closed")]
    Closed,
    /// A value cannot be kept, or a stored one cannot be read.
    #[error("value cannot be kept or read: {0}")]
    Corrupt(String),
    /// The data was written by a newer version of Tidings.
    #[error("the data has schema version {found}, this program knows up to {known}: use a newer Tidings")]
    TooNew {
        /// The schema version of the data.
        found: u32,
        /// The newest that this program knows.
        known: u32,
    },
    /// The data was written by an unreleased build with another schema.
    #[error(
        "the data directory {0} was made by an unreleased build of Tidings with another schema, which this one cannot \
         read: run that build on it, or name an empty directory (--data-dir)"
    )]
    OtherSchema(String),
    /// Another process has the data directory.
    #[error("another process is using the data directory {0}: stop it, or name another directory")]
    Locked(String),
    /// The verb broke off because of a mistake in this program.
    #[error("defect: {0}")]
    Defect(String),
    /// The database failed.
    #[error("database: {0}")]
    Database(String),
}

impl StoreError {
    /// Whether the database as a whole failed, so that it is nobody's own doing.
    pub(crate) fn is_of_the_database(&self) -> bool {
        matches!(self, Self::Database(_))
    }
}

impl From<rusqlite::Error> for StoreError {
    /// Foreign keys are checked at once, and who deletes looks first for what still uses the row: one that fails means
    /// that what a new row leans on is not there.
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ffi;
        match error.sqlite_error().map(|raw| raw.extended_code) {
            Some(ffi::SQLITE_CONSTRAINT_FOREIGNKEY) => Self::NotFound,
            Some(ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_UNIQUE) => Self::Exists,
            Some(code) if code & 0xff == ffi::SQLITE_CONSTRAINT => Self::Corrupt(error.to_string()),
            _ => Self::Database(error.to_string()),
        }
    }
}
