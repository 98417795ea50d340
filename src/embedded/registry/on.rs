//! Which requests a rule of the fault plan is about.

use axum::http::Method;

use super::{
    Operation, RequestInfo,
    store::{self, Store},
};

/// Which requests a rule is about; what is not said fits everything.
#[derive(Clone, Debug, Default)]
pub struct On {
    operation: Option<Operation>,
    method: Option<Method>,
    repository: Option<String>,
    reference: Option<Reference>,
    credentials: Option<bool>,
    known: Option<bool>,
    asked: Option<Asked>,
}

/// The reference in a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Reference {
    Tag,
    Digest,
    Exactly(String),
}

/// What the query of a tag list asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    PageAbove(u64),
    LastUnknown,
}

// === impl On ===

impl On {
    /// Every request.
    pub fn any() -> Self {
        Self::default()
    }

    /// Tag lists.
    pub fn tags() -> Self {
        Self { operation: Some(Operation::Tags), ..Self::default() }
    }

    /// Manifests and indexes, by tag and by digest.
    pub fn manifest() -> Self {
        Self { operation: Some(Operation::Manifest), ..Self::default() }
    }

    /// Blobs.
    pub fn blob() -> Self {
        Self { operation: Some(Operation::Blob), ..Self::default() }
    }

    /// The token endpoint.
    pub fn token() -> Self {
        Self { operation: Some(Operation::Token), ..Self::default() }
    }

    /// Only by this verb.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.method = Some(method);
        self
    }

    /// Only of this repository; for tokens the one in the first scope of the query.
    #[must_use]
    pub fn repository(mut self, name: impl Into<String>) -> Self {
        self.repository = Some(name.into());
        self
    }

    /// Only by tag.
    #[must_use]
    pub fn by_tag(mut self) -> Self {
        self.reference = Some(Reference::Tag);
        self
    }

    /// Only by digest.
    #[must_use]
    pub fn by_digest(mut self) -> Self {
        self.reference = Some(Reference::Digest);
        self
    }

    /// Only of this tag or digest.
    #[must_use]
    pub fn reference(mut self, reference: impl Into<String>) -> Self {
        self.reference = Some(Reference::Exactly(reference.into()));
        self
    }

    /// Only with, or only without, an `Authorization` header.
    #[must_use]
    pub fn credentials(mut self, sent: bool) -> Self {
        self.credentials = Some(sent);
        self
    }

    /// Only of repositories that are here, or only of others.
    #[must_use]
    pub fn known(mut self, known: bool) -> Self {
        self.known = Some(known);
        self
    }

    /// Only tag lists with more than `n` asked for per page.
    #[must_use]
    pub fn page_above(mut self, n: u64) -> Self {
        self.asked = Some(Asked::PageAbove(n));
        self
    }

    /// Only tag lists that shall go on after a tag that is not there.
    #[must_use]
    pub fn last_unknown(mut self) -> Self {
        self.asked = Some(Asked::LastUnknown);
        self
    }

    pub(super) fn fits(&self, info: &RequestInfo, store: &Store) -> bool {
        let repository = repository(info);
        let reference = info.reference.as_deref().unwrap_or("");
        let unless = |wanted: Option<bool>| wanted.is_none_or(|wanted| wanted);
        unless(self.operation.map(|wanted| wanted == info.operation))
            && unless(self.method.as_ref().map(|wanted| *wanted == info.method))
            && unless(self.repository.as_ref().map(|wanted| Some(wanted) == repository.as_ref()))
            && unless(self.credentials.map(|wanted| wanted == info.with_credentials))
            && unless(self.reference.as_ref().map(|wanted| wanted.fits(reference)))
            && unless(self.asked.map(|wanted| wanted.fits(info, store)))
            && self.known.is_none_or(|wanted| {
                repository.as_ref().is_some_and(|name| store.tags(name).is_some() == wanted)
            })
    }
}

impl Reference {
    fn fits(&self, reference: &str) -> bool {
        match self {
            Self::Tag => !store::is_digest(reference),
            Self::Digest => store::is_digest(reference),
            Self::Exactly(wanted) => wanted == reference,
        }
    }
}

impl Asked {
    fn fits(self, info: &RequestInfo, store: &Store) -> bool {
        let value = |name: &str| parameter(info, name);
        match self {
            Self::PageAbove(n) => {
                value("n").and_then(|n| n.parse::<u64>().ok()).is_some_and(|asked| asked > n)
            }
            Self::LastUnknown => value("last").is_some_and(|last| {
                info.repository.as_ref().is_none_or(|name| store.resolve(name, &last).is_none())
            }),
        }
    }
}

/// The repository that a request is about.
fn repository(info: &RequestInfo) -> Option<String> {
    if info.operation != Operation::Token {
        return info.repository.clone();
    }
    parameter(info, "scope")?.split(':').nth(1).map(str::to_owned)
}

fn parameter(info: &RequestInfo, name: &str) -> Option<String> {
    let query = info.query.as_deref()?.as_bytes();
    url::form_urlencoded::parse(query).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}
