//! Clocks: of this machine, the API server, and (in the check `registry`) of each registry.

use jiff::SignedDuration;

use crate::cli::doctor::checks::Whole;
use crate::cli::doctor::facts::Told;
use crate::cli::doctor::finding::{Finding, Severity};

/// How far two clocks may differ: half of the 60 s that a registry's token lives at least (distribution specification,
/// token authentication). Beyond it a token may be over before it is used, or seem so; what `explain` counts is off too.
pub const SKEW_MAX: SignedDuration = SignedDuration::from_secs(30);

pub(super) fn examine(whole: &Whole<'_>) -> Vec<Finding> {
    vec![match &whole.installation.clock_ahead {
        Told::Found(ahead) if ahead.abs() > SKEW_MAX => {
            let what = format!("this machine's clock is {} the API server's", words(*ahead));
            Finding::new(Severity::Warn, what)
                .because("ages that commands print are wrong by that much, and tokens of registries seem over or fresh")
                .next("set the clock by NTP, here or on the control plane, whichever is wrong")
        }
        Told::Found(_) => Finding::new(Severity::Ok, "this machine and the API server agree within 30 s"),
        told => Finding::untold("whether clocks agree", told.untold().unwrap_or("there was no answer")),
    }]
}

/// `42 s ahead of` or `42 s behind`.
pub fn words(ahead: SignedDuration) -> String {
    let secs = ahead.abs().as_secs();
    if ahead.is_negative() { format!("{secs} s behind") } else { format!("{secs} s ahead of") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::facts::Installation;

    #[test]
    fn clocks_that_differ_are_told_with_the_direction() {
        for (clock_ahead, severity, said) in [
            (Told::Found(SignedDuration::from_secs(30)), Severity::Ok, "agree"),
            (Told::Found(SignedDuration::from_secs(31)), Severity::Warn, "31 s ahead of"),
            (Told::Found(SignedDuration::from_secs(-90)), Severity::Warn, "90 s behind"),
            (Told::Untold("no Date".to_owned()), Severity::Unknown, "could not be told"),
        ] {
            let installation = Installation { clock_ahead, ..Installation::default() };
            let told = examine(&Whole { installation: &installation, sets: &[], program: "tidegate" });
            assert!(told[0].severity == severity && told[0].what.contains(said), "{told:?}");
        }
    }
}
