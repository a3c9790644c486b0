//! Parses mail addresses and mailboxes and normalises their spelling.
//!
//! A parsed address is plain ASCII without spaces, brackets or line breaks, so it can be put into an SMTP command or a
//! header as it is.

use lettre::Address;
use lettre::message::Mailbox;
use tidings_domain::text::has_control;

/// The longest address that fits into an SMTP path (RFC 5321).
const ADDRESS_BYTES_MAX: usize = 254;

const NAME_CHARS_MAX: usize = 100;

/// Parses a bare address. The domain is converted to lower case, and to ASCII if it is international.
pub(super) fn parse(text: &str) -> Result<Address, String> {
    if text.contains(['<', '>']) {
        return Err("expected a bare address such as oncall@example.com, without a display name".into());
    }
    if has_control(text) || text.contains(char::is_whitespace) {
        return Err("an address must not contain spaces or line breaks".into());
    }
    let Some((user, domain)) = text.rsplit_once('@') else {
        return Err("expected an address such as oncall@example.com".into());
    };
    if !user.is_ascii() {
        return Err("the part before the @ must be ASCII".into());
    }
    let domain = match url::Host::parse(domain) {
        Ok(url::Host::Domain(domain)) => domain,
        Ok(_) => return Err("the domain must be a name, not an IP address".into()),
        Err(_) => return Err("the domain is not a valid name".into()),
    };
    if user.len() + 1 + domain.len() > ADDRESS_BYTES_MAX {
        return Err(format!("an address must be at most {ADDRESS_BYTES_MAX} bytes"));
    }
    if user.contains('"') {
        return Err("quoted addresses are not supported".into());
    }
    Address::new(user, domain).map_err(|_| "expected an address such as oncall@example.com".into())
}

/// Parses a sender: a bare address, or `Name <address>`.
pub(super) fn parse_mailbox(text: &str) -> Result<Mailbox, String> {
    let text = text.trim();
    let Some((name, address)) = text.strip_suffix('>').and_then(|rest| rest.rsplit_once('<')) else {
        return parse(text).map(Mailbox::from);
    };
    let name = name.trim();
    let name = name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(name).trim();
    if has_control(name) || name.contains(['"', '<', '>', '\\']) {
        return Err("the display name must not contain quotes, brackets, backslashes or line breaks".into());
    }
    if name.chars().count() > NAME_CHARS_MAX {
        return Err(format!("the display name must be at most {NAME_CHARS_MAX} characters"));
    }
    let name = (!name.is_empty()).then(|| name.to_owned());
    parse(address).map(|address| Mailbox::new(name, address))
}

/// The sender as it is stored and shown, in a form that [`parse_mailbox`] accepts.
pub(super) fn format_mailbox(mailbox: &Mailbox) -> String {
    match &mailbox.name {
        Some(name) => format!("{name} <{}>", mailbox.email),
        None => mailbox.email.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parse_normalises_spelling() {
        for (given, kept) in [
            ("ops@example.com", "ops@example.com"),
            ("Ops@Example.COM", "Ops@example.com"),
            ("a.b+tag@mail.example.org", "a.b+tag@mail.example.org"),
            ("root@localhost", "root@localhost"),
            ("post@bücher.example", "post@xn--bcher-kva.example"),
        ] {
            assert_eq!(parse(given).map(|a| a.to_string()).as_deref(), Ok(kept));
        }
    }

    #[test]
    fn parse_invalid_addresses_are_refused() {
        for wrong in [
            "",
            "@",
            "ops",
            "ops@",
            "@example.com",
            "a b@example.com",
            " ops@example.com",
            "Ops <ops@example.com>",
            "ops@example.com\r\nBcc: all@example.com",
            "ops@example.com>\r\nDATA",
            "\"a b\"@example.com",
            "\"a\"@example.com",
            "ops@exa mple.com",
            "ops@example.com,x@example.com",
            "ops@[127.0.0.1]",
            "ops@127.0.0.1",
            "ops@2130706433",
            "ops@0x7f.1",
            "öps@example.com",
            "a..b@example.com",
            ".a@example.com",
            &format!("{}@example.com", "a".repeat(65)),
            &format!("a@{}.com", "a".repeat(64)),
            &format!("{}@{}.com", "a".repeat(64), ["b".repeat(60).as_str(); 4].join(".")),
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn parse_mailbox_round_trips_with_and_without_name() {
        for (given, kept) in [
            ("ops@example.com", "ops@example.com"),
            ("Tidings <ops@Example.com>", "Tidings <ops@example.com>"),
            ("\"Data, Alerts\" <ops@example.com>", "Data, Alerts <ops@example.com>"),
            ("Störung <ops@example.com>", "Störung <ops@example.com>"),
            (" <ops@example.com> ", "ops@example.com"),
        ] {
            let mailbox = parse_mailbox(given).unwrap();
            assert_eq!(format_mailbox(&mailbox), kept);
            assert_eq!(parse_mailbox(kept), Ok(mailbox));
        }
        for wrong in
            ["Tidings", "A\r\nBcc: x@example.com <ops@example.com>", "<a> <b@example.com>", "x <y>", "a\"b <c@d.e>"]
        {
            assert!(parse_mailbox(wrong).is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn parse_result_is_safe_in_an_smtp_command(text in "[\\PC\r\n\t <>@\"]{0,40}@[\\PC\r\n]{0,20}") {
            if let Ok(address) = parse(&text) {
                let bare = address.to_string();
                prop_assert!(bare.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'<' | b'>' | b'"')), "{}", bare);
                prop_assert_eq!(parse(&bare), Ok(address));
            }
        }
    }
}
