//! Failed starts: each error names the cause and the remedy, and nothing is changed.

use std::net::TcpListener;
use std::path::Path;

use crate::support::Setup;
use crate::support::server::Finished;

/// 32 bytes in base64.
const ONE_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const OTHER_KEY: &str = "HxAeHRwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgE=";

/// Asserts exit code 1 and an error that contains all of these words.
#[track_caller]
fn assert_refused(finished: &Finished, words: &[&str]) {
    let Finished { code, stdout, stderr, took } = finished;
    assert_eq!(*code, Some(1), "{stderr}");
    assert!(words.iter().all(|word| stderr.contains(word)), "{words:?} in {stderr}");
    assert!(!stdout.contains("listens on"), "{stdout}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    println!("failed after {} ms: {}", took.as_millis(), stderr.trim());
}

fn database(setup: &Setup) -> Vec<u8> {
    std::fs::read(setup.data_dir().join("tidings.db")).unwrap()
}

#[test]
fn port_in_use_fails_the_start() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let setup = Setup::new().with("TIDINGS_LISTEN", &address);
    assert_refused(&setup.run(&["serve"]), &["cannot listen on", &address, "--listen"]);
    assert!(!setup.data_dir().exists(), "nothing was created");
}

#[test]
fn data_directory_in_use_fails_the_start() {
    let setup = Setup::new();
    let first = setup.start();
    assert_refused(&setup.run(&["serve"]), &["another process is using the data directory", "data"]);
    assert_eq!(first.api().get_root("/readyz").status, 200, "the first is not affected");
}

#[test]
fn different_secret_key_fails_the_start() {
    let setup = Setup::new().with("TIDINGS_SECRET_KEY", ONE_KEY);
    setup.start().stop();
    let before = database(&setup);

    let setup = setup.with("TIDINGS_SECRET_KEY", OTHER_KEY);
    let refused = setup.run(&["serve"]);
    assert_refused(&refused, &["key"]);
    assert!(!refused.stderr.contains(OTHER_KEY) && !refused.stderr.contains(ONE_KEY));
    assert_eq!(database(&setup), before);

    setup.with("TIDINGS_SECRET_KEY", ONE_KEY).start().stop();
}

#[test]
fn missing_secret_key_file_fails_the_start() {
    let setup = Setup::new();
    setup.start().stop();
    let (path, kept) = (setup.data_dir().join("secret.key"), setup.directory().join("kept.key"));
    std::fs::rename(&path, &kept).unwrap();
    assert_refused(&setup.run(&["serve"]), &["secret.key", "TIDINGS_SECRET_KEY"]);
    assert!(!path.exists(), "no new key is generated");

    std::fs::rename(&kept, &path).unwrap();
    setup.start().stop();
}

#[test]
fn unwritable_data_directory_fails_the_start() {
    let setup = Setup::new().with("TIDINGS_DATA_DIR", "file/data");
    std::fs::write(setup.directory().join("file"), "not a directory").unwrap();
    assert_refused(&setup.run(&["serve"]), &["file/data"]);
}

#[test]
fn file_that_is_no_database_fails_the_start() {
    let setup = Setup::new();
    std::fs::create_dir(setup.data_dir()).unwrap();
    let nonsense = "this is not a database, and must not be overwritten".repeat(100);
    std::fs::write(setup.data_dir().join("tidings.db"), &nonsense).unwrap();
    assert_refused(&setup.run(&["serve"]), &["database"]);
    assert_eq!(database(&setup), nonsense.as_bytes());
}

#[test]
fn invalid_setting_is_named_without_quoting_secrets() {
    for (variable, value, name) in [
        ("TIDINGS_LISTEN", "8080", "listen"),
        ("TIDINGS_PUBLIC_URL", "tidings.example.com", "public-url"),
        ("TIDINGS_ALLOW_TARGETS", "10.0.0.0/8,nonsense", "allow-targets"),
        ("TIDINGS_ALLOW_HTTP", "perhaps", "allow-http"),
        ("TIDINGS_DRAIN_SECONDS", "soon", "drain-seconds"),
        ("TIDINGS_RUN_HEADER_PREFIX", "X Mako", "run-header-prefix"),
        ("TIDINGS_WORKFLOW_HEADER_PREFIX", "", "workflow-header-prefix"),
        ("TIDINGS_LOG", "tidings=loudly", "log"),
        ("TIDINGS_LOG_FORMAT", "xml", "log-format"),
        ("TIDINGS_SMTP_URL", "smtps://user:hunter2-hunter2@mail.example.com", "mail-from"),
        ("TIDINGS_MAIL_FROM", "tidings@example.com", "smtp-url"),
        ("TIDINGS_API_KEY", "tdg_hunter2-hunter2", "TIDINGS_API_KEY"),
        ("TIDINGS_SECRET_KEY", "hunter2-hunter2", "TIDINGS_SECRET_KEY"),
        ("TIDINGS_CONFIG", "nowhere.toml", "nowhere.toml"),
    ] {
        let setup = Setup::new().with(variable, value);
        let refused = setup.run(&["serve"]);
        assert_ne!(refused.code, Some(0), "{variable}");
        assert!(refused.stderr.contains(name), "{variable}: {}", refused.stderr);
        assert!(!refused.stderr.contains("hunter2") && !refused.stdout.contains("listens"), "{}", refused.stderr);
        assert!(!refused.stderr.contains("panicked"), "{}", refused.stderr);
    }
}

#[test]
fn configuration_file_errors_have_a_line() {
    let setup = Setup::new().without("TIDINGS_DATA_DIR").without("TIDINGS_API_KEY");
    let write = |text: &str| std::fs::write(setup.directory().join("tidings.toml"), text).unwrap();
    write("data_dir = \"elsewhere\"\napi_key = \"tdg_hunter2-hunter2-hunter2-hunter2-hunter2\"\n");
    let checked = setup.run(&["check-config", "--config", "tidings.toml"]);
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    assert!(checked.stdout.contains("elsewhere") && !checked.stdout.contains("hunter2"), "{}", checked.stdout);

    write("data_dir = \"elsewhere\"\napi_keys = \"tdg_hunter2\"\n");
    let refused = setup.run(&["serve", "--config", "tidings.toml"]);
    assert_refused(&refused, &["tidings.toml", "line 2", "api_keys"]);
    assert!(!refused.stderr.contains("hunter2"));
    assert!(!Path::new(&setup.directory().join("elsewhere")).exists());
}

#[test]
fn check_config_prints_settings_without_secrets_and_creates_nothing() {
    let setup = Setup::new()
        .with("TIDINGS_API_KEY", "tdg_hunter2-hunter2-hunter2-hunter2-hunter2")
        .with("TIDINGS_SECRET_KEY", ONE_KEY)
        .with("TIDINGS_SMTP_URL", "smtps://user:hunter2-hunter2@mail.example.com")
        .with("TIDINGS_MAIL_FROM", "tidings@example.com");
    let checked = setup.run(&["check-config"]);
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    for setting in ["127.0.0.1:0", "127.0.0.0/8", "drain-seconds", "api-key", "secret-key", "smtp-url"] {
        assert!(checked.stdout.contains(setting), "{setting} in {}", checked.stdout);
    }
    for secret in ["hunter2", ONE_KEY] {
        assert!(!checked.stdout.contains(secret) && !checked.stderr.contains(secret), "{}", checked.stdout);
    }
    assert!(!setup.data_dir().exists());
}
