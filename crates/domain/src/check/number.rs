//! Decimal numbers of any length, compared exactly: assertions must not depend on the precision of floats.

use std::cmp::Ordering;

/// Longest exponent, in digits. Keeps `magnitude` far from overflow.
const EXPONENT_DIGITS_MAX: usize = 9;

/// A decimal number: ± 0.`digits` × 10^`magnitude`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Number {
    is_negative: bool,
    /// Without leading and trailing zeros; empty for zero.
    digits: String,
    magnitude: i64,
}

impl Number {
    /// Parses a number as JSON defines it; also accepts a plus sign, leading zeros and surrounding whitespace.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) if is_digits(fraction) => (whole, fraction),
            Some(_) => return None,
            None => (mantissa, ""),
        };
        if !is_digits(whole) {
            return None;
        }
        let all = format!("{whole}{fraction}");
        let digits = all.trim_start_matches('0');
        let leading_zeros = all.len() - digits.len();
        let digits = digits.trim_end_matches('0').to_owned();
        Some(if digits.is_empty() {
            Self { is_negative: false, digits, magnitude: 0 }
        } else {
            let magnitude = whole.len() as i64 - leading_zeros as i64 + exponent;
            Self { is_negative: text.starts_with('-'), digits, magnitude }
        })
    }

    fn sign(&self) -> i8 {
        match (self.digits.is_empty(), self.is_negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        }
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn parse_exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let significant = digits.trim_start_matches('0');
    if !is_digits(digits) || significant.len() > EXPONENT_DIGITS_MAX {
        return None;
    }
    let exponent = if significant.is_empty() { 0 } else { significant.parse::<i64>().ok()? };
    Some(if text.starts_with('-') { -exponent } else { exponent })
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        let size = || self.magnitude.cmp(&other.magnitude).then_with(|| self.digits.cmp(&other.digits));
        self.sign().cmp(&other.sign()).then_with(|| if self.is_negative { size().reverse() } else { size() })
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(text: &str) -> Number {
        Number::parse(text).unwrap_or_else(|| panic!("{text} is a number"))
    }

    #[test]
    fn spellings_of_one_number_are_equal() {
        for (one, other) in [
            ("1.0", "1"),
            ("-0", "0.000"),
            ("1e3", "1000"),
            ("1E+03", "1000.0"),
            ("0.05", "5e-2"),
            ("+007", " 7 "),
            ("123456789012345678901234567890", "1.2345678901234567890123456789E29"),
        ] {
            assert_eq!(number(one), number(other), "{one} {other}");
        }
    }

    #[test]
    fn numbers_beyond_float_precision_are_distinguished() {
        for (less, more) in [
            ("9007199254740992", "9007199254740993"),
            ("123456789012345678901234567890", "123456789012345678901234567891"),
            ("0.1", "0.10000000000000000001"),
            ("-2", "-1.999"),
            ("-1", "0"),
            ("0", "1e-300000000"),
            ("99", "1e2"),
        ] {
            assert!(number(less) < number(more), "{less} {more}");
        }
    }

    #[test]
    fn parse_rejects_other_texts() {
        for text in
            ["", "-", "1.", ".5", "1e", "1e+", "0x10", "1_000", "1,5", "NaN", "inf", "--1", "1e1.5", "1e9999999999"]
        {
            assert_eq!(Number::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn integers_compare_as_integers(one: i128, other: i128) {
            prop_assert_eq!(number(&one.to_string()).cmp(&number(&other.to_string())), one.cmp(&other));
        }

        #[test]
        fn fractions_compare_as_fractions(
            one in -100_000i64..100_000, other in -100_000i64..100_000, places in 1u32..8
        ) {
            let text = |of: i64| {
                let (sign, unit) = (if of < 0 { "-" } else { "" }, 10u64.pow(places));
                let (whole, rest) = (of.unsigned_abs() / unit, of.unsigned_abs() % unit);
                format!("{sign}{whole}.{rest:0width$}", width = places as usize)
            };
            prop_assert_eq!(number(&text(one)).cmp(&number(&text(other))), one.cmp(&other));
            prop_assert_eq!(number(&format!("{one}e-{places}")), number(&text(one)));
        }

        #[test]
        fn parsed_number_equals_itself_for_any_text(text in "[-+0-9.eE ]{0,12}|\\PC{0,12}") {
            if let Some(number) = Number::parse(&text) {
                prop_assert_eq!(number.cmp(&number), Ordering::Equal);
            }
        }
    }
}
