//! One ReleaseSet looked at as the controller looks, without an API server: the same eyes, the same engine, status kept
//! in memory. What it costs a registry is what the controller costs it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tidegate::api::{manifest, validate};
use tidegate::controller::look::Eyes;
use tidegate::engine::observation::Observation;
use tidegate::engine::policy::Policy;
use tidegate::model::ImageName;
use tidegate::registry::{Access, Depth, Registry};
use tidegate::telemetry::clock::Clock;

/// A set that is promoted by nobody but its own engine.
pub struct Watched {
    policy: Policy,
    access: BTreeMap<ImageName, Access>,
    observation: Observation,
    /// When the engine wants to look again.
    pub next_look: Option<Timestamp>,
    /// Tags promoted so far, oldest first.
    pub promoted: Vec<String>,
}

// === impl Watched ===

impl Watched {
    /// A set over `images` (name and repository) on plain HTTP, both platforms required, candidates `main-N`.
    pub fn new(images: &[(String, String)]) -> Self {
        let manifest = manifest::read(&release_set(images)).expect("the set is YAML").remove(0);
        let policy = validate::policy(&manifest.spec, 0).expect("the set is valid");
        let open = || Access { insecure: true, ..Access::default() };
        let access = policy.images.iter().map(|image| (image.name.clone(), open())).collect();
        Self { policy, access, observation: Observation::default(), next_look: None, promoted: Vec::new() }
    }

    /// Looks, decides and commits until nothing is left to do now.
    pub async fn reconcile(&mut self, registry: &dyn Registry, clock: &Clock) {
        loop {
            let eyes = Eyes { registry, access: &self.access, depth: Depth::Configs, clock, line: None };
            let decision = eyes.decide(&self.policy, &mut self.observation).await;
            let record = &mut self.observation.record;
            record.verdicts.clone_from(&decision.verdicts);
            record.candidates = decision.followed.iter().map(|candidate| candidate.record.clone()).collect();
            self.next_look = decision.next_look;
            let Some(granted) = decision.commit else { return };
            let (promoted, floor) = granted.into_promoted(clock.now());
            self.promoted.push(promoted.release.tag.to_string());
            self.observation.memory.note_commit(&promoted, clock.now());
            self.observation.record.promoted = Some(promoted);
            self.observation.record.floor = Some(floor);
        }
    }
}

/// The set as a user writes it.
pub fn release_set(images: &[(String, String)]) -> String {
    let images: Vec<String> = images
        .iter()
        .map(|(name, repository)| format!("  - {{name: {name}, repository: {repository}}}\n"))
        .collect();
    format!(
        "apiVersion: tidegate.dev/v1alpha1\nkind: ReleaseSet\nmetadata: {{name: shop}}\nspec:\n  \
         platforms: [linux/amd64, linux/arm64]\n  registry: {{insecure: true}}\n  images:\n{}  candidates:\n    \
         filterTags: {{pattern: '^main-(?P<n>[0-9]+)$', extract: '$n'}}\n    policy: {{numerical: {{order: asc}}}}\n",
        images.concat()
    )
}
