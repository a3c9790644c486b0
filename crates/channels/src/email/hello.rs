//! How this host introduces itself to mail servers (RFC 5321, 4.1.1.1): by its full name, else by its address.

use std::net::IpAddr;
use std::sync::OnceLock;

/// The argument of EHLO and HELO for a connection from this address.
pub(super) fn client_name(local: Option<IpAddr>) -> String {
    static HOST: OnceLock<Option<String>> = OnceLock::new();
    let host = HOST.get_or_init(|| full_name(&rustix::system::uname().nodename().to_string_lossy()));
    host.clone().unwrap_or_else(|| address_literal(local))
}

/// The host's name if it is a full one. A short one, such as a container's id, is refused by many servers.
fn full_name(name: &str) -> Option<String> {
    let name = name.trim().trim_end_matches('.').to_ascii_lowercase();
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_full = name.len() <= 253
        && name.contains('.')
        && name.split('.').all(is_label)
        && !name.ends_with(".localdomain")
        && name.rsplit('.').next().is_some_and(|last| !last.bytes().all(|byte| byte.is_ascii_digit()));
    is_full.then_some(name)
}

/// An address in the form that takes the place of a name (RFC 5321, 4.1.3).
fn address_literal(local: Option<IpAddr>) -> String {
    match local.map(|address| address.to_canonical()) {
        Some(IpAddr::V4(address)) => format!("[{address}]"),
        Some(IpAddr::V6(address)) => format!("[IPv6:{address}]"),
        None => "[127.0.0.1]".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_name_is_a_full_name_or_an_address_literal() {
        assert_eq!(full_name("Mail.Example.com.").as_deref(), Some("mail.example.com"));
        for short in
            ["", "localhost", "f3b2a1", "10.0.0.1", "a b.example.com", "-a.example.com", "box.localdomain", "a..b"]
        {
            assert_eq!(full_name(short), None, "{short}");
        }
        assert_eq!(address_literal(Some("192.0.2.1".parse().unwrap())), "[192.0.2.1]");
        assert_eq!(address_literal(Some("::ffff:192.0.2.1".parse().unwrap())), "[192.0.2.1]");
        assert_eq!(address_literal(Some("2001:db8::1".parse().unwrap())), "[IPv6:2001:db8::1]");
        assert_eq!(address_literal(None), "[127.0.0.1]");
    }
}
