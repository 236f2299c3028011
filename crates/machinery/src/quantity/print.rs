//! A quantity's canonical text: no fraction, the largest suffix of its family that leaves a whole number.

use super::{Format, Quantity, power};
use std::fmt;

impl Quantity {
    /// The canonical text, also where the API keeps the one that was given.
    pub fn canonical(&self) -> String {
        if self.is_zero() {
            return "0".to_owned();
        }
        match self.format {
            Format::BinarySI => self.binary().unwrap_or_else(|| self.decimal(Format::DecimalSI)),
            format => self.decimal(format),
        }
    }

    fn decimal(&self, format: Format) -> String {
        let mut exponent = self.exponent - self.exponent.rem_euclid(3);
        // There is no suffix beyond exa; sums far beyond it can only be told with an exponent.
        let format = if exponent > 60 { Format::DecimalExponent } else { format };
        if format != Format::DecimalExponent {
            exponent = exponent.min(18);
        }
        let zeros = "0".repeat((self.exponent - exponent).unsigned_abs() as usize);
        match (format, exponent) {
            (_, 0) => format!("{}{zeros}", self.mantissa),
            (Format::DecimalExponent, exponent) => format!("{}{zeros}e{exponent}", self.mantissa),
            (_, exponent) => {
                let suffix = match exponent {
                    -9 => "n",
                    -6 => "u",
                    -3 => "m",
                    3 => "k",
                    6 => "M",
                    9 => "G",
                    12 => "T",
                    15 => "P",
                    _ => "E",
                };
                format!("{}{zeros}{suffix}", self.mantissa)
            }
        }
    }

    /// `None` where a binary suffix would lose something or help nobody.
    fn binary(&self) -> Option<String> {
        let mut value = u32::try_from(self.exponent).ok().and_then(power).and_then(|p| self.mantissa.checked_mul(p))?;
        if value.unsigned_abs() < 1024 {
            return None;
        }
        let mut suffixes = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].into_iter();
        let mut suffix = suffixes.next()?;
        while value % 1024 == 0 {
            let Some(next) = suffixes.next() else { break };
            value /= 1024;
            suffix = next;
        }
        Some(format!("{value}{suffix}"))
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.verbatim {
            Some(text) => f.write_str(text),
            None => f.write_str(&self.canonical()),
        }
    }
}
