//! The registry client: [`Registry`] over HTTP.

use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::model::sighting::Doubt;
use crate::model::{Digest, ImageEvidence, Repository, Sighting, Tag};
use crate::registry::evidence::facts::Facts;
use crate::registry::evidence::look::look;
use crate::registry::evidence::tags::tags;
use crate::registry::identity::auth::Auth;
use crate::registry::probe::{Probe, probe};
use crate::registry::verdict::{Absence, sighting};
use crate::registry::wire::habits::Habits;
use crate::registry::wire::pace::{HostObserver, Pace};
use crate::registry::wire::place::Place;
use crate::registry::wire::session::{Session, Shared};
use crate::registry::wire::transport::{Observer, Transport};
use crate::registry::{Access, Question, Registry};
use crate::telemetry::clock::Clock;

/// Asks registries over HTTP. One per process, shared by all sets: tokens and knowledge are kept apart by host
/// and credential inside it.
pub struct Client {
    shared: Shared,
}

// === impl Client ===

impl Client {
    /// A client that has asked nobody yet. `clock` ages tokens and reads `Retry-After` dates. Never fails:
    /// where TLS cannot be set up, https registries are Unknown and say so.
    pub fn new(clock: Clock) -> Self {
        Self {
            shared: Shared {
                transport: Transport::new(clock.clone()),
                auth: Auth::new(clock.clone()),
                facts: Facts::default(),
                habits: Habits::default(),
                clock,
            },
        }
    }

    /// The same client; `observer` is told of every request when it is over.
    #[must_use]
    pub fn observed_by(mut self, observer: Observer) -> Self {
        self.shared.transport.observe(observer);
        self
    }

    /// The same client; hosts are asked at `pace` instead of the default one.
    #[must_use]
    pub fn paced_by(mut self, pace: Pace) -> Self {
        self.shared.transport.pacer.set_pace(pace);
        self
    }

    /// The same client; `observer` is told how each host takes its requests.
    #[must_use]
    pub fn hosts_observed_by(mut self, observer: HostObserver) -> Self {
        self.shared.transport.observe_hosts(observer);
        self
    }

    /// The same client; `names` knows the addresses of hosts, and no environment names a proxy.
    #[cfg(test)]
    pub(crate) fn resolving_by(
        mut self,
        names: std::sync::Arc<dyn crate::registry::wire::resolve::Names>,
    ) -> Self {
        self.shared.transport.resolve_by(names);
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

    async fn head(
        &self,
        access: &Access,
        repository: &Repository,
        reference: &str,
        subject: impl FnOnce(&Place<'_>) -> String,
    ) -> Result<Digest, Absence> {
        let place = Place::new(access, repository)?;
        let subject = subject(&place);
        Session { shared: &self.shared, place: &place }.head(reference, &subject).await
    }

    async fn head_exactly(
        &self,
        access: &Access,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<(), Absence> {
        let place = Place::new(access, repository)?;
        let session = Session { shared: &self.shared, place: &place };
        let subject = place.digest_name(digest);
        if session.head(digest.as_str(), &subject).await? == *digest {
            return Ok(());
        }
        Err(session.corrupt(&subject, "the registry names another digest for it"))
    }
}

impl Registry for Client {
    fn tags<'a>(
        &'a self,
        access: &'a Access,
        repository: &'a Repository,
    ) -> BoxFuture<'a, Sighting<Vec<String>>> {
        async move {
            match Place::new(access, repository) {
                Ok(place) => tags(Session { shared: &self.shared, place: &place }).await,
                Err(doubt) => unknown(doubt),
            }
        }
        .boxed()
    }

    fn look<'a>(
        &'a self,
        access: &'a Access,
        question: &'a Question,
    ) -> BoxFuture<'a, Sighting<ImageEvidence>> {
        async move {
            match Place::new(access, &question.repository) {
                Ok(place) => look(Session { shared: &self.shared, place: &place }, question).await,
                Err(doubt) => unknown(doubt),
            }
        }
        .boxed()
    }

    fn head_tag<'a>(
        &'a self,
        access: &'a Access,
        repository: &'a Repository,
        tag: &'a Tag,
    ) -> BoxFuture<'a, Sighting<Digest>> {
        async move {
            sighting(self.head(access, repository, tag.as_str(), |place| place.tag_name(tag)).await)
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
}

fn unknown<T>(doubt: Doubt) -> Sighting<T> {
    Sighting::Unknown(doubt)
}
