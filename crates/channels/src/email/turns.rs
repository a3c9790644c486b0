//! A queue that serves its owners in turns, and the sub-owners of each owner in turns.

use std::collections::VecDeque;

/// Waiting items of several owners: [`Turns::pop`] takes one of each owner, then one of each again, and so on. `O` has two
/// levels, such as a workspace and one of its channels: a workspace with many channels has no more turns than one with few.
///
/// Owners are found by linear search: no more wait than deliveries are in flight, some hundred.
#[derive(Debug)]
pub(super) struct Turns<O, S, T> {
    owners: Entries<O, Entries<S, VecDeque<T>>>,
}

/// Entries in the order of their turns.
type Entries<K, V> = VecDeque<(K, V)>;

impl<O: PartialEq, S: PartialEq, T> Turns<O, S, T> {
    pub(super) const fn new() -> Self {
        Self { owners: VecDeque::new() }
    }

    pub(super) fn push(&mut self, owner: O, sub_owner: S, item: T) {
        entry(entry(&mut self.owners, owner).1, sub_owner).1.push_back(item);
    }

    /// Puts the item before all others: it had its turn, and it did not count.
    pub(super) fn push_first(&mut self, owner: O, sub_owner: S, item: T) {
        let (at, subs) = entry(&mut self.owners, owner);
        let (sub_at, items) = entry(subs, sub_owner);
        items.push_front(item);
        move_to_front(subs, sub_at);
        move_to_front(&mut self.owners, at);
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        let (owner, mut subs) = self.owners.pop_front()?;
        let item = subs.pop_front().and_then(|(sub_owner, mut items)| {
            let item = items.pop_front();
            if !items.is_empty() {
                subs.push_back((sub_owner, items));
            }
            item
        });
        if !subs.is_empty() {
            self.owners.push_back((owner, subs));
        }
        item
    }

    pub(super) fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.owners.iter().flat_map(|(_, subs)| subs).map(|(_, items)| items.len()).sum()
    }
}

/// The entry of this key and its index; a new one is last in turn.
fn entry<K: PartialEq, V: Default>(entries: &mut Entries<K, V>, key: K) -> (usize, &mut V) {
    let at = entries.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
        entries.push_back((key, V::default()));
        entries.len() - 1
    });
    (at, &mut entries[at].1)
}

fn move_to_front<T>(entries: &mut VecDeque<T>, at: usize) {
    if let Some(entry) = entries.remove(at) {
        entries.push_front(entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pop_takes_turns_between_owners_and_then_their_sub_owners() {
        let mut turns = Turns::new();
        for item in 0..6 {
            turns.push("burst", 1, format!("b1-{item}"));
        }
        turns.push("burst", 2, "b2-0".to_owned());
        turns.push("quiet", 3, "q3-0".to_owned());
        turns.push_first("quiet", 4, "first".to_owned());
        assert_eq!(turns.len(), 9);
        let order: Vec<String> = std::iter::from_fn(|| turns.pop()).collect();
        assert_eq!(order, ["first", "b1-0", "q3-0", "b2-0", "b1-1", "b1-2", "b1-3", "b1-4", "b1-5"]);
        assert!(turns.is_empty());
    }
}
