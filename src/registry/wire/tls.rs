//! What a registry's TLS is verified with and answered with: CAs and a client certificate, out of PEM text.
//!
//! Read once, when it is given: what cannot be used says which key of which Secret is wrong. Never prints a key.

use std::fmt;
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};

use crate::registry::identity::credentials::Fingerprint;

/// HTTP/2 where the host speaks it: one connection carries a whole look.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The PEM texts of a Secret, under the keys that Flux uses (`certSecretRef`). An empty text is an absent one.
#[derive(Clone, Copy, Default)]
pub struct TlsPem<'a> {
    /// `ca.crt`: who may sign the registry's certificate, instead of the system's CAs.
    pub ca: Option<&'a [u8]>,
    /// `tls.crt`: the certificate that we show, leaf first.
    pub certificate: Option<&'a [u8]>,
    /// `tls.key`: its private key.
    pub key: Option<&'a [u8]>,
}

/// CAs, a client certificate, or both; or why they cannot be used, which makes every answer Unknown(Auth) with
/// that sentence before a request is sent.
#[derive(Clone)]
pub struct Tls(Result<Material, String>);

/// What was read.
#[derive(Clone)]
pub(crate) struct Material {
    roots: Option<Arc<RootCertStore>>,
    identity: Option<Identity>,
    pub(crate) fingerprint: Fingerprint,
}

#[derive(Clone)]
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: Arc<PrivateKeyDer<'static>>,
}

// === impl Tls ===

impl Tls {
    /// Reads the texts. `source` names where they come from, as in "the Secret registry-tls".
    ///
    /// `ca.crt` replaces the system's CAs and `tls.crt` goes with `tls.key`, as in Flux's image-reflector-controller
    /// (fluxcd/pkg runtime/secrets/converter.go, used without `WithSystemCertPool`).
    pub fn from_pem(source: &str, pem: TlsPem<'_>) -> Self {
        Self(Material::read(pem).map_err(|why| format!("{source} cannot be used for TLS: {why}")))
    }

    /// One that cannot be used, for the reason given.
    pub fn unusable(why: impl Into<String>) -> Self {
        Self(Err(why.into()))
    }

    /// What was read, or why it cannot be used.
    pub(crate) fn material(&self) -> Result<&Material, &str> {
        self.0.as_ref().map_err(String::as_str)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Ok(material) => f
                .debug_struct("Tls")
                .field("own_ca", &material.roots.is_some())
                .field("client_certificate", &material.identity.is_some())
                .finish(),
            Err(why) => f.debug_tuple("Tls").field(why).finish(),
        }
    }
}

// === impl Material ===

impl Material {
    fn read(pem: TlsPem<'_>) -> Result<Self, String> {
        let given = |text: Option<&'_ [u8]>| text.is_some_and(|text| !text.is_empty());
        let roots = if given(pem.ca) { Some(Arc::new(roots(pem.ca.unwrap_or_default())?)) } else { None };
        let identity = match (given(pem.certificate), given(pem.key)) {
            (true, true) => {
                Some(Identity::read(pem.certificate.unwrap_or_default(), pem.key.unwrap_or_default())?)
            }
            (false, false) => None,
            (true, false) => return Err("it has `tls.crt` without `tls.key`; add the key".to_owned()),
            (false, true) => return Err("it has `tls.key` without `tls.crt`; add the certificate".to_owned()),
        };
        if roots.is_none() && identity.is_none() {
            return Err("it has neither `ca.crt` nor `tls.crt` with `tls.key`; add what the registry needs"
                .to_owned());
        }
        let parts = [pem.ca, pem.certificate, pem.key].map(Option::unwrap_or_default);
        Ok(Self { roots, identity, fingerprint: Fingerprint::of("tls", &parts) })
    }

    /// Without the client certificate, for hosts that it was not given for.
    fn config(
        &self,
        system: &dyn Fn() -> Result<Verified, String>,
        shown: bool,
    ) -> Result<ClientConfig, String> {
        let builder = match &self.roots {
            Some(roots) => builder()?.with_root_certificates(Arc::clone(roots)),
            None => system()?,
        };
        match self.identity.as_ref().filter(|_| shown) {
            Some(Identity { chain, key }) => builder
                .with_client_auth_cert(chain.clone(), key.clone_key())
                .map_err(|error| error.to_string()),
            None => Ok(builder.with_no_client_auth()),
        }
    }
}

// === impl Identity ===

impl Identity {
    fn read(certificate: &[u8], key: &[u8]) -> Result<Self, String> {
        let chain = certificates("tls.crt", certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| "`tls.key` holds no unencrypted PEM private key; write the key itself".to_owned())?;
        let identity = Self { chain, key: Arc::new(key) };
        // Only the builder compares the key with the certificate.
        builder()?
            .with_root_certificates(RootCertStore::empty())
            .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
            .map_err(|_| {
                "`tls.key` is not the key of the certificate in `tls.crt`, or of a kind that is not \
                          supported (use RSA, ECDSA P-256 or P-384, or Ed25519); write both anew"
                    .to_owned()
            })?;
        Ok(identity)
    }
}

/// A configuration that knows whom to trust.
pub(crate) type Verified = ConfigBuilder<ClientConfig, WantsClientCert>;

/// The client configuration for https: `system` gives the one that trusts the system's CAs, asked for only where
/// no CA was given. `shown`: the client certificate goes along.
pub(crate) fn config(
    material: Option<&Material>,
    shown: bool,
    system: &dyn Fn() -> Result<Verified, String>,
) -> Result<ClientConfig, String> {
    let mut config = match material {
        Some(material) => material.config(system, shown)?,
        None => system()?.with_no_client_auth(),
    };
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
    Ok(config)
}

/// A configuration that trusts nobody, for plain HTTP: building it asks nothing of the system.
pub(crate) fn plain_config() -> Result<ClientConfig, String> {
    Ok(builder()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

/// A configuration that trusts whom `verifier` trusts.
pub(crate) fn trusting(verifier: Arc<rustls_platform_verifier::Verifier>) -> Result<Verified, String> {
    Ok(builder()?.dangerous().with_custom_certificate_verifier(verifier))
}

/// Ring everywhere (rust-stack research §4), named here so that no call depends on what a process installed.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn builder() -> Result<ConfigBuilder<ClientConfig, rustls::WantsVerifier>, String> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())
}

fn roots(text: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for (index, certificate) in certificates("ca.crt", text)?.into_iter().enumerate() {
        roots.add(certificate).map_err(|_| {
            format!(
                "certificate {} of `ca.crt` cannot be read as a CA; write the CA's own certificate",
                index + 1
            )
        })?;
    }
    Ok(roots)
}

fn certificates(key: &str, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(text).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => {
            Err(format!("`{key}` holds no PEM certificate; it begins with `-----BEGIN CERTIFICATE-----`"))
        }
        Err(_) => Err(format!("`{key}` is broken PEM; write it anew from the file")),
    }
}
