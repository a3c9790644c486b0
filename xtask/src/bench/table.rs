//! The one table: every figure beside its target and the machine's floor.

use std::fmt;

const HEADINGS: [&str; 6] = ["figure", "measured", "target", "met", "floor of this machine", "ratio to floor"];

/// What is aimed at.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    /// Nothing: it is told for comparison.
    None,
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
    /// Less than this.
    Below(f64),
}

impl Target {
    fn is_met(self, value: f64) -> Option<bool> {
        match self {
            Self::None => None,
            Self::AtLeast(target) => Some(value >= target),
            Self::AtMost(target) => Some(value <= target),
            Self::Below(target) => Some(value < target),
        }
    }

    fn words(self, unit: Unit) -> String {
        match self {
            Self::None => String::new(),
            Self::AtLeast(target) => format!("≥ {}", unit.words(target)),
            Self::AtMost(target) => format!("≤ {}", unit.words(target)),
            Self::Below(target) => format!("< {}", unit.words(target)),
        }
    }
}

/// What a number counts.
#[derive(Debug, Clone, Copy)]
pub enum Unit {
    /// So many in a second.
    PerSecond,
    /// Milliseconds.
    Ms,
    /// MiB.
    MiB,
    /// Processors that are busy.
    Cores,
    /// Times.
    Times,
    /// Just so many.
    Count,
}

impl Unit {
    fn words(self, value: f64) -> String {
        match self {
            Self::PerSecond => format!("{}/s", thousands(value)),
            Self::Ms => format!("{value:.3} ms"),
            Self::MiB => format!("{value:.1} MiB"),
            Self::Cores => format!("{value:.3} cores"),
            Self::Times => format!("{value:.2} ×"),
            Self::Count => format!("{value:.1}"),
        }
    }
}

/// A figure of the table.
pub struct Figure<'a> {
    /// What was measured.
    pub name: &'a str,
    /// How much it was.
    pub value: f64,
    /// Of what.
    pub unit: Unit,
    /// How much it should be.
    pub target: Target,
    /// What the machine does without the server, and in which words.
    pub floor: Option<(f64, &'a str)>,
}

/// All figures, and remarks below them.
#[derive(Default)]
pub struct Table {
    rows: Vec<[String; 6]>,
    missed: Vec<String>,
    remarks: Vec<String>,
}

impl Table {
    /// Adds a figure.
    pub fn add(&mut self, figure: Figure<'_>) {
        let Figure { name, value, unit, target, floor } = figure;
        let is_met = target.is_met(value);
        if is_met == Some(false) {
            self.missed.push(name.to_owned());
        }
        let met = is_met.map_or("", |is_met| if is_met { "yes" } else { "NO" });
        let (floor, ratio) = floor.map_or_else(Default::default, |(floor, words)| {
            (format!("{} {words}", unit.words(floor)), format!("{:.2}", value / floor))
        });
        self.rows.push([name.to_owned(), unit.words(value), target.words(unit), met.to_owned(), floor, ratio]);
    }

    /// Whether there is no figure in it.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Adds all of another table. A remark that both make stands there once.
    pub fn append(&mut self, part: Self) {
        self.rows.extend(part.rows);
        self.missed.extend(part.missed);
        for remark in part.remarks {
            if !self.remarks.contains(&remark) {
                self.remarks.push(remark);
            }
        }
    }

    /// Adds a line below the table.
    pub fn remark(&mut self, remark: String) {
        self.remarks.push(remark);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or(0).max(HEADINGS[column].chars().count())
        };
        let widths: Vec<usize> = (0..HEADINGS.len()).map(width).collect();
        let mut line = |cells: &[String]| {
            for (column, (cell, width)) in cells.iter().zip(&widths).enumerate() {
                // Numbers to the right, words to the left.
                if matches!(column, 1 | 2 | 5) {
                    write!(f, "| {cell:>width$} ")?
                } else {
                    write!(f, "| {cell:<width$} ")?
                }
            }
            writeln!(f, "|")
        };
        line(&HEADINGS.map(str::to_owned))?;
        line(&widths.iter().map(|width| "-".repeat(*width)).collect::<Vec<_>>())?;
        self.rows.iter().try_for_each(|row| line(row))?;
        writeln!(f)?;
        for remark in &self.remarks {
            writeln!(f, "{remark}")?;
        }
        match self.missed.len() {
            0 => writeln!(f, "No target missed by what was measured."),
            count => writeln!(f, "Targets missed: {count}: {}.", self.missed.join("; ")),
        }
    }
}

/// `12345.6` as `12,346`.
pub fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.max(0.0));
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(value: f64, target: Target) -> Figure<'static> {
        Figure { name: "speed", value, unit: Unit::PerSecond, target, floor: Some((20_000.0, "rows")) }
    }

    #[test]
    fn a_figure_stands_beside_its_target_and_floor() {
        let mut table = Table::default();
        table.add(figure(18_000.0, Target::AtLeast(18_000.0)));
        let text = table.to_string();
        assert!(text.contains("18,000/s | ≥ 18,000/s | yes | 20,000/s rows"), "{text}");
        assert!(text.contains("0.90 |") && text.contains("No target missed by what was measured."), "{text}");
    }

    #[test]
    fn what_misses_its_target_is_named() {
        let mut table = Table::default();
        table.add(figure(30.0, Target::Below(30.0)));
        table.add(figure(30.0, Target::None));
        assert!(table.to_string().contains("Targets missed: 1: speed."));
    }

    #[test]
    fn a_table_takes_in_another() {
        let (mut table, mut part) = (Table::default(), Table::default());
        part.add(figure(30.0, Target::Below(30.0)));
        part.remark("as it was".to_owned());
        let told = part.to_string();
        table.append(part);
        assert_eq!(table.to_string(), told);
        let mut again = Table::default();
        again.remark("as it was".to_owned());
        table.append(again);
        assert_eq!(table.to_string(), told);
    }

    #[test]
    fn thousands_are_parted() {
        assert_eq!([999.0, 1_000.4, 1_234_567.0].map(thousands), ["999", "1,000", "1,234,567"]);
    }
}
