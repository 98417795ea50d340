//! Asks registries what the engine wants to know, until it wants to know nothing more. Shared by the
//! controller and the command line.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::LazyLock;

use futures::StreamExt;
use futures::stream;
use jiff::Timestamp;

use crate::controller::confirm_line::{ConfirmLine, TURN_MAX};
use crate::engine::decide;
use crate::engine::decision::{Answer, Check, Checked, Decision, Question};
use crate::engine::observation::Observation;
use crate::engine::policy::{ImagePolicy, Policy};
use crate::model::{Digest, Doubt, DoubtKind, ImageName, Platform, Release, Sighted, Sighting, Tag};
use crate::registry::{self, Access, Depth, Registry};
use crate::telemetry::clock::Clock;

/// Most rounds of looking before a decision is taken as it stands: lists, tags, tags that moved, and the
/// confirming look make four; twice that leaves room for candidates that come into sight on the way.
const ROUNDS_MAX: usize = 8;
/// Most questions that are asked at once for one set: 3 images × 5 candidates. The registry client has a limit
/// of its own for each look.
const QUESTIONS_AT_ONCE: usize = 16;

/// Everything that is needed to look.
#[derive(Clone, Copy)]
pub struct Eyes<'a> {
    /// Who answers.
    pub registry: &'a dyn Registry,
    /// How each image is reached. An image that is absent here is asked anonymously.
    pub access: &'a BTreeMap<ImageName, Access>,
    /// How much of each image is read.
    pub depth: Depth,
    /// When it is.
    pub clock: &'a Clock,
    /// In which confirming looks wait for their turn, where several sets are looked at.
    pub line: Option<&'a ConfirmLine>,
}

// === impl Eyes ===

impl Eyes<'_> {
    /// Looks and decides in turn, until the decision asks for nothing that was not just answered. Effects are
    /// in a decision whose `ask` is empty; otherwise the next reconcile goes on.
    pub async fn decide(&self, policy: &Policy, observation: &mut Observation) -> Decision {
        for _ in 1..ROUNDS_MAX {
            let decision = decide(policy, observation, self.clock.now());
            if decision.ask.is_empty() {
                return decision;
            }
            match self.line.filter(|_| decision.ask.iter().any(is_confirming)) {
                None => self.answer_all(policy, observation, decision.ask, None).await,
                Some(line) => self.answer_in_turn(line, policy, observation).await,
            }
        }
        decide(policy, observation, self.clock.now())
    }

    /// Asks what is to be asked when the turn has come, which may be other than what was before.
    async fn answer_in_turn(&self, line: &ConfirmLine, policy: &Policy, observation: &mut Observation) {
        let turn = line.enter(&policy.hosts()).await;
        let asks = decide(policy, observation, self.clock.now()).ask;
        let mut answering = pin!(self.answer_all(policy, observation, asks, None));
        if tokio::time::timeout(TURN_MAX, &mut answering).await.is_err() {
            drop(turn);
            answering.await;
        }
    }

    /// Looks once at everything there is to see, and judges it: a dry-run. Nothing is confirmed, because nothing
    /// will be committed; nothing is asked twice, because the whole look counts as one instant.
    pub async fn judge(&self, policy: &Policy, observation: &mut Observation) -> Decision {
        let now = self.clock.now();
        let unconfirmed = |observation: &Observation| {
            let mut decision = decide(policy, observation, now);
            decision.ask.retain(|question| !is_confirming(question));
            decision
        };
        for _ in 1..ROUNDS_MAX {
            let decision = unconfirmed(observation);
            if decision.ask.is_empty() {
                return decision;
            }
            self.answer_all(policy, observation, decision.ask, Some(now)).await;
        }
        unconfirmed(observation)
    }

    /// Asks `questions` and takes the answers in: as of when they were asked for and came in, or all as of one
    /// instant.
    async fn answer_all(
        &self,
        policy: &Policy,
        observation: &mut Observation,
        questions: Vec<Question>,
        one_instant: Option<Timestamp>,
    ) {
        let mut answers = stream::iter(questions)
            .map(|question| self.answer(policy, question, one_instant))
            .buffer_unordered(QUESTIONS_AT_ONCE);
        while let Some(answer) = answers.next().await {
            let now = one_instant.unwrap_or_else(|| self.clock.now());
            observation.memory.absorb(policy, &observation.record, answer, now);
        }
    }

    async fn answer(&self, policy: &Policy, question: Question, one_instant: Option<Timestamp>) -> Answer {
        match question {
            Question::List { image, since } => {
                let repository = policy.image(&image).and_then(|known| known.place.repository());
                let sighted = match repository {
                    Some(repository) => self.registry.tags(self.access_of(&image), repository, since).await,
                    None => self.not_in_spec(&image),
                };
                Answer::List { image, sighted: as_of(sighted, one_instant) }
            }
            Question::Look { tag, image, since } => {
                let known = policy.image(&image).and_then(|known| self.question(policy, known, &tag));
                let sighted = match known {
                    Some(question) => self.registry.look(self.access_of(&image), &question, since).await,
                    None => self.not_in_spec(&image),
                };
                Answer::Look { tag, image, sighted: as_of(sighted, one_instant) }
            }
            Question::Confirm { tag, checks } => {
                let started_at = self.clock.now();
                let checked = checks.into_iter().map(|check| self.check(policy, &tag, check));
                Answer::Confirm { started_at, checked: futures::future::join_all(checked).await, tag }
            }
            Question::Drift { release, since } => Answer::Drift { heads: self.heads(&release, since).await },
        }
    }

    fn access_of(&self, image: &ImageName) -> &Access {
        static ANONYMOUS: LazyLock<Access> = LazyLock::new(Access::default);
        self.access.get(image).unwrap_or(&ANONYMOUS)
    }

    fn question(&self, policy: &Policy, image: &ImagePolicy, tag: &Tag) -> Option<registry::Question> {
        Some(registry::Question {
            repository: image.place.repository()?.clone(),
            tag: image.tag_template.render(tag.as_str())?,
            platforms: image.platforms.iter().chain(&image.advisory_platforms).cloned().collect(),
            revision_keys: policy.revision_keys(),
            depth: self.depth,
            verify: policy.verify,
        })
    }

    async fn check(&self, policy: &Policy, tag: &Tag, check: Check) -> Checked {
        let access = self.access_of(&check.image);
        let found = policy
            .image(&check.image)
            .and_then(|image| Some((image.place.repository()?, image.tag_template.render(tag.as_str())?)));
        let Some((repository, rendered)) = found else {
            let tag = self.not_in_spec(&check.image).sighting;
            return Checked { image: check.image, tag, children: Vec::new(), blobs: Vec::new() };
        };
        let children = check.children.into_iter().map(|(platform, digest): (Platform, Digest)| async move {
            let sighting = self.registry.head_manifest(access, repository, &digest).await;
            (platform, digest, sighting)
        });
        let images: Vec<Digest> = check.blobs_of.iter().map(|(_, digest)| digest.clone()).collect();
        let (tag, children, blobs) = futures::join!(
            self.registry.head_tag(access, repository, &rendered),
            futures::future::join_all(children),
            self.registry.head_blobs(access, repository, &images)
        );
        let blobs = check.blobs_of.into_iter().zip(blobs);
        let blobs = blobs.map(|((platform, digest), sighting)| (platform, digest, sighting)).collect();
        Checked { image: check.image, tag, children, blobs }
    }

    async fn heads(&self, release: &Release, since: Timestamp) -> BTreeMap<ImageName, Sighted<Digest>> {
        let heads = release.images.iter().map(|image| async move {
            let access = self.access_of(&image.name);
            (image.name.clone(), self.registry.pointer(access, &image.repository, &image.tag, since).await)
        });
        futures::future::join_all(heads).await.into_iter().collect()
    }

    fn not_in_spec<T>(&self, image: &ImageName) -> Sighted<T> {
        let doubt = Doubt::new(DoubtKind::Protocol, format!("image {image} is not in the spec any more"));
        Sighted { asked_at: self.clock.now(), sighting: Sighting::Unknown(doubt) }
    }
}

fn is_confirming(question: &Question) -> bool {
    matches!(question, Question::Confirm { .. })
}

fn as_of<T>(sighted: Sighted<T>, one_instant: Option<Timestamp>) -> Sighted<T> {
    Sighted { asked_at: one_instant.unwrap_or(sighted.asked_at), ..sighted }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use futures::FutureExt;
    use futures::future::BoxFuture;

    use super::*;
    use crate::api::{manifest, validate};
    use crate::engine::record::Phase;
    use crate::model::{ImageEvidence, Repository, TagList};

    const SET: &str = "\
apiVersion: tidegate.dev/v1alpha1
kind: ReleaseSet
metadata: {name: acme}
spec:
  images:
  - {name: app, repository: ghcr.io/acme/app}
  - {name: slow, repository: ghcr.io/acme/slow}
  - {name: absent, repository: ghcr.io/acme/absent}
  candidates: {policy: {alphabetical: {}}}
";

    /// Holds `v1` of every repository but those named `absent`; those named `slow` take ten seconds. Keeps what
    /// it was asked.
    #[derive(Default)]
    struct Paper {
        asked: Mutex<Vec<String>>,
    }

    impl Paper {
        fn note(&self, what: &str, repository: &Repository) {
            self.asked.lock().unwrap().push(format!("{what} {}", repository.path()));
        }

        fn asked(&self) -> Vec<String> {
            let mut asked = self.asked.lock().unwrap().clone();
            asked.sort();
            asked
        }
    }

    fn digest() -> Digest {
        format!("sha256:{}", "a".repeat(64)).parse().unwrap()
    }

    impl Registry for Paper {
        fn tags<'a>(
            &'a self,
            _access: &'a Access,
            repository: &'a Repository,
            _since: Timestamp,
        ) -> BoxFuture<'a, Sighted<Arc<TagList>>> {
            self.note("list", repository);
            async { now(Sighting::Present(Arc::new(["v1"].iter().collect()))) }.boxed()
        }

        fn look<'a>(
            &'a self,
            _access: &'a Access,
            question: &'a registry::Question,
            _since: Timestamp,
        ) -> BoxFuture<'a, Sighted<ImageEvidence>> {
            self.note("look", &question.repository);
            async {
                if question.repository.path().ends_with("slow") {
                    tokio::time::sleep(Duration::from_secs(10)).await;
                }
                if question.repository.path().ends_with("absent") {
                    return now(Sighting::Missing);
                }
                let children =
                    question.platforms.iter().map(|platform| (platform.clone(), Sighting::Present(digest())));
                now(Sighting::Present(ImageEvidence {
                    digest: digest(),
                    children: children.collect(),
                    revisions: BTreeMap::new(),
                }))
            }
            .boxed()
        }

        fn pointer<'a>(
            &'a self,
            _access: &'a Access,
            repository: &'a Repository,
            _tag: &'a Tag,
            _since: Timestamp,
        ) -> BoxFuture<'a, Sighted<Digest>> {
            self.note("pointer", repository);
            async { now(Sighting::Present(digest())) }.boxed()
        }

        fn head_tag<'a>(
            &'a self,
            _access: &'a Access,
            repository: &'a Repository,
            _tag: &'a Tag,
        ) -> BoxFuture<'a, Sighting<Digest>> {
            self.note("head", repository);
            async { Sighting::Present(digest()) }.boxed()
        }

        fn head_manifest<'a>(
            &'a self,
            _access: &'a Access,
            repository: &'a Repository,
            _digest: &'a Digest,
        ) -> BoxFuture<'a, Sighting<()>> {
            self.note("head", repository);
            async { Sighting::Present(()) }.boxed()
        }

        fn head_blobs<'a>(
            &'a self,
            _access: &'a Access,
            repository: &'a Repository,
            images: &'a [Digest],
        ) -> BoxFuture<'a, Vec<Sighting<()>>> {
            self.note("blobs", repository);
            async { images.iter().map(|_| Sighting::Present(())).collect() }.boxed()
        }
    }

    fn now<T>(sighting: Sighting<T>) -> Sighted<T> {
        Sighted { asked_at: Timestamp::UNIX_EPOCH, sighting }
    }

    fn policy(text: &str) -> Policy {
        validate::policy(&manifest::read(text).unwrap()[0].spec, 0).unwrap()
    }

    #[test]
    fn a_dry_run_is_one_instant_and_else_an_answer_keeps_its_own() {
        let (asked, judged) = (Timestamp::UNIX_EPOCH, Timestamp::from_second(60).unwrap());
        let sighted = || Sighted { asked_at: asked, sighting: Sighting::Present(7) };
        assert_eq!(as_of(sighted(), None), sighted());
        assert_eq!(as_of(sighted(), Some(judged)), Sighted { asked_at: judged, ..sighted() });
    }

    #[tokio::test(start_paused = true)]
    async fn a_dry_run_asks_nothing_twice_however_slow_the_registry() {
        let (paper, access) = (Paper::default(), BTreeMap::new());
        let clock = Clock::following_tokio(jiff::Timestamp::UNIX_EPOCH);
        let eyes =
            Eyes { registry: &paper, access: &access, depth: Depth::Configs, clock: &clock, line: None };
        let decision = eyes.judge(&policy(SET), &mut Observation::default()).await;
        assert_eq!(decision.followed[0].phase, Phase::Partial);
        assert_eq!(
            paper.asked(),
            [
                "list acme/absent",
                "list acme/app",
                "list acme/slow",
                "look acme/absent",
                "look acme/app",
                "look acme/slow"
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_dry_run_confirms_nothing_and_grants_nothing() {
        let (paper, access) = (Paper::default(), BTreeMap::new());
        let clock = Clock::following_tokio(jiff::Timestamp::UNIX_EPOCH);
        let eyes =
            Eyes { registry: &paper, access: &access, depth: Depth::Configs, clock: &clock, line: None };
        let policy = policy(&SET.replace("acme/absent", "acme/present"));
        let decision = eyes.judge(&policy, &mut Observation::default()).await;
        assert_eq!(decision.followed[0].phase, Phase::Confirming);
        assert!(decision.commit.is_none() && decision.ask.is_empty());
        assert!(!paper.asked().iter().any(|asked| asked.starts_with("head")), "{:?}", paper.asked());
        let decision = eyes.decide(&policy, &mut Observation::default()).await;
        assert!(decision.commit.is_some(), "the controller confirms, then commits");
    }
}
