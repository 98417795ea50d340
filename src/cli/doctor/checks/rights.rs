//! What the person who runs this may do to steer sets of a namespace.

use crate::cli::doctor::checks::PlaceSubject;
use crate::cli::doctor::facts::Told;
use crate::cli::doctor::facts::rights::{Asked, of_hands};
use crate::cli::doctor::finding::{Finding, Severity};

pub(super) fn examine(subject: &PlaceSubject<'_>) -> Vec<Finding> {
    let mut missing = Vec::new();
    for rule in of_hands() {
        match subject.place.rights.get(&(Asked::Me, rule.clone())).unwrap_or(&Told::Unasked) {
            Told::Found(true) => {}
            Told::Found(false) => missing.push(rule.to_string()),
            told => {
                let why = told.untold().unwrap_or("the API server did not say");
                return vec![Finding::untold("what you may do here", why)];
            }
        }
    }
    vec![if missing.is_empty() {
        Finding::new(Severity::Ok, "you may look at sets and steer them")
    } else {
        Finding::new(Severity::Info, format!("you may not {}", missing.join(", ")))
            .because("suspend, resume, pin, unpin, skip and retry need it (the Event of it: create events)")
            .next("to steer sets, ask for the Role of docs/how-to/steer-a-release-set.md")
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::facts::{Installation, Place};

    fn found(answer: impl Fn(&str) -> Told<bool>) -> Finding {
        let rights = of_hands().into_iter().map(|rule| {
            let told = answer(rule.verb);
            ((Asked::Me, rule), told)
        });
        let place = Place { rights: rights.collect(), ..Place::default() };
        examine(&PlaceSubject { place: &place, installation: &Installation::default() }).remove(0)
    }

    #[test]
    fn who_may_only_look_is_told_what_is_missing() {
        assert_eq!(found(|_| Told::Found(true)).severity, Severity::Ok);
        let reader = found(|verb| Told::Found(verb != "patch"));
        assert_eq!(
            (reader.severity, reader.what.as_str()),
            (Severity::Info, "you may not patch releasesets.tidegate.dev")
        );
        assert_eq!(found(|_| Told::Untold("503".to_owned())).severity, Severity::Unknown);
    }
}
