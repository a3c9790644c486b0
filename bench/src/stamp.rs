//! The stamp in every run's id: its number, and the instant at which its request began.
//!
//! `tdb-0000000042-1767225600123456789`: always as long, so that the generator patches it into a finished request, and
//! found by its first bytes wherever the server puts the run's id in the webhook's body. A target that is watched stamps
//! its answers, too; then the instant is that of the answer.

use memchr::memmem::Finder;

const MARK: &[u8] = b"tdb-";
const NUMBER_DIGITS: usize = 10;
const NANOS_DIGITS: usize = 19;

/// How many bytes a stamp has.
pub const LENGTH: usize = MARK.len() + NUMBER_DIGITS + 1 + NANOS_DIGITS;

/// Writes a stamp over the first [`LENGTH`] bytes.
pub fn write(into: &mut [u8], number: u64, nanos: u64) {
    let (mark, rest) = into[..LENGTH].split_at_mut(MARK.len());
    let (number_digits, rest) = rest.split_at_mut(NUMBER_DIGITS);
    mark.copy_from_slice(MARK);
    digits(number_digits, number);
    rest[0] = b'-';
    digits(&mut rest[1..], nanos);
}

fn digits(into: &mut [u8], mut value: u64) {
    for digit in into.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Finds the instant in a body.
pub struct Reader(Finder<'static>);

impl Default for Reader {
    fn default() -> Self {
        Self(Finder::new(MARK))
    }
}

impl Reader {
    /// Nanoseconds since the Unix epoch from the first stamp in `body`.
    pub fn nanos(&self, body: &[u8]) -> Option<u64> {
        self.0.find_iter(body).find_map(|at| {
            let (number, nanos) = body[at..].get(MARK.len()..LENGTH)?.split_at(NUMBER_DIGITS);
            let nanos = nanos.strip_prefix(b"-")?;
            value(number)?;
            value(nanos)
        })
    }
}

fn value(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0u64, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
        value.checked_mul(10)?.checked_add(digit.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut body =
            br#"{"resourceId":"tdb-not-this","runId":"__________________________________","rowCount":7}"#.to_vec();
        let at = body.windows(2).position(|two| two == b"__").unwrap();
        write(&mut body[at..], 42, 1_767_225_600_123_456_789);
        let text = String::from_utf8(body.clone()).unwrap();
        assert!(text.contains(r#""runId":"tdb-0000000042-1767225600123456789","#), "{text}");
        assert_eq!(Reader::default().nanos(&body), Some(1_767_225_600_123_456_789));
    }

    #[test]
    fn a_body_without_a_stamp_has_no_instant() {
        let reader = Reader::default();
        for body in ["", "tdb-", "tdb-0000000042-17672256001234567x9", "tdb-0000000042_1767225600123456789"] {
            assert_eq!(reader.nanos(body.as_bytes()), None, "{body}");
        }
    }
}
