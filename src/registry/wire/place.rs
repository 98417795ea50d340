//! One repository as one identity: where requests go, and how the place is named to people.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;
use url::Url;

use crate::model::reference::DOCKER_HUB;
use crate::model::sighting::{Doubt, DoubtKind};
use crate::model::{Digest, Repository, Tag};
use crate::registry::Access;
use crate::registry::identity::credentials::Fingerprint;
use crate::registry::wire::guard;
use crate::registry::wire::limits::LOOK_LIMIT;
use crate::registry::wire::pace::Turn;
use crate::registry::wire::route::{self, Route};

/// The host that serves the API of Docker Hub; `docker.io` itself serves web pages.
const DOCKER_HUB_API: &str = "registry-1.docker.io";

/// One repository, as whom it is asked and where; for one look.
pub(crate) struct Place<'a> {
    pub(crate) access: &'a Access,
    pub(crate) repository: &'a Repository,
    /// Scheme, host and port of the registry's API.
    pub(crate) base: Url,
    /// Who asks, with everything that changes what is seen: tokens, challenges and facts are kept by it.
    pub(crate) fingerprint: Fingerprint,
    /// When the look ends.
    deadline: Mutex<Instant>,
    is_confirming: bool,
    pub(crate) route: Arc<Route>,
}

// === impl Place ===

impl<'a> Place<'a> {
    pub(crate) fn new(access: &'a Access, repository: &'a Repository) -> Result<Self, Doubt> {
        let scheme = if access.insecure { "http" } else { "https" };
        let host = if repository.host() == DOCKER_HUB { DOCKER_HUB_API } else { repository.host() };
        let base: Url = format!("{scheme}://{host}/").parse().map_err(|error| {
            Doubt::new(
                DoubtKind::Protocol,
                format!("`{host}` of {repository} is no address ({error}); correct the repository"),
            )
        })?;
        guard::check_own(&base).map_err(|why| {
            Doubt::new(
                DoubtKind::Protocol,
                format!("{host} is not asked for {repository}, because {why}; correct the repository"),
            )
        })?;
        let fingerprint = route::identity(access);
        let route = Route::new(base.clone(), fingerprint, access).map_err(|why| {
            Doubt::new(DoubtKind::Auth, format!("{host} was not asked for {repository}: {why}"))
        })?;
        let deadline = Mutex::new(Instant::now() + LOOK_LIMIT);
        let is_confirming = false;
        Ok(Self { access, repository, base, fingerprint, deadline, is_confirming, route: Arc::new(route) })
    }

    /// The same place; its requests belong to a confirming look, which is worth nothing after 5 s (design §4 Commit): they go
    /// before those of looks that can wait.
    pub(crate) fn confirming(self) -> Self {
        Self { is_confirming: true, ..self }
    }

    /// Whose turn a request of this look is, and until when.
    pub(crate) fn turn(&self) -> Turn {
        let deadline = *self.deadline.lock().unwrap_or_else(PoisonError::into_inner);
        let asker = self.access.asker.clone().unwrap_or_default();
        let own_way = route::own_way(self.access);
        Turn { asker, identity: self.fingerprint, own_way, is_confirming: self.is_confirming, deadline }
    }

    /// Gives the look its whole time again: a list of hundreds of pages that all come is in no trouble.
    pub(crate) fn renew(&self) {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + LOOK_LIMIT;
    }

    /// The registry's host as the user knows it.
    pub(crate) fn host(&self) -> &str {
        self.repository.host()
    }

    /// The repository as the user wrote it.
    pub(crate) fn name(&self) -> &str {
        self.repository.as_str()
    }

    /// Scheme, host and port: the key of what is remembered about a registry.
    pub(crate) fn origin(&self) -> String {
        self.base.as_str().to_owned()
    }

    pub(crate) fn is_docker_hub(&self) -> bool {
        self.repository.host() == DOCKER_HUB
    }

    /// `/v2/NAME/KIND/LAST`.
    pub(crate) fn url(&self, kind: &str, last: &str) -> Url {
        let mut url = self.base.clone();
        // Every part is of a grammar without separators, dots alone or escapes (model::reference).
        url.set_path(&format!("/v2/{}/{kind}/{last}", self.repository.path()));
        url
    }

    /// The tag, for people.
    pub(crate) fn tag_name(&self, tag: &Tag) -> String {
        format!("{}:{tag}", self.name())
    }

    /// The manifest, for people.
    pub(crate) fn digest_name(&self, digest: &Digest) -> String {
        format!("{}@{digest}", self.name())
    }

    /// The doubt that the registry wants something that we cannot offer.
    pub(crate) fn refused(&self, why: &str) -> Doubt {
        Doubt::new(
            DoubtKind::Auth,
            format!(
                "{} does not show {}: {why}; check the credential that is configured for {}",
                self.host(),
                self.name(),
                self.host()
            ),
        )
    }
}
