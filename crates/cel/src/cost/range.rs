//! Ranges of sizes and costs. All sums and products stop at the largest number.

/// At least and at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CostRange {
    pub min: u64,
    pub max: u64,
}

impl CostRange {
    pub(crate) const ZERO: CostRange = CostRange { min: 0, max: 0 };
    pub(crate) const UNKNOWN: CostRange = CostRange { min: 0, max: u64::MAX };

    pub(crate) fn fixed(value: u64) -> Self {
        CostRange { min: value, max: value }
    }

    pub(crate) fn new(min: u64, max: u64) -> Self {
        CostRange { min, max }
    }

    pub(crate) fn plus(self, other: CostRange) -> Self {
        CostRange { min: self.min.saturating_add(other.min), max: self.max.saturating_add(other.max) }
    }

    pub(crate) fn times(self, other: CostRange) -> Self {
        CostRange { min: self.min.saturating_mul(other.min), max: self.max.saturating_mul(other.max) }
    }

    /// Times a factor, rounded up.
    pub(crate) fn scaled(self, factor: f64) -> Self {
        CostRange { min: scale(self.min, factor), max: scale(self.max, factor) }
    }

    /// From the smaller least to the larger most.
    pub(crate) fn union(self, other: CostRange) -> Self {
        CostRange { min: self.min.min(other.min), max: self.max.max(other.max) }
    }
}

/// A size times a factor, rounded up.
pub(crate) fn scale(value: u64, factor: f64) -> u64 {
    // Conversions from floats stop at the bounds.
    (value as f64 * factor).ceil() as u64
}
