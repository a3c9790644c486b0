//! The address guard: which addresses a tenant's channel may reach. Pure; asked at save time for literals and always
//! at connect time, for the very address that is then connected to.
//!
//! Refused is everything that is not globally routable unicast, as the IANA special-purpose registries list it
//! (RFC 6890 and its updates). An IPv6 address that carries an IPv4 address is judged by the one it carries, so that
//! no embedding opens a way around.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// The setting that lets refused addresses in, for messages.
pub const ALLOW_SETTING: &str = "TIDINGS_ALLOW_TARGETS";

/// What may be reached.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    /// Networks that are let in whatever they are.
    pub allow: Vec<IpNet>,
    /// Whether plain `http` may go anywhere, not only to [`Guard::allow`].
    pub allow_http: bool,
}

/// An address that may not be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// The address, in the form in which it was judged.
    pub ip: IpAddr,
    /// What it is, such as `a loopback address`.
    pub what: &'static str,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, which is refused; {ALLOW_SETTING} can let it in", self.ip, self.what)
    }
}

impl std::error::Error for Refused {}

impl Guard {
    /// Whether this address may be connected to.
    pub fn check(&self, ip: IpAddr) -> Result<(), Refused> {
        let (ip, what) = match ip {
            IpAddr::V4(v4) => (ip, special_v4(v4)),
            IpAddr::V6(v6) => match carried_v4(v6) {
                Carried::V4(v4) => (IpAddr::V4(v4), special_v4(v4)),
                Carried::Refused(what) => (ip, Some(what)),
                Carried::Nothing => (ip, special_v6(v6)),
            },
        };
        match what {
            Some(what) if !self.allows(ip) => Err(Refused { ip, what }),
            _ => Ok(()),
        }
    }

    /// Whether the address lies in one of the networks that the operator lets in.
    pub fn allows(&self, ip: IpAddr) -> bool {
        let canonical = canonical(ip);
        self.allow.iter().any(|net| net.contains(&ip) || net.contains(&canonical))
    }
}

/// An IPv4 address that an IPv6 address stands for, as that IPv4 address; every other address as it is.
pub fn canonical(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => match carried_v4(v6) {
            Carried::V4(v4) => IpAddr::V4(v4),
            _ => ip,
        },
        IpAddr::V4(_) => ip,
    }
}

/// What an IPv6 address carries.
enum Carried {
    /// An IPv4 address, where its packets would end.
    V4(Ipv4Addr),
    /// Something that only a translator on the way could tell.
    Refused(&'static str),
    Nothing,
}

fn carried_v4(ip: Ipv6Addr) -> Carried {
    let s = ip.segments();
    let low = || Ipv4Addr::from(((u32::from(s[6])) << 16) | u32::from(s[7]));
    match s {
        // :: and ::1 are addresses of their own, not IPv4-compatible ones.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Carried::Nothing,
        // IPv4-compatible (deprecated) and IPv4-mapped.
        [0, 0, 0, 0, 0, 0 | 0xffff, _, _] => Carried::V4(low()),
        // IPv4-translated (RFC 2765).
        [0, 0, 0, 0, 0xffff, 0, _, _] => Carried::V4(low()),
        // NAT64, well-known prefix (RFC 6052).
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] => Carried::V4(low()),
        // 6to4 (RFC 3056): the 32 bits after the prefix.
        [0x2002, high, middle, ..] => Carried::V4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(middle))),
        [0x64, 0xff9b, 1, ..] => Carried::Refused("a local-use NAT64 address"),
        [0x2001, 0, ..] => Carried::Refused("a Teredo address"),
        // ISATAP (RFC 5214): the interface identifier carries an IPv4 address of the site.
        [.., 0 | 0x0200, 0x5efe, _, _] => Carried::Refused("an ISATAP address"),
        _ => Carried::Nothing,
    }
}

/// What is special about the address; `None` if it is globally routable unicast.
fn special_v4(ip: Ipv4Addr) -> Option<&'static str> {
    Some(match ip.octets() {
        [0, ..] => "an address of \"this network\"",
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => "a private address",
        [100, 64..=127, ..] => "a shared (carrier-grade NAT) address",
        [127, ..] => "a loopback address",
        [169, 254, 169, 254] => "the cloud metadata address",
        [169, 254, ..] => "a link-local address",
        [192, 0, 0, _] => "an IETF protocol address",
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => "a documentation address",
        [192, 88, 99, _] => "a 6to4 relay address",
        [198, 18..=19, ..] => "a benchmarking address",
        [224..=239, ..] => "a multicast address",
        [255, 255, 255, 255] => "the broadcast address",
        [240..=255, ..] => "a reserved address",
        // Metadata services that clouds put on otherwise public addresses.
        [168, 63, 129, 16] => "a cloud platform address",
        _ => return None,
    })
}

/// The same for an IPv6 address that carries no IPv4 address. Outside `2000::/3` nothing is global unicast.
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
        [0x2000..=0x3fff, ..] => return None,
        _ => "a reserved address",
    })
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
