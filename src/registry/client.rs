//! The registry client: [`Registry`] over HTTP.

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;

use crate::model::{Digest, Doubt, ImageEvidence, Repository, Sighted, Sighting, Tag, TagList};
use crate::registry::evidence::facts::Facts;
use crate::registry::evidence::look::{built, look};
use crate::registry::evidence::seen::BlobsSeen;
use crate::registry::evidence::tags::tags;
use crate::registry::identity::auth::Auth;
use crate::registry::probe::{Probe, probe};
use crate::registry::share::{Key, Shelf, Subject, Weigh};
use crate::registry::verdict::{Absence, sighting};
use crate::registry::wire::habits::Habits;
use crate::registry::wire::pace::{HostObserver, Pace};
use crate::registry::wire::place::Place;
use crate::registry::wire::session::{Session, Shared};
use crate::registry::wire::transport::{InProcess, Observer, Transport};
use crate::registry::{Access, Built, Depth, Question, Registry};
use crate::telemetry::clock::Clock;

/// Asks registries over HTTP. One per process, shared by all sets: tokens, knowledge and answers are kept apart by
/// host and identity inside it.
pub struct Client {
    shared: Arc<Shared>,
    lists: Shelf<Arc<TagList>>,
    looks: Shelf<ImageEvidence>,
    pointers: Shelf<Digest>,
}

/// All that a request needs, so that it can go on when who sent it is gone.
struct Asker {
    shared: Arc<Shared>,
    access: Access,
    repository: Repository,
}

// === impl Asker ===

impl Asker {
    fn place(&self) -> Result<Place<'_>, Doubt> {
        Place::new(&self.access, &self.repository)
    }

    fn session<'a>(&'a self, place: &'a Place<'a>) -> Session<'a> {
        Session { shared: &self.shared, place }
    }
}

// === impl Client ===

impl Client {
    /// A client that has asked nobody yet. `clock` ages tokens and answers and reads `Retry-After` dates. Never
    /// fails: where TLS cannot be set up, https registries are Unknown and say so.
    pub fn new(clock: Clock) -> Self {
        Self {
            lists: Shelf::new(clock.clone()),
            looks: Shelf::new(clock.clone()),
            pointers: Shelf::new(clock.clone()),
            shared: Arc::new(Shared {
                transport: Transport::new(clock.clone()),
                auth: Auth::new(clock.clone()),
                facts: Facts::default(),
                blobs: BlobsSeen::default(),
                habits: Habits::default(),
                clock,
            }),
        }
    }

    /// The same client; `observer` is told of every request when it is over. To be called before anything is asked:
    /// requests on their way keep what they were sent with.
    #[must_use]
    pub fn observed_by(mut self, observer: Observer) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.transport.observe(observer);
        }
        self
    }

    /// The same client; hosts are asked at `pace` instead of the default one. To be called before anything is asked.
    #[must_use]
    pub fn paced_by(mut self, pace: Pace) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.transport.pacer.set_pace(pace);
        }
        self
    }

    /// The same client; `observer` is told how each host takes its requests. To be called before anything is asked.
    #[must_use]
    pub fn hosts_observed_by(mut self, observer: HostObserver) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.transport.observe_hosts(observer);
        }
        self
    }

    /// The same client; every host is asked through `registry` instead of a network, so that a simulation owns each
    /// request. To be called before anything is asked.
    #[must_use]
    pub fn in_process(mut self, registry: InProcess) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.transport.ask_in_process(registry);
        }
        self
    }

    /// The same client; `names` knows the addresses of hosts, and no environment names a proxy.
    #[cfg(test)]
    pub(crate) fn resolving_by(mut self, names: Arc<dyn crate::registry::wire::resolve::Names>) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.transport.resolve_by(names);
        }
        self
    }

    /// What answers at `repository`, and how it wants to be asked: at most six requests, each as patient as any
    /// other. `tag` is asked for by HEAD, else one of the listed tags.
    pub async fn probe(&self, access: &Access, repository: &Repository, tag: Option<&Tag>) -> Probe {
        match Place::new(access, repository) {
            Ok(place) => probe(&self.shared, &place, tag).await,
            Err(doubt) => Probe::refused(doubt),
        }
    }

    /// When the build made what a tag holds, asked now; configs are read, whatever the depth.
    pub async fn built(&self, access: &Access, question: &Question) -> Sighting<Built> {
        let question = Question { depth: Depth::Configs, ..question.clone() };
        match Place::new(access, &question.repository) {
            Ok(place) => built(Session { shared: &self.shared, place: &place }, &question).await,
            Err(doubt) => Sighting::Unknown(doubt),
        }
    }

    /// A shared answer: a kept or awaited one, or that of `asking`, which outlives the caller if others wait for it.
    async fn shared<T: Weigh + Clone + Send + Sync + 'static>(
        &self,
        shelf: &Shelf<T>,
        asker: Arc<Asker>,
        (subject, since): (Subject, Timestamp),
        asking: BoxFuture<'static, Sighting<T>>,
    ) -> Sighted<T> {
        match asker.place() {
            Ok(place) => shelf.get(Key::new(&place, subject), since, || asking).await,
            Err(doubt) => Sighted { asked_at: self.shared.clock.now(), sighting: Sighting::Unknown(doubt) },
        }
    }

    fn asker(&self, access: &Access, repository: &Repository) -> Arc<Asker> {
        let shared = Arc::clone(&self.shared);
        Arc::new(Asker { shared, access: access.clone(), repository: repository.clone() })
    }

    async fn head_exactly(
        &self,
        access: &Access,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<(), Absence> {
        let place = Place::new(access, repository)?.confirming();
        let session = Session { shared: &self.shared, place: &place };
        let subject = place.digest_name(digest);
        if session.head(digest.as_str(), &subject).await? == *digest {
            return Ok(());
        }
        Err(session.corrupt(&subject, "the registry names another digest for it"))
    }
}

async fn head_tag(session: Session<'_>, tag: &Tag) -> Sighting<Digest> {
    let subject = session.place.tag_name(tag);
    sighting(session.head(tag.as_str(), &subject).await)
}

impl Registry for Client {
    fn tags<'a>(
        &'a self,
        access: &'a Access,
        repository: &'a Repository,
        since: Timestamp,
    ) -> BoxFuture<'a, Sighted<Arc<TagList>>> {
        let asker = self.asker(access, repository);
        let asking = Arc::clone(&asker);
        let asking = async move {
            match asking.place() {
                Ok(place) => tags(asking.session(&place)).await.map(Arc::new),
                Err(doubt) => Sighting::Unknown(doubt),
            }
        };
        self.shared(&self.lists, asker, (Subject::Tags, since), asking.boxed()).boxed()
    }

    fn look<'a>(
        &'a self,
        access: &'a Access,
        question: &'a Question,
        since: Timestamp,
    ) -> BoxFuture<'a, Sighted<ImageEvidence>> {
        let asker = self.asker(access, &question.repository);
        let (asking, asked) = (Arc::clone(&asker), question.clone());
        let asking = async move {
            match asking.place() {
                Ok(place) => look(asking.session(&place), &asked).await,
                Err(doubt) => Sighting::Unknown(doubt),
            }
        };
        self.shared(&self.looks, asker, (Subject::from(question), since), asking.boxed()).boxed()
    }

    fn pointer<'a>(
        &'a self,
        access: &'a Access,
        repository: &'a Repository,
        tag: &'a Tag,
        since: Timestamp,
    ) -> BoxFuture<'a, Sighted<Digest>> {
        let asker = self.asker(access, repository);
        let (asking, asked) = (Arc::clone(&asker), tag.clone());
        let asking = async move {
            match asking.place() {
                Ok(place) => head_tag(asking.session(&place), &asked).await,
                Err(doubt) => Sighting::Unknown(doubt),
            }
        };
        self.shared(&self.pointers, asker, (Subject::Pointer(tag.clone()), since), asking.boxed()).boxed()
    }

    fn head_tag<'a>(
        &'a self,
        access: &'a Access,
        repository: &'a Repository,
        tag: &'a Tag,
    ) -> BoxFuture<'a, Sighting<Digest>> {
        async move {
            match Place::new(access, repository) {
                Ok(place) => {
                    head_tag(Session { shared: &self.shared, place: &place.confirming() }, tag).await
                }
                Err(doubt) => Sighting::Unknown(doubt),
            }
        }
        .boxed()
    }

    fn head_manifest<'a>(
        &'a self,
        access: &'a Access,
        repository: &'a Repository,
        digest: &'a Digest,
    ) -> BoxFuture<'a, Sighting<()>> {
        async move { sighting(self.head_exactly(access, repository, digest).await) }.boxed()
    }

    fn head_blobs<'a>(
        &'a self,
        access: &'a Access,
        repository: &'a Repository,
        images: &'a [Digest],
    ) -> BoxFuture<'a, Vec<Sighting<()>>> {
        async move {
            match Place::new(access, repository) {
                Ok(place) => {
                    Session { shared: &self.shared, place: &place.confirming() }.head_blobs(images).await
                }
                Err(doubt) => images.iter().map(|_| Sighting::Unknown(doubt.clone())).collect(),
            }
        }
        .boxed()
    }
}
