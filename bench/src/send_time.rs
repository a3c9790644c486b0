//! The send time in every run id: the run's number and when its request started.
//!
//! `tdb-0000000042-1767225600123456789`: of fixed length, so that the generator can patch it into a prepared request,
//! and found by its prefix wherever the server puts the run id in the webhook's body. `tidings-target` puts the time of
//! its response into response bodies in the same form.

use memchr::memmem::Finder;

const MARK: &[u8] = b"tdb-";
const NUMBER_DIGITS: usize = 10;
const NANOS_DIGITS: usize = 19;

/// Length in bytes.
pub const LENGTH: usize = MARK.len() + NUMBER_DIGITS + 1 + NANOS_DIGITS;

/// Overwrites the first [`LENGTH`] bytes.
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

/// Finds the send time in a body.
pub struct Reader(Finder<'static>);

impl Default for Reader {
    fn default() -> Self {
        Self(Finder::new(MARK))
    }
}

impl Reader {
    /// The first send time in `body`, in nanoseconds since the Unix epoch.
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
    fn reader_finds_a_written_send_time() {
        let mut body =
            br#"{"resourceId":"tdb-not-this","runId":"__________________________________","rowCount":7}"#.to_vec();
        let at = body.windows(2).position(|two| two == b"__").unwrap();
        write(&mut body[at..], 42, 1_767_225_600_123_456_789);
        let text = String::from_utf8(body.clone()).unwrap();
        assert!(text.contains(r#""runId":"tdb-0000000042-1767225600123456789","#), "{text}");
        assert_eq!(Reader::default().nanos(&body), Some(1_767_225_600_123_456_789));
    }

    #[test]
    fn reader_ignores_malformed_send_times() {
        let reader = Reader::default();
        for body in ["", "tdb-", "tdb-0000000042-17672256001234567x9", "tdb-0000000042_1767225600123456789"] {
            assert_eq!(reader.nanos(body.as_bytes()), None, "{body}");
        }
    }
}
