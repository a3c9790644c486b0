//! Median and range of repeated measurements.

use std::fmt;

use super::median;

/// Median and range. No outlier is excluded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    /// From values in any order.
    pub fn new(values: impl IntoIterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.into_iter().collect();
        let min = values.iter().copied().fold(f64::NAN, f64::min);
        let max = values.iter().copied().fold(f64::NAN, f64::max);
        Self { median: median(values), min, max }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { median, min, max } = self;
        write!(f, "{median:.2}")?;
        if min < max { write!(f, " ({min:.2} to {max:.2})") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outlier_changes_the_range_but_not_the_median() {
        let spread = Spread::new([1.0, 9.0, 1.25]);
        assert_eq!(spread, Spread { median: 1.25, min: 1.0, max: 9.0 });
        assert_eq!(spread.to_string(), "1.25 (1.00 to 9.00)");
        assert_eq!(Spread::new([2.0]).to_string(), "2.00");
    }
}
