//! The client against real HTTP on loopback. Rows of registry research §3 are tests of their own.

mod auth;
mod blobs;
mod fixture;
mod identity;
mod look;
mod pace;
mod reach;
mod sharing;
mod tags;
mod verdicts;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use fixture::Fixture;
use jiff::Timestamp;

use crate::model::sighting::{Doubt, DoubtKind};
use crate::model::{Digest, ImageEvidence, Platform, Repository, Sighting, Verify};
use crate::registry::identity::credentials::{Credential, Credentials};
use crate::registry::wire::resolve::Names;
use crate::registry::{Access, Client, Depth, Pace, Question, Registry as _, RequestRecord};
use crate::telemetry::clock::Clock;

/// A client on a clock that follows tokio's time, and every request that it sent.
struct Subject {
    client: Client,
    records: Arc<Mutex<Vec<RequestRecord>>>,
}

impl Subject {
    fn new() -> Self {
        Self::paced_by(Pace::default())
    }

    fn paced_by(pace: Pace) -> Self {
        let records = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&records);
        let clock = Clock::following_tokio("2026-11-21T10:00:00Z".parse().unwrap());
        let client = Client::new(clock)
            .paced_by(Pace { seed: Some(11), ..pace })
            .observed_by(Arc::new(move |record: &RequestRecord| kept.lock().unwrap().push(record.clone())));
        Self { client, records }
    }

    /// The same, asking `names` for addresses.
    fn resolving_by(mut self, names: Arc<dyn Names>) -> Self {
        self.client = self.client.resolving_by(names);
        self
    }

    /// Requests sent since the last call.
    fn requests(&self) -> usize {
        self.records.lock().unwrap().drain(..).count()
    }

    /// A look of its own: nothing is old enough not to be asked again.
    async fn look(&self, access: &Access, question: &Question) -> Sighting<ImageEvidence> {
        self.client.look(access, question, Timestamp::MAX).await.sighting
    }

    /// The tag list of `acme/app`, asked for anew.
    async fn tags_as(&self, fixture: &Fixture, access: &Access) -> Sighting<Vec<String>> {
        let list = self.client.tags(access, &repository(fixture), Timestamp::MAX).await.sighting;
        list.map(|list| list.iter().map(str::to_owned).collect())
    }

    /// What a look at `acme/app:v1` for linux/amd64 and linux/arm64 sees.
    async fn app(&self, fixture: &Fixture) -> Sighting<ImageEvidence> {
        self.look(&open(), &app(fixture)).await
    }

    async fn app_as(&self, fixture: &Fixture, access: &Access) -> Sighting<ImageEvidence> {
        self.look(access, &app(fixture)).await
    }

    async fn head(&self, fixture: &Fixture) -> Sighting<Digest> {
        self.client.head_tag(&open(), &repository(fixture), &"v1".parse().unwrap()).await
    }
}

fn open() -> Access {
    Access { insecure: true, ..Access::default() }
}

fn basic(username: &str, password: &str) -> Access {
    let credential = Credential::Basic { username: username.into(), password: password.into() };
    Access { credentials: credential.into(), ..open() }
}

fn repository(fixture: &Fixture) -> Repository {
    format!("{}/acme/app", fixture.host()).parse().unwrap()
}

fn app(fixture: &Fixture) -> Question {
    Question {
        repository: repository(fixture),
        tag: "v1".parse().unwrap(),
        platforms: vec![platform("linux/amd64"), platform("linux/arm64")],
        revision_keys: vec!["org.opencontainers.image.revision".into()],
        depth: Depth::Configs,
        verify: Verify::Manifests,
    }
}

fn platform(text: &str) -> Platform {
    text.parse().unwrap()
}

fn present<T: Clone + std::fmt::Debug>(sighting: &Sighting<T>) -> T {
    sighting.present().cloned().unwrap_or_else(|| panic!("{sighting:?} is not Present"))
}

/// The doubt, which must be of `kind`, name the host or repository, and be one sentence without a secret.
fn doubt<T: std::fmt::Debug>(sighting: &Sighting<T>, kind: DoubtKind) -> Doubt {
    let Sighting::Unknown(doubt) = sighting else { panic!("{sighting:?} is not Unknown") };
    assert_eq!(doubt.kind, kind, "{}", doubt.message);
    assert!(doubt.message.contains("127.0.0.1") && doubt.message.contains("acme/app"), "{}", doubt.message);
    assert!(doubt.message.contains("; ") && !doubt.message.ends_with('.'), "{}", doubt.message);
    assert!(!doubt.message.contains("hunter2"), "{}", doubt.message);
    doubt.clone()
}

fn words(evidence: &ImageEvidence) -> BTreeMap<String, &'static str> {
    evidence.children.iter().map(|(platform, child)| (platform.to_string(), child.word())).collect()
}
