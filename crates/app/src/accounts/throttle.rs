//! Limits on attempts to sign in: per account, per client address, and per account from one address.
//!
//! Each of the three counts failures and, beyond a number that is free, makes the next attempt wait. The wait doubles with
//! each failure up to a bound of at most a minute and is forgotten after a while, so that no user is locked out: a limit
//! slows guessing down and never ends sessions. An address from which the user is signed in already is exempt from the
//! account's limit, which others can reach; from other addresses its bound is a few seconds.
//!
//! Pure: callers provide the time. An attempt counts as failed when it is admitted, and [`Throttle::succeeded`] takes it
//! back. Otherwise attempts that arrive together would all be admitted before the first of them has failed.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;

use tidings_domain::time::Timestamp;

/// A limit on failures of one kind of key.
#[derive(Debug, Clone, Copy)]
struct Limit {
    /// Failures without a wait.
    free: u32,
    /// The bound of the wait, which is a second after the first failure that is not free and then doubles.
    wait_seconds_max: u32,
    /// After this long without an attempt all failures are forgotten.
    forget_seconds: u32,
}

/// One address at one account: a person who mistypes, or one who guesses.
const PAIR: Limit = Limit { free: 5, wait_seconds_max: 60, forget_seconds: 3_600 };
/// One account from all addresses: guessing from many.
const ACCOUNT: Limit = Limit { free: 30, wait_seconds_max: 8, forget_seconds: 3_600 };
/// One address at all accounts: trying a common password for many users. Many people may share an address.
const CLIENT: Limit = Limit { free: 60, wait_seconds_max: 30, forget_seconds: 600 };

/// Keys of each kind that are remembered in each of two generations. It bounds memory to a few MiB; who floods it with keys
/// makes it forget failures, and is slowed down by the limit of its own address.
const KEYS_MAX: usize = 16_384;

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last_at: Timestamp,
}

impl Failures {
    /// Seconds until the next attempt is admitted.
    fn wait_seconds(self, limit: Limit, now: Timestamp) -> u32 {
        let Some(beyond) = self.count.checked_sub(limit.free) else { return 0 };
        let wait = 1_u32.checked_shl(beyond).unwrap_or(u32::MAX).min(limit.wait_seconds_max);
        let wait_ms = u64::from(wait) * 1_000;
        // A clock that was set back must not prolong a wait.
        let waited_ms = if self.last_at <= now { now.since_ms(self.last_at) } else { wait_ms };
        u32::try_from(wait_ms.saturating_sub(waited_ms).div_ceil(1_000)).unwrap_or(limit.wait_seconds_max)
    }
}

/// The failures of one kind of key. Two generations: when the younger one is full, the older one is dropped.
#[derive(Debug, Default)]
struct Table {
    young: HashMap<u64, Failures>,
    old: HashMap<u64, Failures>,
}

impl Table {
    fn get(&self, key: u64, limit: Limit, now: Timestamp) -> Option<Failures> {
        let found = self.young.get(&key).or_else(|| self.old.get(&key)).copied();
        found.filter(|failures| now.since_ms(failures.last_at) < u64::from(limit.forget_seconds) * 1_000)
    }

    fn set(&mut self, key: u64, failures: Failures) {
        if self.young.len() >= KEYS_MAX && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, failures);
    }

    fn remove(&mut self, key: u64) {
        self.young.remove(&key);
        self.old.remove(&key);
    }

    fn count_failure(&mut self, key: u64, limit: Limit, now: Timestamp) {
        let count = self.get(key, limit, now).map_or(0, |failures| failures.count);
        self.set(key, Failures { count: count.saturating_add(1), last_at: now });
    }

    /// Takes back one failure; the instant of the last one stays.
    fn revert(&mut self, key: u64, limit: Limit, now: Timestamp) {
        if let Some(failures) = self.get(key, limit, now) {
            self.set(key, Failures { count: failures.count.saturating_sub(1), ..failures });
        }
    }
}

/// Who attempts to sign in, and as whom.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// The id of the user, or the normalised email without one. Whether there is such a user makes no difference.
    pub account: &'a str,
    /// The client's address; see [`client_network`].
    pub client: IpAddr,
    /// Whether the user has a session that was used from this address.
    pub is_known_client: bool,
}

/// The attempts of the last hour.
#[derive(Debug, Default)]
pub struct Throttle {
    pairs: Table,
    accounts: Table,
    clients: Table,
    /// Keys are hashed with a secret, so that an attacker cannot choose two that collide.
    hasher: RandomState,
}

/// The address that attempts are counted by: of IPv6 the /64, because a client has a whole one.
pub fn client_network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let prefix = u128::from(address) >> 64 << 64;
            IpAddr::V6(prefix.into())
        }
        v4 => v4,
    }
}

impl Throttle {
    /// Admits the attempt and counts it as failed, or refuses it and counts nothing.
    ///
    /// # Errors
    /// The seconds after which to try again, at least one.
    pub fn admit(&mut self, attempt: Attempt<'_>, now: Timestamp) -> Result<(), u32> {
        let Keys { pair, account, client } = self.keys(attempt);
        let wait = |table: &Table, key, limit| table.get(key, limit, now).map_or(0, |it| it.wait_seconds(limit, now));
        let account_wait = if attempt.is_known_client { 0 } else { wait(&self.accounts, account, ACCOUNT) };
        let longest = wait(&self.pairs, pair, PAIR).max(account_wait).max(wait(&self.clients, client, CLIENT));
        if longest > 0 {
            return Err(longest);
        }
        self.pairs.count_failure(pair, PAIR, now);
        self.accounts.count_failure(account, ACCOUNT, now);
        self.clients.count_failure(client, CLIENT, now);
        Ok(())
    }

    /// The admitted attempt had the right password: it was no failure, and those before it from this address at this
    /// account were mistakes. Those at other accounts and from other addresses still count: otherwise who has one account
    /// could guess the passwords of others without a wait.
    pub fn succeeded(&mut self, attempt: Attempt<'_>, now: Timestamp) {
        let Keys { pair, account, client } = self.keys(attempt);
        self.pairs.remove(pair);
        self.accounts.revert(account, ACCOUNT, now);
        self.clients.revert(client, CLIENT, now);
    }

    /// The admitted attempt was not decided, because the queue was full or the store failed.
    pub fn undecided(&mut self, attempt: Attempt<'_>, now: Timestamp) {
        let Keys { pair, account, client } = self.keys(attempt);
        self.pairs.revert(pair, PAIR, now);
        self.accounts.revert(account, ACCOUNT, now);
        self.clients.revert(client, CLIENT, now);
    }

    fn keys(&self, attempt: Attempt<'_>) -> Keys {
        let client = client_network(attempt.client);
        Keys {
            pair: self.hasher.hash_one((attempt.account, client)),
            account: self.hasher.hash_one(attempt.account),
            client: self.hasher.hash_one(client),
        }
    }
}

struct Keys {
    pair: u64,
    account: u64,
    client: u64,
}

#[cfg(test)]
mod tests;
