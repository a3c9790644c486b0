//! Where a request comes from: the client's address and the scheme that it used.
//!
//! Both are those of the connection, unless its peer is a trusted proxy (`--trusted-proxies`). Then `X-Forwarded-For` or
//! `Forwarded` (RFC 7239) are read from right to left: each proxy appends the address that it was connected to from, so
//! that everything left of the first address that is no trusted proxy may be made up.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The address that a connection was accepted from, as a request extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress(pub IpAddr);

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// The client's address.
    pub address: IpAddr,
    /// Whether the client used https. `None` if no trusted proxy sent it: Tidings itself speaks http only.
    pub is_https: Option<bool>,
}

/// One hop of a forwarding header.
struct Hop {
    /// `None` if it is no address: `unknown`, or an obfuscated name.
    address: Option<IpAddr>,
    is_https: Option<bool>,
}

impl Client {
    /// Finds it from the connection's peer and the headers.
    pub fn of(peer: IpAddr, headers: &HeaderMap, trusted_proxies: &[IpNet]) -> Self {
        let is_trusted = |address: &IpAddr| trusted_proxies.iter().any(|network| network.contains(address));
        let peer = peer.to_canonical();
        if !is_trusted(&peer) {
            return Self { address: peer, is_https: None };
        }
        let proto = headers.get_all(X_FORWARDED_PROTO).iter().next_back().and_then(|value| {
            let value = value.to_str().ok()?;
            scheme_is_https(value.rsplit(',').next().unwrap_or(value))
        });
        let x_forwarded_for = last_untrusted(peer, x_forwarded_for(headers), is_trusted);
        let forwarded = last_untrusted(peer, forwarded(headers), is_trusted);
        match (x_forwarded_for, forwarded) {
            (Some(x), None) => Self { address: x.address, is_https: proto },
            (None, Some(standard)) => Self { is_https: standard.is_https.or(proto), ..standard },
            (Some(x), Some(standard)) if x.address == standard.address => {
                Self { is_https: standard.is_https.or(proto), ..standard }
            }
            // A proxy writes one of them and passes the other on as the client made it up. Which is which is unknown.
            (Some(_), Some(_)) | (None, None) => Self { address: peer, is_https: proto },
        }
    }
}

/// The first hop from the right that is no trusted proxy, or the last trusted one if the next is no address; `None` without
/// hops.
fn last_untrusted(peer: IpAddr, mut hops: Vec<Hop>, is_trusted: impl Fn(&IpAddr) -> bool) -> Option<Client> {
    let mut found = None;
    let mut nearest = peer;
    while let Some(hop) = hops.pop() {
        nearest = hop.address.map_or(nearest, |address| address.to_canonical());
        found = Some(Client { address: nearest, is_https: hop.is_https });
        if hop.address.is_none() || !is_trusted(&nearest) {
            break;
        }
    }
    found
}

/// The hops of all `X-Forwarded-For` headers, from left to right.
fn x_forwarded_for(headers: &HeaderMap) -> Vec<Hop> {
    let values = headers.get_all(X_FORWARDED_FOR).iter();
    let hop = |element: &str| Hop { address: address(element), is_https: None };
    values.flat_map(|value| value.to_str().unwrap_or("unknown").split(',').map(hop).collect::<Vec<_>>()).collect()
}

/// The hops of all `Forwarded` headers, from left to right.
fn forwarded(headers: &HeaderMap) -> Vec<Hop> {
    let values = headers.get_all(header::FORWARDED).iter();
    let elements = values.flat_map(|value| split_unquoted(value.to_str().unwrap_or("for=unknown"), ','));
    elements
        .map(|element| {
            let mut hop = Hop { address: None, is_https: None };
            for pair in split_unquoted(element, ';') {
                let Some((name, value)) = pair.split_once('=') else { continue };
                let value = value.trim().trim_matches('"');
                match name.trim().to_ascii_lowercase().as_str() {
                    "for" => hop.address = address(value),
                    "proto" => hop.is_https = scheme_is_https(value),
                    _ => {}
                }
            }
            hop
        })
        .collect()
}

/// The parts between separators outside quotes.
fn split_unquoted(text: &str, separator: char) -> Vec<&str> {
    let mut is_quoted = false;
    let is_end = |character: char| {
        is_quoted ^= character == '"';
        character == separator && !is_quoted
    };
    text.split(is_end).collect()
}

fn scheme_is_https(text: &str) -> Option<bool> {
    match text.trim() {
        scheme if scheme.eq_ignore_ascii_case("https") => Some(true),
        scheme if scheme.eq_ignore_ascii_case("http") => Some(false),
        _ => None,
    }
}

/// An address with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let bare = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None => match text.split_once(':') {
            Some((v4, port)) if !port.contains(':') => v4,
            _ => text,
        },
    };
    bare.parse().ok()
}

#[cfg(test)]
mod tests;
