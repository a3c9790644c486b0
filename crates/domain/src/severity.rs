//! How bad it is, and the channel's filter over it.

use serde::{Deserialize, Serialize};

/// How much an event matters. `Success` stands beside the others: it is good news.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Needs somebody now.
    Critical,
    /// Needs somebody soon.
    Warning,
    /// Worth knowing.
    Info,
    /// It went well, or it is over. Ranks as `info` before a filter.
    Success,
}

impl Severity {
    /// The word for it in the API, in bodies and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::Success => "success",
        }
    }

    /// The severity that this word names.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Critical, Self::Warning, Self::Info, Self::Success]
            .into_iter()
            .find(|severity| severity.as_str() == word)
    }

    /// What to sort by: the worst has the most.
    pub const fn weight(self) -> u8 {
        match self {
            Self::Critical => 3,
            Self::Warning => 2,
            Self::Info => 1,
            Self::Success => 0,
        }
    }

    /// The worse of the two.
    #[must_use]
    pub const fn worse(self, other: Self) -> Self {
        if other.weight() > self.weight() { other } else { self }
    }

    /// What a filter goes by.
    const fn sort_key(self) -> u8 {
        match self {
            Self::Critical => 2,
            Self::Warning => 1,
            Self::Info | Self::Success => 0,
        }
    }
}

/// The least severity that a channel lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum SeverityFilter {
    /// Everything.
    #[default]
    #[serde(rename = "info+")]
    Info,
    /// Warning and critical.
    #[serde(rename = "warning+")]
    Warning,
    /// Critical only.
    #[serde(rename = "critical")]
    Critical,
}

impl SeverityFilter {
    /// The filter's word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info+",
            Self::Warning => "warning+",
            Self::Critical => "critical",
        }
    }

    /// The filter that this word names.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Info, Self::Warning, Self::Critical].into_iter().find(|filter| filter.as_str() == word)
    }

    /// Whether an event of this severity passes.
    pub const fn admits(self, severity: Severity) -> bool {
        let least = match self {
            Self::Info => 0,
            Self::Warning => 1,
            Self::Critical => 2,
        };
        severity.sort_key() >= least
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_filter_admits_what_the_table_says() {
        use Severity::*;
        for (filter, admitted) in [
            (SeverityFilter::Info, &[Critical, Warning, Info, Success][..]),
            (SeverityFilter::Warning, &[Critical, Warning]),
            (SeverityFilter::Critical, &[Critical]),
        ] {
            for severity in [Critical, Warning, Info, Success] {
                assert_eq!(filter.admits(severity), admitted.contains(&severity), "{filter:?} {severity:?}");
            }
        }
    }
}
