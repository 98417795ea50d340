//! From wire types to the engine's `Policy`: every field is parsed, every mistake is reported.
//!
//! This is what an API server holds by CEL, for the command line and for objects that an older CRD let in. It
//! reads no file and asks no server.

mod candidates;
mod smoke;
mod targets;

use std::collections::BTreeSet;

use jiff::SignedDuration;

use crate::api::duration;
use crate::api::references::References;
use crate::api::rules::{self, Bounds, Range};
use crate::api::schema::{OBJECT_NAME_MAX_BYTES, REVISION_KEY_MAX_BYTES};
use crate::api::v1alpha1::{
    Gate, Image, OnTagMoved, RegistryAccess, ReleaseSetSpec, RevisionFrom, SameRevision, Verify,
};
use crate::engine::policy::{
    Gate as GatePolicy, GateKind, ImagePolicy, PLATFORMS_MAX, Place, Policy, PolicyParts, RevisionSource,
    SameRevisionGate,
};
use crate::model::{Doubt, DoubtKind, Platform, Problem, Repository, Tag};

/// The policy that a spec states.
///
/// # Errors
/// Every mistake, with the path of its field as `kubectl` prints it. Rules that join fields are judged once each
/// field is sound.
pub fn policy(spec: &ReleaseSetSpec, generation: i64) -> Result<Policy, Vec<Problem>> {
    policy_with(spec, generation, &References::default())
}

/// The policy that a spec states, with what the objects that it refers to say. What could not be read of them is no
/// problem of the spec: it is Unknown in the policy.
///
/// # Errors
/// As [`policy`].
pub fn policy_with(
    spec: &ReleaseSetSpec,
    generation: i64,
    references: &References,
) -> Result<Policy, Vec<Problem>> {
    let mut reader = Reader::default();
    let parts = reader.parts(spec, generation, references);
    match parts {
        Some(parts) if reader.problems.is_empty() => Policy::new(parts),
        _ => Err(reader.problems),
    }
}

/// How many releases history keeps, within the limits of the CRD.
pub fn history_limit(spec: &ReleaseSetSpec) -> usize {
    let limit = spec.history_limit.clamp(rules::HISTORY_LIMIT.min, rules::HISTORY_LIMIT.max);
    usize::try_from(limit).unwrap_or(1)
}

/// What is allowed and may surprise: for `lint` and the file of `check`.
pub fn warnings(spec: &ReleaseSetSpec) -> Vec<Problem> {
    let mut warnings = Vec::new();
    for (field, is_set, commands) in [
        ("spec.pin", spec.pin.is_some(), "`tidegate pin` and `unpin`"),
        ("spec.suspend", spec.suspend.is_some(), "`tidegate suspend` and `resume`"),
        ("spec.breakGlass", spec.break_glass.is_some(), "patches in an emergency"),
    ] {
        if is_set {
            let message =
                format!("is set in the file, and Git undoes what {commands} do at every sync: leave it out");
            warnings.push(Problem::new(field, message));
        }
    }
    for (index, target) in spec.targets.iter().enumerate() {
        let keys = target.config_map.iter().flat_map(|config_map| config_map.keys.keys());
        for key in keys.filter(|key| !is_variable(key)) {
            warnings.push(Problem::new(
                format!("spec.targets[{index}].configMap.keys[{key}]"),
                "is no name of a variable: substituteFrom of a Kustomization refuses the whole ConfigMap; for valuesFrom \
                 of a HelmRelease any name will do",
            ));
        }
    }
    for (index, _) in spec.targets.iter().enumerate().filter(|(_, target)| target.image_policy.is_some()) {
        warnings.push(Problem::new(
            format!("spec.targets[{index}].imagePolicy"),
            "names a tag, which whoever may push can move after the commit: a configMap target pins digests",
        ));
    }
    warnings
}

/// True for what kustomize-controller takes as a variable (envsubst: a letter or `_`, then those and digits).
fn is_variable(key: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    key.bytes().next().is_some_and(is_letter)
        && key.bytes().all(|byte| is_letter(byte) || byte.is_ascii_digit())
}

/// Collects problems; every method returns `None` exactly when it added one.
#[derive(Default)]
struct Reader {
    problems: Vec<Problem>,
}

// === impl Reader ===

impl Reader {
    fn parts(
        &mut self,
        spec: &ReleaseSetSpec,
        generation: i64,
        references: &References,
    ) -> Option<PolicyParts> {
        let interval = self.duration("spec.interval", &spec.interval, rules::INTERVAL);
        let drift_interval = self.duration("spec.driftInterval", &spec.drift_interval, rules::DRIFT_INTERVAL);
        let deadline = self.duration("spec.deadline", &spec.deadline, rules::DEADLINE);
        let pin = self.optional_tag("spec.pin", spec.pin.as_deref());
        let skip = self.skip(&spec.skip);
        let platforms = self.platforms("spec.platforms", &spec.platforms, false);
        self.registry("spec.registry", spec.registry.as_ref());
        let images = self.each("spec.images", &spec.images, |reader, field, image| {
            reader.image(field, image, platforms.as_deref(), references)
        });
        let candidates = self.candidates(&spec.candidates, references);
        let gates = self.each("spec.gates", &spec.gates, Self::gate);
        let targets = self.each("spec.targets", &spec.targets, Self::target);
        self.policy_ref(spec);
        self.number("spec.historyLimit", spec.history_limit, rules::HISTORY_LIMIT);
        Some(PolicyParts {
            generation,
            interval: interval?,
            drift_interval: drift_interval?,
            suspend: spec.suspend.unwrap_or_default(),
            pin: pin?,
            skip: skip?,
            images: images?,
            verify: match spec.verify {
                Verify::Manifests => crate::model::Verify::Manifests,
                Verify::Blobs => crate::model::Verify::Blobs,
            },
            candidates: candidates?,
            gates: gates?,
            deadline: deadline?,
            on_tag_moved: match spec.on_tag_moved {
                OnTagMoved::Report => crate::engine::policy::OnTagMoved::Report,
                OnTagMoved::Repromote => crate::engine::policy::OnTagMoved::Repromote,
            },
            targets: targets?,
        })
    }

    fn fail<T>(&mut self, field: impl Into<String>, message: impl Into<String>) -> Option<T> {
        self.problems.push(Problem::new(field, message));
        None
    }

    /// A text whose message begins with the text itself where the CRD's words do not.
    fn refuse<T>(&mut self, field: impl Into<String>, text: &str, message: &str) -> Option<T> {
        self.fail(field, format!("`{text}` {message}"))
    }

    fn parse<T: std::str::FromStr<Err: ToString>>(&mut self, field: &str, text: &str) -> Option<T> {
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => self.fail(field, error.to_string()),
        }
    }

    /// All entries of a list, or `None` after all of them were tried.
    fn each<T, U>(
        &mut self,
        field: &str,
        entries: &[T],
        mut read: impl FnMut(&mut Self, &str, &T) -> Option<U>,
    ) -> Option<Vec<U>> {
        let read: Vec<Option<U>> = entries
            .iter()
            .enumerate()
            .map(|(index, entry)| read(self, &format!("{field}[{index}]"), entry))
            .collect();
        read.into_iter().collect()
    }

    fn at_most(&mut self, field: &str, count: usize, limit: usize) -> Option<()> {
        if count > limit {
            return self.fail(field, format!("has {count} entries, at most {limit} are possible"));
        }
        Some(())
    }

    fn duration(&mut self, field: &str, text: &str, bounds: Bounds) -> Option<SignedDuration> {
        let Ok(span) = duration::parse(text) else {
            return self.refuse(field, text, rules::DURATION_FORM.message);
        };
        let bound = |text: &str| duration::parse(text).unwrap_or_default();
        if (bound(bounds.min)..=bound(bounds.max)).contains(&span) {
            Some(span)
        } else {
            self.refuse(field, text, bounds.rule.message)
        }
    }

    fn number(&mut self, field: &str, number: i64, range: Range) -> Option<i64> {
        if (range.min..=range.max).contains(&number) {
            Some(number)
        } else {
            self.refuse(field, &number.to_string(), range.rule.message)
        }
    }

    /// The outer `None` is a problem, the inner one absence.
    #[expect(clippy::option_option, reason = "a problem and absence are two answers")]
    fn optional_tag(&mut self, field: &str, text: Option<&str>) -> Option<Option<Tag>> {
        text.map_or(Some(None), |text| self.parse(field, text).map(Some))
    }

    fn object_name(&mut self, field: &str, name: &str) -> Option<String> {
        let is_part = |part: &str| {
            let sound = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            let bytes = part.as_bytes();
            bytes.iter().all(|&byte| sound(byte) || byte == b'-')
                && bytes.first().is_some_and(|&byte| sound(byte))
                && bytes.last().is_some_and(|&byte| sound(byte))
        };
        if name.len() <= OBJECT_NAME_MAX_BYTES && name.split('.').all(is_part) {
            Some(name.to_owned())
        } else {
            self.refuse(field, name, rules::OBJECT_NAME.message)
        }
    }

    fn skip(&mut self, texts: &[String]) -> Option<BTreeSet<Tag>> {
        let tags: Vec<Tag> =
            self.each("spec.skip", texts, |reader, field, text| reader.parse(field, text))?;
        let count = tags.len();
        self.at_most("spec.skip", count, crate::engine::policy::SKIP_MAX)?;
        let tags: BTreeSet<Tag> = tags.into_iter().collect();
        if tags.len() < count {
            return self.fail("spec.skip", rules::SKIP_UNIQUE.message);
        }
        Some(tags)
    }

    fn registry(&mut self, field: &str, access: Option<&RegistryAccess>) {
        let Some(access) = access else { return };
        for (key, secret) in [
            ("secretRef", &access.secret_ref),
            ("certSecretRef", &access.cert_secret_ref),
            ("proxySecretRef", &access.proxy_secret_ref),
        ] {
            if let Some(secret) = secret {
                self.object_name(&format!("{field}.{key}.name"), &secret.name);
            }
        }
        if access.insecure && access.cert_secret_ref.is_some() {
            self.fail::<()>(&format!("{field}.insecure"), rules::REGISTRY_CERTIFICATES.message);
        }
        if let Some(account) = &access.service_account_name {
            self.object_name(&format!("{field}.serviceAccountName"), account);
        }
    }

    fn platform(&mut self, field: &str, text: &str) -> Option<Platform> {
        let known = text.split_once('/').is_some_and(|(os, rest)| {
            let architecture = rest.split('/').next().unwrap_or_default();
            rules::KNOWN_OS.contains(&os) && rules::KNOWN_ARCHITECTURES.contains(&architecture)
        });
        match text.parse() {
            Ok(platform) if known => Some(platform),
            _ => self.refuse(field, text, rules::PLATFORM.message),
        }
    }

    fn platforms(&mut self, field: &str, texts: &[String], may_be_empty: bool) -> Option<Vec<Platform>> {
        if texts.is_empty() && !may_be_empty {
            return self.fail(field, rules::PLATFORMS_NOT_EMPTY.message);
        }
        self.at_most(field, texts.len(), PLATFORMS_MAX)?;
        let platforms = self.each(field, texts, |reader, field, text| reader.platform(field, text))?;
        let twice =
            platforms.iter().enumerate().find(|(index, platform)| platforms[..*index].contains(platform));
        match twice {
            Some((_, twice)) => self.fail(field, format!("names {twice} twice: remove one")),
            None => Some(platforms),
        }
    }

    fn image(
        &mut self,
        field: &str,
        image: &Image,
        common: Option<&[Platform]>,
        references: &References,
    ) -> Option<ImagePolicy> {
        let name = self.parse(&format!("{field}.name"), &image.name);
        let place = self.place(field, image, references);
        let tag_template = self.parse(&format!("{field}.tagTemplate"), &image.tag_template);
        let platforms = match &image.platforms {
            Some(own) => self.platforms(&format!("{field}.platforms"), own, false),
            None => common.map(<[Platform]>::to_vec),
        };
        let advisory_platforms =
            self.platforms(&format!("{field}.advisoryPlatforms"), &image.advisory_platforms, true);
        self.registry(&format!("{field}.registry"), image.registry.as_ref());
        Some(ImagePolicy {
            name: name?,
            place: place?,
            tag_template: tag_template?,
            platforms: platforms?,
            advisory_platforms: advisory_platforms?,
            advisory: image.advisory,
        })
    }

    fn place(&mut self, field: &str, image: &Image, references: &References) -> Option<Place> {
        match (&image.repository, &image.image_repository_ref) {
            (Some(repository), None) => self.parse(&format!("{field}.repository"), repository).map(Place::At),
            (None, Some(reference)) => {
                self.object_name(&format!("{field}.imageRepositoryRef.name"), &reference.name)?;
                if image.registry.is_some() {
                    return self.fail(format!("{field}.registry"), rules::IMAGE_REGISTRY.message);
                }
                Some(borrowed_place(&reference.name, references))
            }
            _ => self.fail(field, rules::IMAGE_ONE.message),
        }
    }

    /// A set that followed its own target would name its own candidates.
    fn policy_ref(&mut self, spec: &ReleaseSetSpec) {
        let Some(reference) = &spec.candidates.policy_ref else { return };
        let mut policies = spec.targets.iter().filter_map(|target| target.image_policy.as_ref());
        if policies.any(|policy| policy.name == reference.name) {
            self.refuse::<()>("spec.candidates.policyRef", &reference.name, rules::POLICY_REF_NO_TARGET);
        }
    }

    fn gate(&mut self, field: &str, gate: &Gate) -> Option<GatePolicy> {
        let name = self.parse(&format!("{field}.name"), &gate.name);
        let kind = match (&gate.smoke, &gate.same_revision) {
            (Some(smoke), None) => self.smoke(&format!("{field}.smoke"), smoke).map(GateKind::Smoke),
            (None, Some(same)) => {
                self.same_revision(&format!("{field}.sameRevision"), same).map(GateKind::SameRevision)
            }
            _ => self.fail(field, rules::GATE_ONE.message),
        };
        Some(GatePolicy { name: name?, advisory: gate.advisory, kind: kind? })
    }

    fn same_revision(&mut self, field: &str, same: &SameRevision) -> Option<SameRevisionGate> {
        if same.key.is_empty() || same.key.len() > REVISION_KEY_MAX_BYTES {
            let message = format!("has {} bytes: write 1 to {REVISION_KEY_MAX_BYTES}", same.key.len());
            return self.fail(format!("{field}.key"), message);
        }
        let from = match same.from {
            RevisionFrom::Annotation => RevisionSource::Annotation,
            RevisionFrom::Any => RevisionSource::Any,
        };
        Some(SameRevisionGate { key: same.key.clone(), from })
    }
}

/// Where the ImageRepository `name` says that its image lives.
fn borrowed_place(name: &str, references: &References) -> Place {
    let untold = |doubt| Place::Untold { reference: format!("ImageRepository/{name}"), doubt };
    match references.image_repository(name) {
        Err(doubt) => untold(doubt),
        Ok(borrowed) => borrowed.repository.parse::<Repository>().map_or_else(
            |error| untold(Doubt::new(DoubtKind::Reference, format!("ImageRepository {name}: {error}"))),
            Place::At,
        ),
    }
}

#[cfg(test)]
mod tests;
