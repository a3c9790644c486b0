//! The result table: figures with targets and baselines.

use std::fmt;

const HEADINGS: [&str; 6] = ["figure", "measured", "target", "met", "baseline", "ratio to baseline"];

/// The target of a figure.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    /// No target, for comparison only.
    None,
    AtLeast(f64),
    AtMost(f64),
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

    fn format(self, unit: Unit) -> String {
        match self {
            Self::None => String::new(),
            Self::AtLeast(target) => format!("≥ {}", unit.format(target)),
            Self::AtMost(target) => format!("≤ {}", unit.format(target)),
            Self::Below(target) => format!("< {}", unit.format(target)),
        }
    }
}

/// The unit of a figure.
#[derive(Debug, Clone, Copy)]
pub enum Unit {
    PerSecond,
    Ms,
    MiB,
    /// Busy processors.
    Cores,
    /// A ratio.
    Times,
    /// A plain number.
    Count,
}

impl Unit {
    fn format(self, value: f64) -> String {
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

/// A row of the table.
pub struct Figure<'a> {
    pub name: &'a str,
    pub value: f64,
    pub unit: Unit,
    pub target: Target,
    /// What the machine does without the server, with a label.
    pub baseline: Option<(f64, &'a str)>,
}

/// Figures, and remarks below them.
#[derive(Default)]
pub struct Table {
    rows: Vec<[String; 6]>,
    missed: Vec<String>,
    remarks: Vec<String>,
}

impl Table {
    /// Adds a figure.
    pub fn add(&mut self, figure: Figure<'_>) {
        let Figure { name, value, unit, target, baseline } = figure;
        let is_met = target.is_met(value);
        if is_met == Some(false) {
            self.missed.push(name.to_owned());
        }
        let met = is_met.map_or("", |is_met| if is_met { "yes" } else { "NO" });
        let (baseline, ratio) = baseline.map_or_else(Default::default, |(baseline, label)| {
            (format!("{} {label}", unit.format(baseline)), format!("{:.2}", value / baseline))
        });
        self.rows.push([name.to_owned(), unit.format(value), target.format(unit), met.to_owned(), baseline, ratio]);
    }

    /// Whether there is no figure in it.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Appends another table. Duplicate remarks are dropped.
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
                // Align numbers right and text left.
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
            0 => writeln!(f, "All targets met."),
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
        Figure { name: "speed", value, unit: Unit::PerSecond, target, baseline: Some((20_000.0, "rows")) }
    }

    #[test]
    fn display_shows_target_and_baseline() {
        let mut table = Table::default();
        table.add(figure(18_000.0, Target::AtLeast(18_000.0)));
        let text = table.to_string();
        assert!(text.contains("18,000/s | ≥ 18,000/s | yes | 20,000/s rows"), "{text}");
        assert!(text.contains("0.90 |") && text.contains("All targets met."), "{text}");
    }

    #[test]
    fn display_lists_missed_targets() {
        let mut table = Table::default();
        table.add(figure(30.0, Target::Below(30.0)));
        table.add(figure(30.0, Target::None));
        assert!(table.to_string().contains("Targets missed: 1: speed."));
    }

    #[test]
    fn append_merges_figures_and_remarks() {
        let (mut table, mut part) = (Table::default(), Table::default());
        part.add(figure(30.0, Target::Below(30.0)));
        part.remark("as it was".to_owned());
        let expected = part.to_string();
        table.append(part);
        assert_eq!(table.to_string(), expected);
        let mut again = Table::default();
        again.remark("as it was".to_owned());
        table.append(again);
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn thousands_inserts_separators() {
        assert_eq!([999.0, 1_000.4, 1_234_567.0].map(thousands), ["999", "1,000", "1,234,567"]);
    }
}
