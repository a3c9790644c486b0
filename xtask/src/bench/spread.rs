//! Several measurements of one thing: the middle of them, and how far they lie apart.

use std::fmt;

use super::median;

/// Of all of them, whatever they are: none is left out for being odd.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The median.
    pub middle: f64,
    /// The lowest.
    pub least: f64,
    /// The highest.
    pub most: f64,
}

impl Spread {
    /// Of these.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.into_iter().collect();
        let least = values.iter().copied().fold(f64::NAN, f64::min);
        let most = values.iter().copied().fold(f64::NAN, f64::max);
        Self { middle: median(values), least, most }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { middle, least, most } = self;
        write!(f, "{middle:.2}")?;
        // A single one has no ends worth telling.
        if least < most { write!(f, " ({least:.2} to {most:.2})") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_odd_one_moves_the_end_and_not_the_middle() {
        let spread = Spread::of([1.0, 9.0, 1.25]);
        assert_eq!(spread, Spread { middle: 1.25, least: 1.0, most: 9.0 });
        assert_eq!(spread.to_string(), "1.25 (1.00 to 9.00)");
        assert_eq!(Spread::of([2.0]).to_string(), "2.00");
    }
}
