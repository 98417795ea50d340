//! The proxy that stands between us and a registry: one that the spec names, or the environment's.
//!
//! A proxy's password goes to the proxy and nowhere else, and is never printed.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::Matcher;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::registry::identity::credentials::Fingerprint;
use crate::registry::wire::address::host_and_port;
use crate::registry::wire::guard;

/// Longest address, as Flux has it (fluxcd/pkg runtime/secrets `MaxProxyURLLength`).
const ADDRESS_MAX_BYTES: usize = 2_048;

/// An HTTP proxy; or why it cannot be used, which makes every answer Unknown(Auth) with that sentence before a
/// request is sent.
#[derive(Clone)]
pub struct Proxy(Result<Setting, String>);

/// One usable proxy.
#[derive(Clone)]
pub(crate) struct Setting {
    address: Url,
    authorization: Option<HeaderValue>,
    /// Where the user set it, for people.
    named_in: &'static str,
    pub(crate) fingerprint: Fingerprint,
}

// === impl Proxy ===

impl Proxy {
    /// A proxy for https (by CONNECT) and http alike. `source` names where it comes from, as in "the Secret egress";
    /// the keys are Flux's (`proxySecretRef`): `address`, `username`, `password`. The address is `http://` or
    /// `https://` with a host; SOCKS is not supported.
    pub fn new(source: &str, address: &str, username: Option<&str>, password: Option<&SecretString>) -> Self {
        let setting =
            Setting::new("registry.proxySecretRef", address, username.map(|name| basic(name, password)));
        Self(setting.map_err(|why| format!("{source} names no usable proxy: {why}")))
    }

    /// One that cannot be used, for the reason given.
    pub fn unusable(why: impl Into<String>) -> Self {
        Self(Err(why.into()))
    }

    /// The proxy, or why it cannot be used.
    pub(crate) fn setting(&self) -> Result<&Setting, &str> {
        self.0.as_ref().map_err(String::as_str)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Ok(setting) => f.debug_tuple("Proxy").field(&setting.shown()).finish(),
            Err(why) => f.debug_tuple("Proxy").field(why).finish(),
        }
    }
}

// === impl Setting ===

impl Setting {
    fn new(
        named_in: &'static str,
        address: &str,
        authorization: Option<HeaderValue>,
    ) -> Result<Self, String> {
        let form = "write http://HOST:PORT into its key `address`";
        if address.is_empty() || address.len() > ADDRESS_MAX_BYTES {
            return Err(format!("its `address` is absent or too long; {form}"));
        }
        let address: Url = address.trim().parse().map_err(|_| format!("its `address` is no URL; {form}"))?;
        if !matches!(address.scheme(), "http" | "https") || address.host().is_none() {
            return Err(format!("its `address` is no http or https address; {form}"));
        }
        if !address.username().is_empty() || address.password().is_some() {
            return Err(
                "its `address` holds a user name; write that into its keys `username` and `password`"
                    .to_owned(),
            );
        }
        let secret = authorization.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
        let fingerprint = Fingerprint::of("proxy", &[address.as_str().as_bytes(), secret]);
        Ok(Self { address, authorization, named_in, fingerprint })
    }

    /// What the environment says for an address; `None` without a proxy. This machine is never asked through one
    /// (as Go's `net/http` does).
    pub(crate) fn of_environment(environment: &Matcher, url: &Url) -> Result<Option<Arc<Self>>, String> {
        if guard::is_loopback(url) {
            return Ok(None);
        }
        let Some(found) = url.as_str().parse::<Uri>().ok().and_then(|uri| environment.intercept(&uri)) else {
            return Ok(None);
        };
        let address = found.uri().to_string();
        let setting = Self::new("HTTPS_PROXY or HTTP_PROXY", &address, found.basic_auth().cloned());
        setting
            .map(|setting| Some(Arc::new(setting)))
            .map_err(|_| "HTTPS_PROXY, HTTP_PROXY or ALL_PROXY names no http or https proxy".to_owned())
    }

    /// The address, for people.
    pub(crate) fn shown(&self) -> String {
        host_and_port(&self.address)
    }

    /// Where the user set it, for people.
    pub(crate) fn named_in(&self) -> &'static str {
        self.named_in
    }

    pub(crate) fn for_reqwest(&self) -> Result<reqwest::Proxy, reqwest::Error> {
        let proxy = reqwest::Proxy::all(self.address.clone())?;
        Ok(match &self.authorization {
            Some(authorization) => proxy.custom_http_auth(authorization.clone()),
            None => proxy,
        })
    }
}

/// `Basic` for the proxy. Base64 is always a header value.
fn basic(username: &str, password: Option<&SecretString>) -> HeaderValue {
    let password = password.map_or("", |password| password.expose_secret());
    let pair = STANDARD.encode(format!("{username}:{password}"));
    let mut value =
        HeaderValue::from_str(&format!("Basic {pair}")).unwrap_or(HeaderValue::from_static("Basic"));
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(environment: &Matcher, url: &str) -> Option<String> {
        let found = Setting::of_environment(environment, &url.parse().unwrap()).unwrap();
        found.map(|setting| setting.shown())
    }

    #[test]
    fn the_environments_proxy_is_asked_for_all_but_exceptions_and_this_machine() {
        let environment =
            Matcher::builder().all("http://u:hunter2@proxy.corp:3128").no("corp,10.0.0.0/8").build();
        assert_eq!(of(&environment, "https://ghcr.io/v2/"), Some("proxy.corp:3128".to_owned()));
        for url in [
            "https://registry.corp/",
            "https://10.1.2.3/",
            "http://127.0.0.1:5000/",
            "http://localhost:5000/",
            "https://[::1]/",
        ] {
            assert_eq!(of(&environment, url), None, "{url}");
        }
        assert_eq!(of(&Matcher::builder().build(), "https://ghcr.io/"), None);
    }

    #[test]
    fn a_socks_proxy_in_the_environment_is_refused_in_words() {
        let environment = Matcher::builder().all("socks5://proxy.corp:1080").build();
        let found = Setting::of_environment(&environment, &"https://ghcr.io/".parse().unwrap());
        assert!(found.err().unwrap().contains("HTTPS_PROXY"));
    }

    #[test]
    fn an_address_is_bounded() {
        let long = format!("http://{}", "a".repeat(ADDRESS_MAX_BYTES));
        assert!(Proxy::new("x", &long, None, None).setting().is_err());
        assert!(Proxy::new("x", "https://proxy.corp", Some("u"), None).setting().is_ok());
    }
}
