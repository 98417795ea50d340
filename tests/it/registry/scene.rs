//! The real client before the embedded registry, on one clock: what the cases of this suite start from.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use tidegate::embedded::image::{Image, ImageDescription, ImagePlatform, Index};
use tidegate::embedded::registry::{Auth, Credentials, Operation, Options, RegistryServer, Rule};
use tidegate::model::sighting::{Defect, DefectKind, Doubt, DoubtKind};
use tidegate::model::{Digest, ImageEvidence, Platform, Repository, Sighting, Verify};
use tidegate::registry::credentials::Credential;
use tidegate::registry::{Access, Client, Depth, Question, Registry as _, RequestRecord};
use tidegate::telemetry::clock::Clock;

/// The repository of every case.
pub const APP: &str = "acme/app";
/// User and password that registries with credentials know.
pub const USER: (&str, &str) = ("user", "hunter2");

/// A registry and a client that has asked nobody yet.
pub struct Scene {
    pub registry: RegistryServer,
    pub client: Client,
    clock: Clock,
    records: Arc<Mutex<Vec<RequestRecord>>>,
}

// === impl Scene ===

impl Scene {
    /// An empty registry that asks for nothing.
    pub async fn open() -> Self {
        Self::with(Auth::Open).await
    }

    /// An empty registry.
    pub async fn with(auth: Auth) -> Self {
        crate::cluster::install_crypto();
        let clock = Clock::following_tokio("2026-11-21T10:00:00Z".parse().unwrap());
        let options = Options { auth, ..Options::default() };
        let registry = RegistryServer::start(options, clock.clone()).await.unwrap();
        let records = Arc::default();
        let client = client(&clock, &records);
        Self { registry, client, clock, records }
    }

    /// The same with `acme/app:v1` for linux/amd64 and linux/arm64.
    pub async fn with_app(auth: Auth) -> Self {
        let scene = Self::with(auth).await;
        scene.push("v1");
        scene
    }

    /// Pushes an index for linux/amd64 and linux/arm64; other tags, other digests.
    pub fn push(&self, tag: &str) -> Digest {
        let index = Index::build(images(tag), &BTreeMap::new());
        self.registry.push_index(APP, Some(tag), &index).parse().unwrap()
    }

    /// Adds a rule to the fault plan.
    pub fn plan(&self, rule: Rule) -> &Self {
        self.registry.plan(rule);
        self
    }

    pub fn repository(&self) -> Repository {
        format!("{}/{APP}", self.registry.host()).parse().unwrap()
    }

    /// The question about both platforms of a tag.
    pub fn question(&self, tag: &str) -> Question {
        Question {
            repository: self.repository(),
            tag: tag.parse().unwrap(),
            platforms: vec![platform("linux/amd64"), platform("linux/arm64")],
            revision_keys: Vec::new(),
            depth: Depth::Configs,
            verify: Verify::Manifests,
        }
    }

    /// Looks at `acme/app:v1` without a credential.
    pub async fn look(&self) -> Sighting<ImageEvidence> {
        self.look_as(&anonymous(), "v1").await
    }

    pub async fn look_as(&self, access: &Access, tag: &str) -> Sighting<ImageEvidence> {
        look(&self.client, access, &self.question(tag)).await
    }

    /// Looks at `acme/app:v1` and at every blob that it names.
    pub async fn look_at_blobs(&self) -> Sighting<ImageEvidence> {
        look(&self.client, &anonymous(), &Question { verify: Verify::Blobs, ..self.question("v1") }).await
    }

    /// What HEAD says of `acme/app:v1`.
    pub async fn head(&self) -> Sighting<Digest> {
        head(&self.client, &anonymous(), &self.repository(), "v1").await
    }

    /// The tag list, asked without a credential.
    pub async fn tags(&self) -> Sighting<Vec<String>> {
        self.tags_as(&anonymous()).await
    }

    pub async fn tags_as(&self, access: &Access) -> Sighting<Vec<String>> {
        tags(&self.client, access, &self.repository()).await
    }

    /// The clock of registry and client.
    pub fn clock(&self) -> Clock {
        self.clock.clone()
    }

    /// Requests of that kind that reached the registry.
    pub fn count(&self, operation: Operation) -> usize {
        self.registry.count(|request| request.info.operation == operation)
    }

    /// Statuses that the client got since the last call, oldest first.
    pub fn statuses(&self) -> Vec<Option<u16>> {
        self.records.lock().unwrap().drain(..).map(|record| record.status).collect()
    }

    /// Hosts that the client asked since the last call.
    pub fn hosts(&self) -> Vec<String> {
        self.records.lock().unwrap().drain(..).map(|record| record.host).collect()
    }
}

fn client(clock: &Clock, records: &Arc<Mutex<Vec<RequestRecord>>>) -> Client {
    let kept = Arc::clone(records);
    Client::new(clock.clone())
        .observed_by(Arc::new(move |record: &RequestRecord| kept.lock().unwrap().push(record.clone())))
}

// The three questions, in one place for the whole suite.

pub async fn look(client: &Client, access: &Access, question: &Question) -> Sighting<ImageEvidence> {
    client.look(access, question, Timestamp::MAX).await.sighting
}

pub async fn tags(client: &Client, access: &Access, repository: &Repository) -> Sighting<Vec<String>> {
    let list = client.tags(access, repository, Timestamp::MAX).await.sighting;
    // A list that is not whole is discovery all the same; the suite is about what can be relied upon.
    match list {
        Sighting::Present(list) => match list.incomplete.clone() {
            None => Sighting::Present(list.iter().map(str::to_owned).collect()),
            Some(doubt) => Sighting::Unknown(doubt),
        },
        other => other.map(|_| Vec::new()),
    }
}

pub async fn head(client: &Client, access: &Access, repository: &Repository, tag: &str) -> Sighting<Digest> {
    client.head_tag(access, repository, &tag.parse().unwrap()).await
}

/// The images of a tag for linux/amd64 and linux/arm64.
pub fn images(content: &str) -> Vec<Image> {
    vec![image("linux/amd64", content), image("linux/arm64", content)]
}

pub fn image(platform: &str, content: &str) -> Image {
    ImageDescription::new(ImagePlatform::parse(platform).unwrap(), content).build()
}

/// Plain HTTP and no credential.
pub fn anonymous() -> Access {
    Access { insecure: true, ..Access::default() }
}

/// Plain HTTP with user and password.
pub fn login(username: &str, password: &str) -> Access {
    let credential = Credential::Basic { username: username.into(), password: password.to_owned().into() };
    Access { credentials: credential.into(), ..anonymous() }
}

/// Plain HTTP with an identity token, as `docker login` leaves one for ACR.
pub fn identity_token(token: &str) -> Access {
    let credential = Credential::IdentityToken { username: None, token: token.to_owned().into() };
    Access { credentials: credential.into(), ..anonymous() }
}

/// Plain HTTP with what the registries of this suite know.
pub fn known() -> Access {
    login(USER.0, USER.1)
}

/// The same as a registry wants to know it.
pub fn credentials() -> Credentials {
    Credentials::new(USER.0, USER.1)
}

pub fn platform(text: &str) -> Platform {
    text.parse().unwrap()
}

/// What was seen, which must be Present.
pub fn present<T: Clone + std::fmt::Debug>(sighting: &Sighting<T>) -> T {
    sighting.present().cloned().unwrap_or_else(|| panic!("{sighting:?} is not Present"))
}

/// The doubt, which must be of `kind`, name host and repository, say what to do, and hold no secret.
pub fn doubt<T: std::fmt::Debug>(sighting: &Sighting<T>, kind: DoubtKind) -> Doubt {
    let Sighting::Unknown(doubt) = sighting else { panic!("{sighting:?} is not Unknown({kind})") };
    assert_eq!(doubt.kind, kind, "{}", doubt.message);
    let message = &doubt.message;
    assert!(message.contains(APP) && message.contains("; ") && !message.contains(USER.1), "{message}");
    doubt.clone()
}

/// The defect, which must be what `wanted` says.
pub fn broken<T: std::fmt::Debug>(sighting: &Sighting<T>, wanted: &DefectKind) -> Defect {
    let Sighting::Broken(defect) = sighting else { panic!("{sighting:?} is not Broken({wanted:?})") };
    assert_eq!(defect.kind, *wanted, "{}", defect.message);
    defect.clone()
}
