//! Echo requests and replies as bytes (RFC 792, RFC 4443).

/// Receive buffer in bytes: our replies are shorter, and longer packets are not ours.
pub(super) const BYTES_MAX: usize = 256;
const HEADER_BYTES: usize = 8;
const PAYLOAD_BYTES: usize = 32;
const MAGIC: &[u8; 8] = b"tidings\0";

const V4_REQUEST: u8 = 8;
const V4_REPLY: u8 = 0;
const V6_REQUEST: u8 = 128;
const V6_REPLY: u8 = 129;

/// The echo requests of one probe, which share a payload.
#[derive(Debug)]
pub(super) struct Echo {
    is_v6: bool,
    identifier: u16,
    sequence: u16,
    payload: [u8; PAYLOAD_BYTES],
}

impl Echo {
    /// `process` and `number` make the payload unique.
    pub fn new(is_v6: bool, process: u32, number: u64) -> Self {
        let mut payload = [0; PAYLOAD_BYTES];
        payload[..8].copy_from_slice(MAGIC);
        payload[8..12].copy_from_slice(&process.to_be_bytes());
        payload[12..20].copy_from_slice(&number.to_be_bytes());
        Self { is_v6, identifier: number as u16, sequence: 1, payload }
    }

    /// Makes the next request one of its own.
    pub fn next_sequence(&mut self) {
        self.sequence = self.sequence.wrapping_add(1);
    }

    /// The request packet. The kernel overwrites the identifier on unprivileged sockets, and the checksum of ICMPv6.
    pub fn request(&self) -> Vec<u8> {
        let mut packet = vec![0; HEADER_BYTES];
        packet[0] = if self.is_v6 { V6_REQUEST } else { V4_REQUEST };
        packet[4..6].copy_from_slice(&self.identifier.to_be_bytes());
        packet[6..8].copy_from_slice(&self.sequence.to_be_bytes());
        packet.extend_from_slice(&self.payload);
        if !self.is_v6 {
            let sum = checksum(&packet);
            packet[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        packet
    }

    /// Whether a packet is the reply to one of the requests. Identifiers are not compared, because the kernel may have
    /// replaced ours; the payload is unique. Raw sockets receive every ICMP packet of the host, with its IPv4 header.
    pub fn matches_reply(&self, packet: &[u8]) -> bool {
        let packet = if self.is_v6 { packet } else { without_ip_header(packet) };
        let reply = if self.is_v6 { V6_REPLY } else { V4_REPLY };
        let Some((header, payload)) = packet.split_at_checked(HEADER_BYTES) else { return false };
        header[0] == reply && header[1] == 0 && payload == self.payload
    }
}

/// An ICMP packet that starts like an IPv4 header (0x4…) would have an unassigned type, so there is no ambiguity.
fn without_ip_header(packet: &[u8]) -> &[u8] {
    match packet.first() {
        Some(first) if first >> 4 == 4 => packet.get(usize::from(first & 0x0f) * 4..).unwrap_or_default(),
        _ => packet,
    }
}

/// The Internet checksum (RFC 1071).
fn checksum(packet: &[u8]) -> u16 {
    let words = packet.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reply to a request.
    fn reply_to(request: &[u8], kind: u8) -> Vec<u8> {
        let mut packet = request.to_vec();
        packet[0] = kind;
        packet
    }

    #[test]
    fn matches_reply_only_own_echo() {
        for (is_v6, kind) in [(false, V4_REPLY), (true, V6_REPLY)] {
            let mut echo = Echo::new(is_v6, 7, 70_000);
            let first = echo.request();
            echo.next_sequence();
            assert_ne!(first, echo.request());
            assert!(echo.matches_reply(&reply_to(&first, kind)), "late replies count");
            assert!(!echo.matches_reply(&first), "a raw socket on loopback receives the request, too");
            for other in [Echo::new(is_v6, 8, 70_000), Echo::new(is_v6, 7, 70_001)] {
                assert!(!echo.matches_reply(&reply_to(&other.request(), kind)));
            }
            for cut in 0..first.len() {
                assert!(!echo.matches_reply(&reply_to(&first, kind)[..cut]));
            }
        }
    }

    #[test]
    fn matches_reply_skips_ip_header() {
        let echo = Echo::new(false, 7, 1);
        let mut packet = vec![0x45; 20];
        packet.extend(reply_to(&echo.request(), V4_REPLY));
        assert!(echo.matches_reply(&packet));
        for broken in [&[0x4f][..], &[0x45; 21], &[]] {
            assert!(!echo.matches_reply(broken));
        }
    }

    #[test]
    fn checksum_over_complete_packet_is_zero() {
        assert_eq!(checksum(&Echo::new(false, 4_711, 99).request()), 0);
        assert_eq!(checksum(&[0x01, 0x02, 0x03]), !0x0402);
    }
}
