//! How the hosts of one place are reached, and which of them gets what.

use std::sync::Arc;

use url::Url;

use crate::registry::Access;
use crate::registry::identity::credentials::Fingerprint;
use crate::registry::wire::guard;
use crate::registry::wire::proxy::{Proxy, Setting};
use crate::registry::wire::tls::{Material, Tls};

/// How the hosts of one place are reached: the registry itself and whom it names (token servers, blob storage).
pub(crate) struct Route {
    /// Scheme, host and port of the registry's API.
    pub(crate) registry: Url,
    /// Who asks: connections are not shared between identities.
    pub(crate) identity: Fingerprint,
    /// Plain HTTP is allowed.
    pub(crate) insecure: bool,
    tls: Option<Arc<Tls>>,
    proxy: Option<Arc<Proxy>>,
}

// === impl Route ===

impl Route {
    /// The route of an access, or what cannot be used in it.
    pub(crate) fn new(registry: Url, identity: Fingerprint, access: &Access) -> Result<Self, String> {
        let Access { insecure, tls, proxy, .. } = access;
        if let Some(Err(why)) = tls.as_deref().map(Tls::material) {
            return Err(why.to_owned());
        }
        if let Some(Err(why)) = proxy.as_deref().map(Proxy::setting) {
            return Err(why.to_owned());
        }
        Ok(Self { registry, identity, insecure: *insecure, tls: tls.clone(), proxy: proxy.clone() })
    }

    /// True for the registry itself: scheme, host and port.
    pub(crate) fn is_own(&self, url: &Url) -> bool {
        guard::same_origin(url, &self.registry)
    }

    pub(crate) fn material(&self) -> Option<&Material> {
        self.tls.as_deref().and_then(|tls| tls.material().ok())
    }

    /// The proxy that the spec names: used for every host, this machine too (as Flux does, which sets it on the
    /// transport without exceptions).
    pub(crate) fn proxy(&self) -> Option<&Setting> {
        self.proxy.as_deref().and_then(|proxy| proxy.setting().ok())
    }
}

/// Everything of an access that changes what is seen, as one (docs/adr/0003).
pub(crate) fn identity(access: &Access) -> Fingerprint {
    own_way(access).into_iter().fold(access.credentials.fingerprint(), Fingerprint::and)
}

/// The CAs, client certificate and proxy that the asker brought along; `None` is the way that all others go.
pub(crate) fn own_way(access: &Access) -> Option<Fingerprint> {
    let tls = access.tls.as_deref().and_then(|tls| tls.material().ok()).map(|material| material.fingerprint);
    let proxy =
        access.proxy.as_deref().and_then(|proxy| proxy.setting().ok()).map(|setting| setting.fingerprint);
    [tls, proxy].into_iter().flatten().reduce(Fingerprint::and)
}
