//! The severity of events, and the filter by it that channels have.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The severity of an event. `Success` is for good news.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Needs action now.
    Critical,
    /// Needs action soon.
    Warning,
    Info,
    /// A successful run or the end of an incident. Filters treat it as `info`.
    Success,
}

impl Severity {
    /// The wire name: API, webhook bodies and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::Success => "success",
        }
    }

    /// Parses a wire name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Critical, Self::Warning, Self::Info, Self::Success]
            .into_iter()
            .find(|severity| severity.as_str() == name)
    }

    /// The sort weight: higher is worse.
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

    /// The level that filters compare.
    const fn filter_level(self) -> u8 {
        match self {
            Self::Critical => 2,
            Self::Warning => 1,
            Self::Info | Self::Success => 0,
        }
    }
}

/// The least severity that a channel accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
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
    /// The wire name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info+",
            Self::Warning => "warning+",
            Self::Critical => "critical",
        }
    }

    /// Parses a wire name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Info, Self::Warning, Self::Critical].into_iter().find(|filter| filter.as_str() == name)
    }

    /// Whether an event of this severity passes.
    pub const fn admits(self, severity: Severity) -> bool {
        let least = match self {
            Self::Info => 0,
            Self::Warning => 1,
            Self::Critical => 2,
        };
        severity.filter_level() >= least
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severity_filter_admits_its_level_and_above() {
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
