//! What can go wrong with a group as it is, in sentences for whoever decides. Pure.

use std::collections::BTreeSet;

use crate::cli::init::group::Trap;
use crate::cli::init::propose::Draft;

/// The sentences, the worst first.
pub fn risks(draft: &Draft<'_>) -> Vec<String> {
    let lead = draft.siblings.first().map_or("", |sibling| sibling.name.as_str());
    let others: Vec<&str> = draft.siblings.iter().skip(1).map(|sibling| sibling.name.as_str()).collect();
    let all: Vec<&str> = draft.siblings.iter().map(|sibling| sibling.name.as_str()).collect();
    let policy = draft.policy().map(ToString::to_string).unwrap_or_default();
    let mut risks = vec![match draft.group.trap {
        Trap::OnePolicy => format!(
            "{lead}'s policy ({policy}) rolls {} without looking at {}: when {lead} is pushed and a sibling is not, {lead} \
             runs the new tag and the sibling's pods cannot pull theirs",
            list(&others),
            if others.len() == 1 { "it" } else { "them" }
        ),
        Trap::SeveralPolicies => format!(
            "each of {} has a policy of its own, so that none rolls another; but they move one by one, and between two \
             commits, or while one of them is not pushed, two releases run together",
            list(&all)
        ),
        Trap::Unmarked => format!(
            "{} run the same tag, and nothing that was read says who moves it: whoever does so has to look whether all are \
             there",
            list(&all)
        ),
    }];
    let unmoved: BTreeSet<&str> = draft
        .uses()
        .filter(|place| place.policy.is_none() && draft.group.trap == Trap::OnePolicy)
        .filter(|_| draft.sources.iter().any(|source| source.is_file))
        .map(|place| place.repository.as_str())
        .collect();
    if !unmoved.is_empty() {
        risks.push(format!(
            "no marker moves {}: it stays at its tag until somebody writes another",
            list(&unmoved.into_iter().collect::<Vec<_>>())
        ));
    }
    let tags: BTreeSet<&str> = draft
        .siblings
        .iter()
        .filter(|sibling| sibling.template.is_none())
        .filter_map(|sibling| sibling.runs.as_deref())
        .collect();
    if tags.len() > 1 {
        risks.push(format!(
            "they carry different tags already: {}",
            draft
                .siblings
                .iter()
                .map(|sibling| format!("{} {}", sibling.name, sibling.runs.as_deref().unwrap_or("none")))
                .collect::<Vec<_>>()
                .join(", ")
        ));
    }
    risks
}

/// `a`, `a and b`, `a, b and c`.
pub fn list(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}
