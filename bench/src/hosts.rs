//! The hosts of monitoring benchmarks: loopback addresses, each a target of its own.
//!
//! On Linux all of 127.0.0.0/8 is local. To the prober each address is another host with its own connection.

use std::net::{Ipv4Addr, SocketAddrV4};

/// Hosts that share the third byte of their address.
const HOSTS_PER_BLOCK: u32 = 250;

/// The address of the host with this number, where `first` is number 0.
pub fn host(first: SocketAddrV4, number: u32) -> SocketAddrV4 {
    let [a, b, c, d] = first.ip().octets();
    let number = u32::from(d).saturating_sub(1) + number;
    let block = u32::from(c) + number / HOSTS_PER_BLOCK;
    let ip = Ipv4Addr::new(
        a,
        b.wrapping_add((block / 256) as u8),
        (block % 256) as u8,
        (number % HOSTS_PER_BLOCK + 1) as u8,
    );
    SocketAddrV4::new(ip, first.port())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn host_numbers_map_to_distinct_addresses() {
        let first = "127.1.0.1:80".parse().unwrap();
        let hosts: BTreeSet<_> = (0..100_000).map(|number| host(first, number)).collect();
        assert_eq!(hosts.len(), 100_000);
        assert!(hosts.iter().all(|host| host.ip().is_loopback() && host.port() == 80));
        assert_eq!(host(first, 251).to_string(), "127.1.1.2:80");
    }
}
