//! The one next step for each thing that may stand in the way. Sentences without a final period.

use std::collections::BTreeMap;

use crate::engine::decision::{Candidate, CandidateImage, Cell, GateReport, GateState};
use crate::engine::policy::Policy;
use crate::model::{DefectKind, Doubt, DoubtKind, ImageName, Repository, Sighting, Tag};
use crate::registry::origin::{Found, Origin};

/// How an image was asked for, as far as sentences need it. No secret is in it.
#[derive(Clone, Debug)]
pub struct Source {
    /// What was asked.
    pub repository: Repository,
    /// Where the credential came from.
    pub origin: Origin,
    /// The Secret that the spec names, which only the cluster reads.
    pub secret: Option<String>,
    /// The command that shows what answers there; `None` where it is that command that speaks.
    pub ping: Option<String>,
}

/// The source of each image of a set.
pub type Sources = BTreeMap<ImageName, Source>;

/// What to do about the first required cell that blocks: what is known to be wrong goes first, as in the engine.
pub fn cell(policy: &Policy, candidate: &Candidate, sources: &Sources) -> String {
    let cells = candidate.images.iter().flat_map(|image| image.cells.iter().map(move |cell| (image, cell)));
    let severity = |cell: &Cell| match cell.sighting {
        Sighting::Broken(_) => 0,
        Sighting::Missing => 1,
        Sighting::Unknown(_) => 2,
        Sighting::Present(_) => 3,
    };
    let blocking = cells.filter(|(_, cell)| cell.required).min_by_key(|(_, cell)| severity(cell));
    let Some((image, cell)) = blocking else { return "run this again".to_owned() };
    let reference = reference(policy, image);
    match &cell.sighting {
        Sighting::Broken(defect) => broken(&defect.kind, &reference, cell),
        Sighting::Unknown(doubt) => unknown(doubt, sources.get(&image.name)),
        Sighting::Missing if image.digest.is_some() => format!(
            "push {reference} again with {platform} in its index, or move {platform} to `advisoryPlatforms` of {}",
            image.name,
            platform = cell.platform
        ),
        Sighting::Missing | Sighting::Present(_) => format!("push {reference}, then run this again"),
    }
}

/// What to do about a doubt, of an image that the policy may not know.
pub fn unknown(doubt: &Doubt, source: Option<&Source>) -> String {
    source.map_or_else(
        || "run this again".to_owned(),
        |source| doubtful(doubt.kind, doubt.retry_after_secs, source),
    )
}

fn reference(policy: &Policy, image: &CandidateImage) -> String {
    let repository =
        policy.image(&image.name).map_or_else(|| image.name.to_string(), |known| known.place.text());
    image.tag.as_ref().map_or_else(|| repository.clone(), |tag| format!("{repository}:{tag}"))
}

fn broken(kind: &DefectKind, reference: &str, cell: &Cell) -> String {
    match kind {
        DefectKind::DanglingChild(_) | DefectKind::DanglingBlob(_) => {
            format!("push {reference} again: a part of it is gone from the registry")
        }
        DefectKind::PlatformMismatch => {
            format!(
                "build {reference} for {} again: what it holds was built for another platform",
                cell.platform
            )
        }
        DefectKind::Unsupported => format!("push {reference} as an OCI or Docker schema 2 image"),
    }
}

/// What to do about something that could not be told. Every kind of doubt has an answer, whatever the credential.
fn doubtful(kind: DoubtKind, retry_after_secs: Option<u32>, source: &Source) -> String {
    let host = source.repository.host();
    match (kind, retry_after_secs) {
        (DoubtKind::Auth, _) => source.credential(),
        (DoubtKind::Throttled, Some(secs)) => {
            format!("run this again in {secs} s: {host} asked for that pause{}", source.higher_limit())
        }
        (DoubtKind::Throttled, None) => {
            format!("run this again later: {host} was asked too often{}", source.higher_limit())
        }
        (DoubtKind::Reference, _) => format!(
            "mend the object that the spec refers to, as the reason says: until then {host} is not asked"
        ),
        (DoubtKind::Transient, _) => match &source.ping {
            Some(ping) => {
                format!(
                    "run this again; if {host} still does not answer, `{ping}` shows how far a request gets"
                )
            }
            None => format!(
                "check that {host} can be reached from here, how (`--insecure` asks over plain HTTP), and its \
                 certificate"
            ),
        },
        (DoubtKind::Protocol | DoubtKind::Corrupt, _) => match &source.ping {
            Some(ping) => {
                format!("check that {host} is the registry that you mean: `{ping}` shows what answers there")
            }
            None => format!("check that {host} is the registry that you mean, and what lies between"),
        },
    }
}

// === impl Source ===

impl Source {
    /// The source of an image without a credential of its own.
    #[cfg(test)]
    fn of(repository: &str, found: Found) -> Self {
        let file = Some("/home/me/.docker/config.json".into());
        let repository = repository.parse().unwrap();
        let ping = Some(format!("tidegate registry ping {repository}"));
        Self { repository, origin: Origin { file, found }, secret: None, ping }
    }

    /// Which credential was used, or that none was, and how to get one that may pull.
    fn credential(&self) -> String {
        let host = self.repository.host();
        let scope = format!("repository:{}:pull", self.repository.path());
        let login = format!("run `docker login {host}` with an account that may pull (scope `{scope}`)");
        let file = self.origin.file.as_ref().map(|file| file.display().to_string());
        let next = match (&self.origin.found, file) {
            (Found::Key(key), Some(file)) => format!("the entry `{key}` of {file} was used: {login}"),
            (Found::Helper(helper), Some(file)) => format!(
                "{file} leaves {host} to the credential helper `{helper}`: check that \
                 `docker-credential-{helper}` is installed and knows an account that may pull (scope `{scope}`)"
            ),
            (Found::NoEntry, Some(file)) => format!("no entry of {file} is for {host}: {login}"),
            (Found::Unusable, Some(file)) => {
                format!("what {file} has for {host} cannot be used: mend it, or {login}")
            }
            (Found::NoFile, Some(file)) => format!("there is no {file}: {login}"),
            (_, None) => {
                format!(
                    "neither DOCKER_CONFIG nor HOME says where the docker config file is: set one and {login}"
                )
            }
        };
        match &self.secret {
            Some(secret) => format!("{next}; in the cluster it is Secret `{secret}` that must hold it"),
            None => next,
        }
    }

    fn higher_limit(&self) -> String {
        match self.origin.found {
            Found::Key(_) | Found::Helper(_) => String::new(),
            _ => format!("; accounts have higher limits: `docker login {}`", self.repository.host()),
        }
    }
}

/// What to do about the first gate that failed.
pub fn gate_failed(candidate: &Candidate) -> String {
    let failed = candidate.gates.iter().find(|gate| !gate.advisory && gate.state == GateState::Failed);
    let name = failed.map_or("the gate", |gate| gate.name.as_str());
    format!(
        "build all images of {} from one commit and push them again, or make {name} advisory",
        candidate.tag
    )
}

/// A digest changed between two looks, which a dry-run does not see.
pub fn settling() -> String {
    "run this again when the tag has been still for `spec.candidates.settle`".to_owned()
}

/// What to do about a smoke test that failed here.
pub fn smoke_failed(gate: &GateReport) -> String {
    format!("see above what the command of {} wrote; mend it and push again", gate.name)
}

/// `--require-smoke` alone.
pub fn smoke_not_run() -> String {
    "smoke tests run in the cluster: leave `--require-smoke` out to judge the rest, or run them by `--smoke-exec`"
        .to_owned()
}

/// `--require-smoke`, and a test that cannot be run here.
pub fn smoke_not_here() -> String {
    "run this on a machine of that platform, or leave `--require-smoke` out: the controller runs what is left"
        .to_owned()
}

/// A test that was stopped before its end.
pub fn smoke_not_finished() -> String {
    "run this again with a longer `--timeout`: the smoke test was stopped".to_owned()
}

/// `spec.suspend`.
pub fn suspended() -> String {
    "remove `spec.suspend` from the file to see what would be promoted".to_owned()
}

/// The floor has no place in the order.
pub fn floor_not_ordered() -> String {
    "name a tag that `spec.candidates` accepts, or change `spec.candidates`".to_owned()
}

/// Another tag is pinned.
pub fn other_pin(pin: &Tag) -> String {
    format!("remove `spec.pin` from the file, or check {pin}")
}

/// The tag is dismissed.
pub fn skipped(tag: &Tag) -> String {
    format!("remove {tag} from `spec.skip` if it is wanted after all")
}

/// The tag that was asked for is filtered out.
pub fn not_a_candidate(tag: &Tag) -> String {
    format!(
        "compare {tag} with `filterTags`, `exclude` and `policy`; only `spec.pin` promotes a tag that they refuse"
    )
}

/// The tag is not above the floor.
pub fn superseded(tag: &Tag) -> String {
    format!("check a newer tag; the way back to {tag} is `spec.pin`")
}

/// A tag list could not be read and nothing else is known.
pub fn list_unknown(doubt: &Doubt, source: Option<&Source>) -> String {
    format!("{}; `--tag` looks at one tag without a list", unknown(doubt, source))
}

/// Candidates are there, and none is above the floor.
pub fn none_newer() -> String {
    "push a newer tag, or look at one with `--tag`".to_owned()
}

/// No tag is a candidate.
pub fn no_candidate(nothing_listed: bool) -> String {
    if nothing_listed {
        "check that `repository` is right and that something was pushed".to_owned()
    } else {
        "compare `spec.candidates` with the tags in the registry, or name one with `--tag`".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [DoubtKind; 6] = [
        DoubtKind::Auth,
        DoubtKind::Transient,
        DoubtKind::Throttled,
        DoubtKind::Protocol,
        DoubtKind::Corrupt,
        DoubtKind::Reference,
    ];

    fn sources() -> Vec<(&'static str, Source)> {
        let of = |found| Source::of("ghcr.io/acme/app", found);
        let key = || Found::Key("ghcr.io".into());
        vec![
            ("entry", of(key())),
            ("entry, and a Secret", Source { secret: Some("pull".into()), ..of(key()) }),
            ("entry, in ping", Source { ping: None, ..of(key()) }),
            ("helper", of(Found::Helper("ecr-login".into()))),
            ("no entry", of(Found::NoEntry)),
            ("no file", of(Found::NoFile)),
            ("unusable", of(Found::Unusable)),
            ("no place", {
                let source = of(Found::NoFile);
                Source { origin: Origin { file: None, ..source.origin }, ..source }
            }),
        ]
    }

    /// A kind that is added to the model and forgotten here does not compile.
    fn index(kind: DoubtKind) -> usize {
        match kind {
            DoubtKind::Auth => 0,
            DoubtKind::Transient => 1,
            DoubtKind::Throttled => 2,
            DoubtKind::Protocol => 3,
            DoubtKind::Corrupt => 4,
            DoubtKind::Reference => 5,
        }
    }

    #[test]
    fn every_doubt_has_a_next_step_whatever_the_credential() {
        assert!(KINDS.iter().enumerate().all(|(at, kind)| index(*kind) == at));
        let mut text = String::new();
        for kind in KINDS {
            for (name, source) in sources() {
                for retry_after_secs in
                    if kind == DoubtKind::Throttled { vec![None, Some(30)] } else { vec![None] }
                {
                    let doubt = Doubt { kind, message: "why".into(), retry_after_secs };
                    let next = unknown(&doubt, Some(&source));
                    assert!(next.contains("ghcr.io") && !next.ends_with('.'), "{kind} {name}: {next}");
                    if kind == DoubtKind::Auth {
                        assert!(next.contains("`repository:acme/app:pull`"), "{name}: {next}");
                    }
                    let pause = retry_after_secs.map(|secs| format!(", {secs} s")).unwrap_or_default();
                    text.push_str(&format!("{kind}{pause}, {name}:\n  {next}\n"));
                }
            }
        }
        insta::assert_snapshot!("next_steps", text);
    }
}
