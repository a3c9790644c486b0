//! Password rules, hashing and its queue.

use super::*;

const SALT: [u8; SALT_BYTES] = *b"0123456789abcdef";

fn secret(text: &str) -> Secret {
    Secret::new(text)
}

#[test]
fn password_rules_accept_phrases_and_reject_what_is_guessed_first() {
    let email = "ana.maria@example.com";
    let accepted = ["correct horse battery staple", "zürich-ünïcode", "пароль-дня", "8 chars!", &"x1".repeat(128)];
    for password in accepted {
        assert_eq!(validate_password(password, email), None, "{password}");
    }
    let rejected = [
        "",
        "7 chars",
        "Password",
        "PASSWORD123",
        "aaaaaaaaaaaa",
        "Ana.Maria@example.com",
        "ana.maria",
        "eight\0chars",
        &"x1".repeat(129),
    ];
    for password in rejected {
        assert!(validate_password(password, email).is_some(), "{password}");
    }
}

#[tokio::test]
async fn hash_verifies_only_its_password_and_has_the_recommended_parameters() {
    let passwords = Passwords::start();
    let hash = passwords.hash(secret("correct horse"), SALT).await.unwrap();
    assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    assert!(passwords.verify(secret("correct horse"), Some(hash.clone())).await.unwrap());
    assert!(!passwords.verify(secret("correct horsE"), Some(hash.clone())).await.unwrap());
    assert!(!passwords.verify(secret("correct horse"), None).await.unwrap());
    assert_eq!(hash_blocking(&secret("correct horse"), &SALT).unwrap(), hash);
}

/// A hash that `argon2` (the reference program) made: `echo -n password | argon2 somesalt -id -t 2 -m 16 -p 1 -l 32`.
#[tokio::test]
async fn hash_of_the_reference_implementation_verifies() {
    let reference = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
    let passwords = Passwords::start();
    assert!(passwords.verify(secret("password"), Some(reference.into())).await.unwrap());
    assert!(!passwords.verify(secret("passwore"), Some(reference.into())).await.unwrap());
}

#[tokio::test]
async fn stored_hash_of_another_kind_is_an_error() {
    let passwords = Passwords::start();
    for stored in
        ["", "plain", "$argon2i$v=19$m=16,t=2,p=1$c29tZXNhbHQ$bVNjcmFtYmxlZA", "$2b$12$abcdefghijklmnopqrstuv"]
    {
        let result = passwords.verify(secret("password"), Some(stored.into())).await;
        assert!(matches!(result, Err(PasswordError::Hash(_))), "{stored}: {result:?}");
    }
    assert!(!passwords.verify(secret("password"), None).await.unwrap(), "the thread lives on");
}

#[tokio::test]
async fn full_queue_refuses_at_once_and_serves_those_that_wait() {
    let passwords = Passwords::start();
    let attempts = (0..3 * QUEUE_MAX).map(|_| passwords.verify(secret("any password"), None));
    let results = futures_util::future::join_all(attempts).await;
    let served = results.iter().filter(|result| matches!(result, Ok(false))).count();
    let refused = results.iter().filter(|result| matches!(result, Err(PasswordError::Busy))).count();
    assert_eq!(served + refused, 3 * QUEUE_MAX);
    // One more if the thread took the first from the queue before the last was added.
    assert!((QUEUE_MAX..=QUEUE_MAX + 2).contains(&served), "{served}");
    assert!(!passwords.verify(secret("any password"), None).await.unwrap());
}
