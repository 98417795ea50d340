//! Why a TLS handshake failed, in words for people, with what to do.

use rustls::{AlertDescription, CertificateError, Error};

/// Why TLS was not agreed upon.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Handshake {
    #[error("its certificate is signed by a CA that is not trusted")]
    UnknownCa,
    #[error("its certificate has expired")]
    Expired,
    #[error("its certificate is not valid yet")]
    NotYetValid,
    #[error("its certificate is for another name{0}")]
    WrongName(String),
    #[error("it wants a client certificate and none was shown")]
    WantsCertificate,
    #[error("it did not accept the client certificate ({0})")]
    RefusesCertificate(String),
    #[error("it does not speak TLS")]
    PlainText,
    #[error("its TLS certificate or handshake was not accepted ({0})")]
    Other(String),
}

// === impl Handshake ===

impl Handshake {
    /// What an error of rustls means.
    pub(crate) fn of(error: &Error) -> Self {
        match error {
            Error::InvalidMessage(_) => Self::PlainText,
            Error::InvalidCertificate(error) => Self::of_certificate(error),
            Error::AlertReceived(alert) => Self::of_alert(*alert),
            other => Self::Other(other.to_string()),
        }
    }

    /// What rustls's words mean where only they came through (HTTP/2 keeps no more of an error of its connection).
    pub(crate) fn of_text(text: &str) -> Option<Self> {
        let alert = text.split_once("received fatal alert: ")?.1;
        Some(match alert.trim() {
            "CertificateRequired" | "certificate required" => Self::WantsCertificate,
            other => Self::RefusesCertificate(other.to_owned()),
        })
    }

    fn of_certificate(error: &CertificateError) -> Self {
        match error {
            // The second is a CA of the same name with another key.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownCa,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            CertificateError::NotValidForName => Self::WrongName(String::new()),
            CertificateError::NotValidForNameContext { presented, .. } => {
                Self::WrongName(match presented.first() {
                    Some(name) => format!(", {name}"),
                    None => String::new(),
                })
            }
            other => Self::Other(other.to_string()),
        }
    }

    fn of_alert(alert: AlertDescription) -> Self {
        match alert {
            AlertDescription::CertificateRequired => Self::WantsCertificate,
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied => Self::RefusesCertificate(format!("{alert:?}")),
            other => Self::Other(format!("it sent the alert {other:?}")),
        }
    }

    /// What to do.
    pub(crate) fn next_step(&self) -> &'static str {
        match self {
            Self::UnknownCa => {
                "put that CA's certificate into a Secret as `ca.crt` and name it in `registry.certSecretRef`"
            }
            Self::Expired => "renew the registry's certificate",
            Self::NotYetValid => "check the clocks of the registry and of this machine",
            Self::WrongName(_) => {
                "name the registry in `repository` as its certificate does, or have the certificate issued for \
                 this name"
            }
            Self::WantsCertificate => {
                "put certificate and key into a Secret as `tls.crt` and `tls.key` and name it in \
                 `registry.certSecretRef`"
            }
            Self::RefusesCertificate(_) => {
                "check that the certificate in the Secret of `registry.certSecretRef` is signed by a CA that the \
                 registry trusts and has not expired"
            }
            Self::PlainText => "set `insecure: true` if it is meant to be plain HTTP",
            Self::Other(_) => "check the registry's certificate and who issued it",
        }
    }
}
