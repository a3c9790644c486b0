//! The address guard (SSRF protection): which addresses a tenant's channel may connect to. Pure. Literal addresses are checked when a
//! configuration is saved; every address is checked again right before it is connected to.
//!
//! Refused is everything that is not globally routable unicast, according to the IANA special-purpose registries (RFC
//! 6890 and its updates). An IPv6 address that embeds an IPv4 address is checked as that IPv4 address, so that no
//! embedding bypasses the guard.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// The setting that allows refused addresses, for messages.
pub const ALLOW_SETTING: &str = "TIDINGS_ALLOW_TARGETS";

/// Which targets are allowed. The default allows public addresses over https only.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    /// Networks that are allowed in addition, whatever kind they are of.
    pub allow: Vec<IpNet>,
    /// Whether plain `http` is allowed to every target, not only to [`Guard::allow`].
    pub allow_http: bool,
}

/// An address that the guard refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// In canonical form: the embedded IPv4 address if there is one.
    pub ip: IpAddr,
    /// Its kind, such as `a loopback address`.
    pub what: &'static str,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}; such targets are refused unless {ALLOW_SETTING} includes them", self.ip, self.what)
    }
}

impl std::error::Error for Refused {}

impl Guard {
    /// Fails if the address must not be connected to.
    pub fn check(&self, ip: IpAddr) -> Result<(), Refused> {
        let (ip, what) = match ip {
            IpAddr::V4(v4) => (ip, special_v4(v4)),
            IpAddr::V6(v6) => match embedded_v4(v6) {
                EmbeddedV4::Address(v4) => (IpAddr::V4(v4), special_v4(v4)),
                EmbeddedV4::Opaque(what) => (ip, Some(what)),
                EmbeddedV4::None => (ip, special_v6(v6)),
            },
        };
        match what {
            Some(what) if !self.allows(ip) => Err(Refused { ip, what }),
            _ => Ok(()),
        }
    }

    /// Whether the address is in one of the networks that the operator allows.
    pub fn allows(&self, ip: IpAddr) -> bool {
        // Both forms: an operator may list `10.0.0.0/8` or the mapped `::ffff:10.0.0.0/104`.
        let canonical = canonical(ip);
        self.allow.iter().any(|net| net.contains(&ip) || net.contains(&canonical))
    }
}

/// The IPv4 address that an IPv6 address embeds; any other address unchanged.
pub fn canonical(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => match embedded_v4(v6) {
            EmbeddedV4::Address(v4) => IpAddr::V4(v4),
            _ => ip,
        },
        IpAddr::V4(_) => ip,
    }
}

/// An IPv4 address within an IPv6 address.
enum EmbeddedV4 {
    /// Packets end up at this address.
    Address(Ipv4Addr),
    /// Only the translator on the way knows the destination, so it cannot be checked.
    Opaque(&'static str),
    None,
}

fn embedded_v4(ip: Ipv6Addr) -> EmbeddedV4 {
    let s = ip.segments();
    let low = || Ipv4Addr::from(((u32::from(s[6])) << 16) | u32::from(s[7]));
    match s {
        // :: and ::1 are addresses of their own, not IPv4-compatible ones.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => EmbeddedV4::None,
        // IPv4-compatible (deprecated) and IPv4-mapped.
        [0, 0, 0, 0, 0, 0 | 0xffff, _, _] => EmbeddedV4::Address(low()),
        // IPv4-translated (RFC 2765).
        [0, 0, 0, 0, 0xffff, 0, _, _] => EmbeddedV4::Address(low()),
        // NAT64, well-known prefix (RFC 6052).
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] => EmbeddedV4::Address(low()),
        // 6to4 (RFC 3056): the 32 bits after the prefix.
        [0x2002, high, middle, ..] => EmbeddedV4::Address(Ipv4Addr::from((u32::from(high) << 16) | u32::from(middle))),
        [0x64, 0xff9b, 1, ..] => EmbeddedV4::Opaque("a local-use NAT64 address"),
        [0x2001, 0, ..] => EmbeddedV4::Opaque("a Teredo address"),
        // ISATAP (RFC 5214): the interface identifier carries an IPv4 address of the site.
        [.., 0 | 0x0200, 0x5efe, _, _] => EmbeddedV4::Opaque("an ISATAP address"),
        _ => EmbeddedV4::None,
    }
}

/// The kind of a special address; `None` for globally routable unicast.
fn special_v4(ip: Ipv4Addr) -> Option<&'static str> {
    Some(match ip.octets() {
        [0, ..] => "an address of \"this network\"",
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => "a private address",
        [100, 64..=127, ..] => "a shared (carrier-grade NAT) address",
        [127, ..] => "a loopback address",
        // Before the link-local range that contains it, for the more specific message.
        [169, 254, 169, 254] => "the cloud metadata address",
        [169, 254, ..] => "a link-local address",
        [192, 0, 0, _] => "an IETF protocol address",
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => "a documentation address",
        [192, 88, 99, _] => "a 6to4 relay address",
        [198, 18..=19, ..] => "a benchmarking address",
        [224..=239, ..] => "a multicast address",
        [255, 255, 255, 255] => "the broadcast address",
        [240..=255, ..] => "a reserved address",
        // Azure's metadata and DNS service, on an otherwise public address.
        [168, 63, 129, 16] => "a cloud platform address",
        _ => return None,
    })
}

/// The same for an IPv6 address without an embedded IPv4 address. Global unicast is only assigned from `2000::/3`.
fn special_v6(ip: Ipv6Addr) -> Option<&'static str> {
    Some(match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => "the unspecified address",
        [0, 0, 0, 0, 0, 0, 0, 1] => "a loopback address",
        [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254] => "the cloud metadata address",
        [0xfc00..=0xfdff, ..] => "a unique-local address",
        [0xfe80..=0xfebf, ..] => "a link-local address",
        [0xfec0..=0xfeff, ..] => "a site-local address",
        [0xff00..=0xffff, ..] => "a multicast address",
        [0x0100, 0, 0, 0 | 1, ..] => "a discard address",
        // 2001::/23: protocol assignments, benchmarking (2001:2::/48), ORCHID (2001:10::/28, 2001:20::/28), DRIP.
        [0x2001, 0..=0x01ff, ..] => "an IETF protocol address",
        [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => "a documentation address",
        // The special blocks within it are matched above.
        [0x2000..=0x3fff, ..] => return None,
        _ => "a reserved address",
    })
}

#[cfg(test)]
mod tests;
