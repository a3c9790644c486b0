//! The hosts that are watched in the benchmark: addresses of this machine, each a target of its own.
//!
//! All of 127.0.0.0/8 is this machine's (on Linux). A prober takes each address for another host, with a connection of
//! its own, as it would in life.

use std::net::{Ipv4Addr, SocketAddrV4};

/// Addresses in one third byte.
const IN_A_ROW: u32 = 250;

/// The address of the host with this number, counted from `first` on.
pub fn host(first: SocketAddrV4, number: u32) -> SocketAddrV4 {
    let [a, b, c, d] = first.ip().octets();
    let number = u32::from(d).saturating_sub(1) + number;
    let rows = u32::from(c) + number / IN_A_ROW;
    let ip = Ipv4Addr::new(a, b.wrapping_add((rows / 256) as u8), (rows % 256) as u8, (number % IN_A_ROW + 1) as u8);
    SocketAddrV4::new(ip, first.port())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_host_has_an_address_of_its_own() {
        let first = "127.1.0.1:80".parse().unwrap();
        let hosts: BTreeSet<_> = (0..100_000).map(|number| host(first, number)).collect();
        assert_eq!(hosts.len(), 100_000);
        assert!(hosts.iter().all(|host| host.ip().is_loopback() && host.port() == 80));
        assert_eq!(host(first, 251).to_string(), "127.1.1.2:80");
    }
}
