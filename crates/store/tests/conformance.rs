//! The embedded store passes the conformance suite.

use std::sync::Arc;

use async_trait::async_trait;
use tempfile::TempDir;
use tidings_store::Store;
use tidings_store::conformance::StoreFactory;
use tidings_store::sqlite::SqliteStore;

struct Directory(TempDir);

#[async_trait]
impl StoreFactory for Directory {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(self.0.path()).unwrap())
    }
}

tidings_store::store_conformance!(Directory(tempfile::tempdir().unwrap()));
