//! Limits on attempts, over time.

use super::*;

const ANA: &str = "ana@example.com";

fn at(ms: u64) -> Timestamp {
    Timestamp::from_unix_ms(1_000_000).plus_ms(ms)
}

fn attempt<'a>(email: &'a str, client: &str) -> Attempt<'a> {
    Attempt { account: email, client: client.parse().unwrap(), is_known_client: false }
}

#[test]
fn wrong_passwords_from_one_address_wait_longer_up_to_a_minute() {
    let mut throttle = Throttle::default();
    let guess = attempt(ANA, "192.0.2.1");
    let mut now = 0;
    for _ in 0..5 {
        assert_eq!(throttle.admit(guess, at(now)), Ok(()));
    }
    for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
        assert_eq!(throttle.admit(guess, at(now)), Err(expected));
        // An attempt that is refused does not prolong the wait.
        assert_eq!(throttle.admit(guess, at(now + 500)), Err(expected));
        now += u64::from(expected) * 1_000;
        assert_eq!(throttle.admit(guess, at(now)), Ok(()));
    }
}

#[test]
fn thousand_wrong_passwords_do_not_delay_the_user_elsewhere() {
    let mut throttle = Throttle::default();
    let admitted = (0..1_000).filter(|ms| throttle.admit(attempt(ANA, "192.0.2.1"), at(*ms)).is_ok()).count();
    assert_eq!(admitted, 5);
    let user = attempt(ANA, "198.51.100.7");
    assert_eq!(throttle.admit(user, at(1_000)), Ok(()));
    throttle.succeeded(user, at(1_000));
}

#[test]
fn guesses_from_many_addresses_delay_unknown_ones_by_seconds_and_known_ones_not() {
    let mut throttle = Throttle::default();
    let guess = |throttle: &mut Throttle, n: u32, ms| {
        let client = IpAddr::V4((0x0a00_0000 + n).into());
        throttle.admit(Attempt { account: ANA, client, is_known_client: false }, at(ms))
    };
    let admitted = (0..1_000).filter(|n| guess(&mut throttle, *n, 0).is_ok()).count();
    assert_eq!(admitted, 30);
    // Three hours of guesses every 100 ms.
    let guesses = 3 * 36_000;
    let admitted = (0..guesses).filter(|n| guess(&mut throttle, *n, u64::from(*n) * 100).is_ok()).count();
    assert!((1_300..1_400).contains(&admitted), "one in 8 s: {admitted}");
    let now = u64::from(guesses) * 100;
    let home = attempt(ANA, "198.51.100.7");
    assert!(throttle.admit(home, at(now)).unwrap_err() <= 8);
    assert_eq!(throttle.admit(Attempt { is_known_client: true, ..home }, at(now)), Ok(()));
}

#[test]
fn attempts_that_arrive_together_are_counted_before_they_fail() {
    let mut throttle = Throttle::default();
    let results: Vec<_> = (0..20).map(|_| throttle.admit(attempt(ANA, "192.0.2.1"), at(0))).collect();
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 5);
}

#[test]
fn one_address_that_tries_many_accounts_is_delayed() {
    let mut throttle = Throttle::default();
    let admitted = (0..1_000)
        .filter(|n| throttle.admit(attempt(&format!("user{n}@example.com"), "192.0.2.1"), at(0)).is_ok())
        .count();
    assert_eq!(admitted, 60);
    let other = attempt("user1000@example.com", "192.0.2.2");
    assert_eq!(throttle.admit(other, at(0)), Ok(()));
}

#[test]
fn success_forgives_the_own_address_and_account_only() {
    let mut throttle = Throttle::default();
    let own = attempt("mallory@example.com", "192.0.2.1");
    let mut admitted = 0;
    for n in 0..1_000 {
        if throttle.admit(attempt(ANA, "192.0.2.1"), at(n)).is_ok() {
            admitted += 1;
        }
        if throttle.admit(own, at(n)).is_ok() {
            throttle.succeeded(own, at(n));
        }
    }
    assert_eq!(admitted, 5, "signing in to another account does not reset the count");

    let mut throttle = Throttle::default();
    for round in 0..20 {
        for _ in 0..4 {
            assert_eq!(throttle.admit(attempt(ANA, "192.0.2.1"), at(round * 4_000_000)), Ok(()));
        }
        assert_eq!(throttle.admit(attempt(ANA, "192.0.2.1"), at(round * 4_000_000)), Ok(()));
        throttle.succeeded(attempt(ANA, "192.0.2.1"), at(round * 4_000_000));
    }
}

#[test]
fn undecided_attempts_are_not_counted() {
    let mut throttle = Throttle::default();
    for _ in 0..1_000 {
        assert_eq!(throttle.admit(attempt(ANA, "192.0.2.1"), at(0)), Ok(()));
        throttle.undecided(attempt(ANA, "192.0.2.1"), at(0));
    }
}

#[test]
fn failures_are_forgotten_after_an_hour_and_a_clock_set_back_adds_no_wait() {
    let mut throttle = Throttle::default();
    let guess = attempt(ANA, "192.0.2.1");
    for _ in 0..5 {
        throttle.admit(guess, at(0)).unwrap();
    }
    assert_eq!(throttle.admit(guess, at(0)), Err(1));
    let set_back = Timestamp::from_unix_ms(0);
    assert_eq!(throttle.admit(guess, set_back), Ok(()));
    for _ in 0..5 {
        assert_eq!(throttle.admit(guess, at(3_700_000)), Ok(()), "forgotten");
    }
    assert_eq!(throttle.admit(guess, at(3_700_000)), Err(1));
}

#[test]
fn addresses_of_one_ipv6_network_count_as_one() {
    let network = |address: &str| client_network(address.parse().unwrap()).to_string();
    assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    assert_eq!(network("::ffff:192.0.2.1"), "192.0.2.1");
    assert_eq!(network("192.0.2.1"), "192.0.2.1");
}

#[test]
fn memory_is_bounded_and_a_flood_does_not_reset_the_newest() {
    let mut throttle = Throttle::default();
    for n in 0..5 * KEYS_MAX as u32 {
        let client = IpAddr::V4((0x0a00_0000 + n).into());
        let email = format!("user{n}@example.com");
        throttle.admit(Attempt { account: &email, client, is_known_client: false }, at(0)).unwrap();
    }
    for _ in 0..5 {
        throttle.admit(attempt(ANA, "192.0.2.1"), at(0)).unwrap();
    }
    for n in 0..KEYS_MAX as u32 {
        let client = IpAddr::V4((0x0b00_0000 + n).into());
        throttle.admit(Attempt { account: "x@example.com", client, is_known_client: true }, at(0)).unwrap();
    }
    assert_eq!(throttle.admit(attempt(ANA, "192.0.2.1"), at(0)), Err(1));
    for table in [&throttle.pairs, &throttle.accounts, &throttle.clients] {
        assert!(table.young.len() <= KEYS_MAX && table.old.len() <= KEYS_MAX);
    }
}
