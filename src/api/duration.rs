//! Durations as Go and Kubernetes write them: `90s`, `5m`, `1h30m`.
//!
//! A subset of Go's `time.ParseDuration`: whole hours, minutes and seconds, in that order, so that one span has
//! few spellings and the CRD can hold the form.

use std::fmt;

use jiff::SignedDuration;

/// Longest text: three numbers of six digits with their units.
pub const DURATION_MAX_BYTES: usize = 21;
/// Most digits of one number: 999,999 hours are 114 years, so no sum overflows CEL's `duration`.
const DIGITS_MAX: usize = 6;

/// Why a text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", crate::api::rules::DURATION_FORM.message)]
pub struct NotADuration;

/// Parses `90s`, `5m`, `1h30m`; never negative.
///
/// # Errors
/// When the text has another form.
pub fn parse(text: &str) -> Result<SignedDuration, NotADuration> {
    let mut rest = text;
    let mut secs = 0_i64;
    for (unit, unit_secs) in [('h', 3600), ('m', 60), ('s', 1)] {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if !rest[digits..].starts_with(unit) {
            continue;
        }
        if digits == 0 || digits > DIGITS_MAX {
            return Err(NotADuration);
        }
        let number: i64 = rest[..digits].parse().map_err(|_| NotADuration)?;
        secs += number * unit_secs;
        rest = &rest[digits + 1..];
    }
    if text.is_empty() || !rest.is_empty() { Err(NotADuration) } else { Ok(SignedDuration::from_secs(secs)) }
}

/// A span as it is written in a spec and in status: `1h30m`, `0s`. Parts of seconds are cut off.
#[derive(Clone, Copy, Debug)]
pub struct Text(pub SignedDuration);

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.0.as_secs().max(0);
        let parts = [(secs / 3600, 'h'), (secs / 60 % 60, 'm'), (secs % 60, 's')];
        for (number, unit) in parts.iter().filter(|(number, _)| *number > 0) {
            write!(f, "{number}{unit}")?;
        }
        if secs == 0 { f.write_str("0s") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_written() {
        for (text, secs, written) in [
            ("1m", 60, "1m"),
            ("1h30m", 5400, "1h30m"),
            ("90s", 90, "1m30s"),
            ("90m", 5400, "1h30m"),
            ("0s", 0, "0s"),
            ("1h0m5s", 3605, "1h5s"),
            ("999999h", 3_599_996_400, "999999h"),
        ] {
            let span = parse(text).unwrap();
            assert_eq!((span.as_secs(), Text(span).to_string().as_str()), (secs, written), "{text}");
            assert_eq!(parse(written), Ok(span));
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for text in ["", "1", "0", "m", "-1m", "1.5h", "1m1h", "1m1m", "5 m", "1d", "500ms", "1000000s", "१m"]
        {
            assert_eq!(parse(text), Err(NotADuration), "{text}");
        }
    }
}
