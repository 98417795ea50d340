//! The certificates of one control plane: made for one test run, never written outside its folder.

use std::fs;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// A key pair with its certificate, both as PEM text.
#[derive(Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its private key (PKCS #8).
    pub key: String,
}

/// Who signs: the one authority that server and clients trust.
pub struct Authority {
    /// Its certificate as PEM text.
    pub certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

// === impl Authority ===

impl Authority {
    /// Makes a new authority.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "tidegate-tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.self_signed(&key).expect("an authority can sign itself").pem();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// The API server, as it is reached on loopback.
    pub fn server(&self) -> Identity {
        let names = ["127.0.0.1", "10.96.0.1", "localhost", "kubernetes.default.svc"];
        let mut params = CertificateParams::new(names.map(str::to_owned)).expect("the names are valid");
        params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(&params)
    }

    /// A user: Kubernetes reads the name from the common name and the group from the organisation.
    pub fn user(&self, name: &str, group: &str) -> Identity {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.distinguished_name.push(DnType::OrganizationName, group);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params)
    }

    /// Signs a key pair made for `params`.
    pub fn sign(&self, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.signed_by(&key, &self.issuer).expect("an authority can sign").pem();
        Identity { certificate, key: key.serialize_pem() }
    }
}

/// The key pair that signs service-account tokens, as `service-accounts.{key,pub}` in `folder`.
pub fn write_service_account_keys(folder: &Path) {
    let key = KeyPair::generate().expect("a key can be made");
    fs::write(folder.join("service-accounts.key"), key.serialize_pem()).expect("the folder is ours");
    fs::write(folder.join("service-accounts.pub"), key.public_key_pem()).expect("the folder is ours");
}
