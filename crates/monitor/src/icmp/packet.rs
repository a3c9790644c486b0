//! Echo requests and their answers (RFC 792, RFC 4443), as bytes.

/// The longest packet that is looked at: our answers are shorter, other traffic does not matter.
pub(super) const BYTES_MAX: usize = 256;
const HEADER_BYTES: usize = 8;
const PAYLOAD_BYTES: usize = 32;
const MAGIC: &[u8; 8] = b"tidings\0";

/// Type numbers.
const V4_REQUEST: u8 = 8;
const V4_ANSWER: u8 = 0;
const V6_REQUEST: u8 = 128;
const V6_ANSWER: u8 = 129;

/// An echo that is asked for, perhaps more than once.
#[derive(Debug)]
pub(super) struct Echo {
    is_v6: bool,
    identifier: u16,
    sequence: u16,
    payload: [u8; PAYLOAD_BYTES],
}

impl Echo {
    /// The echo of this probe of this process.
    pub fn new(is_v6: bool, process: u32, number: u64) -> Self {
        let mut payload = [0; PAYLOAD_BYTES];
        payload[..8].copy_from_slice(MAGIC);
        payload[8..12].copy_from_slice(&process.to_be_bytes());
        payload[12..20].copy_from_slice(&number.to_be_bytes());
        Self { is_v6, identifier: number as u16, sequence: 1, payload }
    }

    /// The next request is another one.
    pub fn again(&mut self) {
        self.sequence = self.sequence.wrapping_add(1);
    }

    /// The request. The system writes over the identifier of an unprivileged socket, and over ICMPv6's checksum.
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

    /// Whether this is the answer to any of the requests. A raw socket is given every ICMP packet of the host, with
    /// the IPv4 header before it.
    pub fn is_answered_by(&self, packet: &[u8]) -> bool {
        let packet = if self.is_v6 { packet } else { without_ip_header(packet) };
        let answer = if self.is_v6 { V6_ANSWER } else { V4_ANSWER };
        let Some((header, payload)) = packet.split_at_checked(HEADER_BYTES) else { return false };
        header[0] == answer && header[1] == 0 && payload == self.payload
    }
}

/// An ICMP packet whose first byte looked like that of an IPv4 header would be of a type that nobody has assigned.
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

    /// What the other end makes of a request.
    fn answered(request: &[u8], kind: u8) -> Vec<u8> {
        let mut packet = request.to_vec();
        packet[0] = kind;
        packet
    }

    #[test]
    fn only_the_own_echo_is_an_answer() {
        for (is_v6, kind) in [(false, V4_ANSWER), (true, V6_ANSWER)] {
            let mut echo = Echo::new(is_v6, 7, 70_000);
            let first = echo.request();
            echo.again();
            assert_ne!(first, echo.request());
            assert!(echo.is_answered_by(&answered(&first, kind)), "a late answer is one, too");
            assert!(!echo.is_answered_by(&first), "the request, which a raw socket on loopback sees, is none");
            for other in [Echo::new(is_v6, 8, 70_000), Echo::new(is_v6, 7, 70_001)] {
                assert!(!echo.is_answered_by(&answered(&other.request(), kind)));
            }
            for cut in 0..first.len() {
                assert!(!echo.is_answered_by(&answered(&first, kind)[..cut]));
            }
        }
    }

    #[test]
    fn an_ip_header_is_passed_over() {
        let echo = Echo::new(false, 7, 1);
        let mut packet = vec![0x45; 20];
        packet.extend(answered(&echo.request(), V4_ANSWER));
        assert!(echo.is_answered_by(&packet));
        for broken in [&[0x4f][..], &[0x45; 21], &[]] {
            assert!(!echo.is_answered_by(broken));
        }
    }

    #[test]
    fn the_checksum_of_a_packet_with_its_checksum_is_zero() {
        assert_eq!(checksum(&Echo::new(false, 4_711, 99).request()), 0);
        assert_eq!(checksum(&[0x01, 0x02, 0x03]), !0x0402);
    }
}
