//! The last runs of a resource, as stored: 17 bytes a run, the one that ended last first.
//!
//! A run is known by the sort key of its event, so that merging the same events again changes nothing, in whatever order
//! they come.

use tidings_domain::time::Timestamp;

use crate::Result;
use crate::insights::{RECENT_RUNS, RecentRun};
use crate::sqlite::row::corrupt;

const ENTRY_BYTES: usize = 17;

/// A run of the list. Ordered by the end of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) completed_at: i64,
    pub(super) event: i64,
    pub(super) is_success: bool,
}

/// The newest [`RECENT_RUNS`] of the stored and these runs.
pub(super) fn merge(stored: &[u8], more: &[Entry]) -> Result<Vec<u8>> {
    let mut entries = decode(stored)?;
    entries.extend(more);
    entries.sort_unstable_by(|one, other| other.cmp(one));
    entries.dedup_by_key(|entry| entry.event);
    entries.truncate(RECENT_RUNS);
    let mut bytes = Vec::with_capacity(entries.len() * ENTRY_BYTES);
    for entry in entries {
        bytes.extend(entry.completed_at.to_be_bytes());
        bytes.extend(entry.event.to_be_bytes());
        bytes.push(entry.is_success.into());
    }
    Ok(bytes)
}

/// The stored runs.
pub(super) fn runs(stored: &[u8]) -> Result<Vec<RecentRun>> {
    let run = |entry: Entry| RecentRun {
        completed_at: Timestamp::from_unix_ms(entry.completed_at),
        is_success: entry.is_success,
    };
    Ok(decode(stored)?.into_iter().map(run).collect())
}

fn decode(stored: &[u8]) -> Result<Vec<Entry>> {
    let (entries, rest) = stored.as_chunks::<ENTRY_BYTES>();
    if !rest.is_empty() {
        return Err(corrupt("recent runs", stored.len()));
    }
    let integer = |bytes: &[u8]| bytes.iter().fold(0_i64, |integer, byte| integer << 8 | i64::from(*byte));
    let entry = |entry: &[u8; ENTRY_BYTES]| Entry {
        completed_at: integer(&entry[..8]),
        event: integer(&entry[8..16]),
        is_success: entry[16] != 0,
    };
    Ok(entries.iter().map(entry).collect())
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn entries() -> impl Strategy<Value = Vec<Entry>> {
        // The end and the outcome of a run follow from its event.
        let entry = |event: i64| Entry { completed_at: event * 7 % 50 - 9, event, is_success: event % 3 == 0 };
        vec((0_i64..100).prop_map(entry), 0..80)
    }

    proptest! {
        #[test]
        fn merge_in_any_order_and_repeated_keeps_the_newest(one in entries(), two in entries()) {
            let forward = merge(&merge(&[], &one).unwrap(), &two).unwrap();
            let backward = merge(&merge(&merge(&[], &two).unwrap(), &one).unwrap(), &two).unwrap();
            prop_assert_eq!(&forward, &backward);
            let mut all = [one, two].concat();
            all.sort_unstable();
            all.dedup();
            let newest: Vec<_> = all.into_iter().rev().take(RECENT_RUNS).collect();
            prop_assert_eq!(decode(&forward).unwrap(), newest);
        }
    }

    #[test]
    fn runs_of_another_length_are_corrupt() {
        assert!(runs(&[0; 18]).is_err());
        assert!(runs(&[]).unwrap().is_empty());
    }
}
