//! `spec.candidates` as values.

use regex::Regex;

use super::Reader;
use crate::api::references::{BorrowedRule, References};
use crate::api::rules;
use crate::api::schema::EXTRACT_MAX_BYTES;
use crate::api::v1alpha1::{Candidates, Direction, FilterTags, OrderPolicy};
use crate::engine::order::{self, CandidateRule, EXCLUDE_MAX, FilterError, Order, Source, TagFilter};
use crate::model::{Doubt, DoubtKind};

// === impl Reader ===

impl Reader {
    pub(super) fn candidates(
        &mut self,
        candidates: &Candidates,
        references: &References,
    ) -> Option<CandidateRule> {
        let field = "spec.candidates";
        let rule = self.rule(candidates, references);
        let exclude = self.exclude(&candidates.exclude);
        let not_before = self.optional_tag("spec.candidates.notBefore", candidates.not_before.as_deref());
        let max_followed =
            self.number(&format!("{field}.maxFollowed"), candidates.max_followed, rules::MAX_FOLLOWED);
        let settle = self.duration(&format!("{field}.settle"), &candidates.settle, rules::SETTLE);
        let (filter, order) = rule?;
        Some(CandidateRule {
            source: if candidates.policy_ref.is_some() { Source::Named } else { Source::Lists },
            filter,
            exclude: exclude?,
            order,
            not_before: not_before?,
            max_followed: usize::try_from(max_followed?).ok()?,
            settle: settle?,
        })
    }

    /// The filter and the order: the spec's own, or those of the ImagePolicy that it refers to.
    fn rule(
        &mut self,
        candidates: &Candidates,
        references: &References,
    ) -> Option<(Option<TagFilter>, Order)> {
        match (&candidates.policy, &candidates.policy_ref) {
            (Some(policy), None) => {
                let filter = candidates.filter_tags.as_ref().map(|filter| self.filter(filter));
                let order = self.order(policy);
                Some((filter.map_or(Some(None), |filter| filter.map(Some))?, order?))
            }
            (None, Some(reference)) => {
                self.object_name("spec.candidates.policyRef.name", &reference.name)?;
                if candidates.filter_tags.is_some() {
                    return self.fail("spec.candidates.filterTags", rules::CANDIDATES_FILTER.message);
                }
                match references.rule(&reference.name) {
                    Ok(rule) => Some(borrowed(&reference.name, rule)),
                    Err(doubt) => Some((None, Order::Untold(doubt))),
                }
            }
            _ => self.fail("spec.candidates", rules::CANDIDATES_ONE.message),
        }
    }

    fn filter(&mut self, filter: &FilterTags) -> Option<TagFilter> {
        let extract = filter.extract.as_deref();
        if let Some(long) = extract.filter(|extract| extract.len() > EXTRACT_MAX_BYTES) {
            return self.fail(
                "spec.candidates.filterTags.extract",
                format!("has {} bytes, at most {EXTRACT_MAX_BYTES} are possible", long.len()),
            );
        }
        TagFilter::new(&filter.pattern, extract).map_or_else(
            |error| {
                let part = match error {
                    FilterError::TooLong(_) | FilterError::Pattern(_) => "pattern",
                    FilterError::NoSuchGroup(_) | FilterError::NoGroup => "extract",
                };
                self.fail(format!("spec.candidates.filterTags.{part}"), error.to_string())
            },
            Some,
        )
    }

    fn exclude(&mut self, texts: &[String]) -> Option<Vec<Regex>> {
        self.at_most("spec.candidates.exclude", texts.len(), EXCLUDE_MAX)?;
        self.each("spec.candidates.exclude", texts, |reader, field, text| match order::pattern(text) {
            Ok(pattern) => Some(pattern),
            Err(error) => reader.fail(field, error.to_string()),
        })
    }

    fn order(&mut self, policy: &OrderPolicy) -> Option<Order> {
        let direction = |direction| match direction {
            Direction::Asc => order::Direction::Ascending,
            Direction::Desc => order::Direction::Descending,
        };
        match (&policy.semver, &policy.numerical, &policy.alphabetical) {
            (Some(semver), None, None) => {
                self.parse("spec.candidates.policy.semver.range", &semver.range).map(Order::SemVer)
            }
            (None, Some(numerical), None) => Some(Order::Numerical(direction(numerical.order))),
            (None, None, Some(alphabetical)) => Some(Order::Alphabetical(direction(alphabetical.order))),
            _ => self.fail("spec.candidates.policy", rules::POLICY_ONE.message),
        }
    }
}

/// The rule of a Flux ImagePolicy. One that Flux would not accept either orders nothing.
fn borrowed(name: &str, rule: &BorrowedRule) -> (Option<TagFilter>, Order) {
    let mut reader = Reader::default();
    let filter = rule.filter_tags.as_ref().map(|filter| reader.filter(filter));
    let order = reader.order(&rule.policy);
    match (filter, order) {
        (None, Some(order)) => (None, order),
        (Some(Some(filter)), Some(order)) => (Some(filter), order),
        _ => {
            let why =
                reader.problems.iter().map(|problem| problem.message.as_str()).collect::<Vec<_>>().join("; ");
            let message = format!(
                "ImagePolicy {name} cannot be understood: {why}; correct it, or write policy and filterTags"
            );
            (None, Order::Untold(Doubt::new(DoubtKind::Reference, message)))
        }
    }
}
