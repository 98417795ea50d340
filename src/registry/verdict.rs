//! From an HTTP answer to a sighting (registry research §3). Pure: no I/O, no clock.
//!
//! The one rule that everything here serves: only a 404 to a request that was allowed to see is Missing.

use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;

use crate::model::Sighting;
use crate::model::sighting::{Defect, DefectKind, Doubt, DoubtKind};

/// Longest pause that a registry may ask for: longer ones are re-checked hourly, so that one wrong header
/// cannot silence a repository for days.
pub const RETRY_AFTER_MAX_SECS: u32 = 3_600;
/// Error codes repeated in a message, so that it stays one sentence.
const CODES_SHOWN_MAX: usize = 3;
/// Error codes that are repeated: those of the OCI distribution specification, of the `distribution` registry, and what Quay and
/// Harbor answer beside them. Another one is free text: a registry could write there what it was sent (S8).
const CODES_KNOWN: &[&str] = &[
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DENIED",
    "DIGEST_INVALID",
    "FORBIDDEN",
    "INTERNAL_ERROR",
    "INVALID_REQUEST",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "MANIFEST_UNVERIFIED",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "NOT_FOUND",
    "PAGINATION_NUMBER_INVALID",
    "PRECONDITION",
    "PROJECT_POLICY_VIOLATION",
    "RANGE_INVALID",
    "SIZE_INVALID",
    "TAG_INVALID",
    "TOOMANYREQUESTS",
    "TOO_MANY_TAGS_REQUESTED",
    "UNAUTHORIZED",
    "UNAVAILABLE",
    "UNKNOWN",
    "UNSUPPORTED",
];

/// Every answer but `Present`: what `?` carries through the adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absence {
    /// See [`Sighting::Missing`].
    Missing,
    /// See [`Sighting::Broken`].
    Broken(Defect),
    /// See [`Sighting::Unknown`].
    Unknown(Doubt),
}

/// What a request was entitled to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// No credential is configured and the registry asked for none.
    Open,
    /// The request carried a token or Basic credential that the registry had asked for.
    Accepted,
    /// A credential is configured, and the registry never asked for it: a 404 may hide what it would show.
    Unproven,
    /// The registry once asked for a token, and was now asked without one: a 404 may hide what a token would show.
    Lapsed,
}

/// An answer that is not 200, as far as the verdict depends on it.
#[derive(Debug)]
pub struct Refusal<'a> {
    /// Registry host, as the user writes it.
    pub host: &'a str,
    /// What was asked for, for people: `ghcr.io/acme/app:v1`.
    pub subject: &'a str,
    /// HTTP status.
    pub status: StatusCode,
    /// What the request was entitled to see.
    pub standing: Standing,
    /// The answer came from another host than the registry (blob storage).
    pub foreign: bool,
    /// OCI error codes of the body, see [`error_codes`].
    pub codes: &'a [String],
    /// Seconds of [`retry_after`].
    pub retry_after_secs: Option<u32>,
}

#[derive(Deserialize)]
struct Envelope {
    errors: Vec<ErrorItem>,
}

#[derive(Deserialize)]
struct ErrorItem {
    #[serde(default)]
    code: String,
}

/// The error codes of an OCI error body that are known; empty for anything else. Only the codes are read: messages and
/// details are free text, which may repeat what was sent.
pub fn error_codes(body: &[u8]) -> Vec<String> {
    let sound = |code: &String| CODES_KNOWN.contains(&code.as_str());
    serde_json::from_slice::<Envelope>(body)
        .map(|envelope| envelope.errors.into_iter().map(|item| item.code).filter(sound))
        .map(|codes| codes.take(CODES_SHOWN_MAX).collect())
        .unwrap_or_default()
}

/// `Retry-After` in seconds from `now` (RFC 9110 §10.2.3: seconds or a date, also in the two obsolete forms of
/// §5.6.7), at most an hour.
pub fn retry_after(value: &str, now: Timestamp) -> Option<u32> {
    let value = value.trim();
    let secs = if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        // Digits that overflow are simply very long.
        value.parse::<u32>().unwrap_or(u32::MAX)
    } else {
        let date = http_date(value)?;
        u32::try_from(date.duration_since(now).as_secs().max(0)).unwrap_or(u32::MAX)
    };
    Some(secs.min(RETRY_AFTER_MAX_SECS))
}

/// A date as HTTP writes it: `Sat, 21 Nov 2026 10:00:30 GMT`, or as RFC 850 or C's `asctime` did.
fn http_date(value: &str) -> Option<Timestamp> {
    if let Ok(date) = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value) {
        return Some(date);
    }
    let obsolete = ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
    obsolete.into_iter().find_map(|form| {
        let date = jiff::civil::DateTime::strptime(form, value).ok()?;
        jiff::tz::Offset::UTC.to_timestamp(date).ok()
    })
}

/// The verdict of an answer that is not 200.
pub fn judge(refusal: &Refusal<'_>) -> Absence {
    let Refusal { host, subject, status, standing, foreign, codes, retry_after_secs } = *refusal;
    let code = described(status, codes);
    let (kind, message) = match status.as_u16() {
        404 if foreign => (
            DoubtKind::Transient,
            format!(
                "the storage behind {host} answered {code} for {subject}; it is asked again at the next look"
            ),
        ),
        404 if standing == Standing::Unproven => (
            DoubtKind::Auth,
            format!(
                "{host} answered {code} for {subject} without asking for the configured credential, so it may \
                 be hidden rather than missing; remove the credential if this registry is open to all, else \
                 check that it is meant for {host}"
            ),
        ),
        404 if standing == Standing::Lapsed => (
            DoubtKind::Auth,
            format!(
                "{host} answered {code} for {subject} without the token that it once asked for, so it may be hidden rather \
                 than missing; check that its token server works, or that it is meant to be open to all"
            ),
        ),
        404 => return Absence::Missing,
        400 if host == "public.ecr.aws" => (DoubtKind::Auth, no_access(host, subject, &code)),
        401 | 403 => (DoubtKind::Auth, no_access(host, subject, &code)),
        429 => (
            DoubtKind::Throttled,
            format!(
                "{host} answered {code} for {subject}: it was asked too often and is asked again later; look less often (`interval`) or with a credential that has a higher limit"
            ),
        ),
        408 | 499 | 500..=599 if !matches!(status.as_u16(), 501 | 505) => (
            DoubtKind::Transient,
            format!(
                "{host} answered {code} for {subject}: the registry is in trouble; it is asked again at the next look"
            ),
        ),
        300..=399 => (
            DoubtKind::Protocol,
            format!(
                "{host} answered {code} for {subject} and led nowhere; name the registry's own host in `repository`"
            ),
        ),
        _ => (
            DoubtKind::Protocol,
            format!(
                "{host} answered {code} for {subject}, which no container registry should; check that `repository` names a registry"
            ),
        ),
    };
    Absence::Unknown(Doubt { kind, message, retry_after_secs })
}

/// The sentence for 401 and 403: registries answer alike for what is not there and what is not for us.
fn no_access(host: &str, subject: &str, code: &str) -> String {
    format!(
        "{host} answered {code} for {subject}: not found or no access; check the name and that the credential may pull it"
    )
}

/// `404 Not Found (MANIFEST_UNKNOWN)`.
fn described(status: StatusCode, codes: &[String]) -> String {
    let reason = status.canonical_reason().map(|reason| format!(" {reason}")).unwrap_or_default();
    let codes = if codes.is_empty() { String::new() } else { format!(" ({})", codes.join(", ")) };
    format!("{}{reason}{codes}", status.as_u16())
}

// === impl Absence ===

impl Absence {
    /// A doubt without a pause.
    pub fn unknown(kind: DoubtKind, message: impl Into<String>) -> Self {
        Self::Unknown(Doubt::new(kind, message))
    }

    /// A defect.
    pub fn broken(kind: DefectKind, message: impl Into<String>) -> Self {
        Self::Broken(Defect { kind, message: message.into() })
    }
}

impl From<Doubt> for Absence {
    fn from(doubt: Doubt) -> Self {
        Self::Unknown(doubt)
    }
}

impl<T> From<Absence> for Sighting<T> {
    fn from(absence: Absence) -> Self {
        match absence {
            Absence::Missing => Self::Missing,
            Absence::Broken(defect) => Self::Broken(defect),
            Absence::Unknown(doubt) => Self::Unknown(doubt),
        }
    }
}

/// The sighting of a result.
pub fn sighting<T>(result: Result<T, Absence>) -> Sighting<T> {
    result.map_or_else(Sighting::from, Sighting::Present)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, standing: Standing) -> Absence {
        judge(&Refusal {
            host: "r.io",
            subject: "r.io/app:v1",
            status: StatusCode::from_u16(status).unwrap(),
            standing,
            foreign: false,
            codes: &[],
            retry_after_secs: Some(7),
        })
    }

    fn kind(absence: &Absence) -> Option<DoubtKind> {
        match absence {
            Absence::Unknown(doubt) => Some(doubt.kind),
            _ => None,
        }
    }

    #[test]
    fn only_an_entitled_404_is_missing() {
        assert_eq!(judged(404, Standing::Open), Absence::Missing);
        assert_eq!(judged(404, Standing::Accepted), Absence::Missing);
        assert_eq!(kind(&judged(404, Standing::Unproven)), Some(DoubtKind::Auth));
        assert_eq!(kind(&judged(404, Standing::Lapsed)), Some(DoubtKind::Auth));
        for status in (100..=999).filter(|status| ![200, 404].contains(status)) {
            assert!(kind(&judged(status, Standing::Accepted)).is_some(), "{status}");
        }
    }

    #[test]
    fn each_status_has_its_kind_of_doubt() {
        for (statuses, expected) in [
            (vec![401, 403], DoubtKind::Auth),
            (vec![408, 499, 500, 502, 503, 504, 522, 599], DoubtKind::Transient),
            (vec![429], DoubtKind::Throttled),
            (vec![201, 204, 206, 302, 304, 400, 405, 410, 413, 418, 451, 501], DoubtKind::Protocol),
        ] {
            for status in statuses {
                assert_eq!(kind(&judged(status, Standing::Accepted)), Some(expected), "{status}");
            }
        }
    }

    #[test]
    fn only_public_ecr_means_auth_by_400() {
        for (host, expected) in [("public.ecr.aws", DoubtKind::Auth), ("r.io", DoubtKind::Protocol)] {
            let refusal = Refusal {
                host,
                subject: "r.io/app",
                status: StatusCode::BAD_REQUEST,
                standing: Standing::Accepted,
                foreign: false,
                codes: &["DENIED".to_owned()],
                retry_after_secs: None,
            };
            assert_eq!(kind(&judge(&refusal)), Some(expected), "{host}");
        }
    }

    #[test]
    fn storage_behind_the_registry_cannot_say_missing() {
        let refusal = Refusal {
            host: "r.io",
            subject: "r.io/app",
            status: StatusCode::NOT_FOUND,
            standing: Standing::Accepted,
            foreign: true,
            codes: &[],
            retry_after_secs: None,
        };
        assert_eq!(kind(&judge(&refusal)), Some(DoubtKind::Transient));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_capped() {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        for (value, secs) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("99999", Some(3_600)),
            ("99999999999999999999", Some(3_600)),
            ("Sat, 21 Nov 2026 10:00:30 GMT", Some(30)),
            ("Sat, 21 Nov 2026 09:00:00 GMT", Some(0)),
            ("Sun, 21 Nov 2027 10:00:00 GMT", Some(3_600)),
            ("Saturday, 21-Nov-26 10:00:30 GMT", Some(30)),
            ("Sat Nov 21 10:00:30 2026", Some(30)),
            ("Tue Dec  1 10:00:00 2026", Some(3_600)),
            ("soon", None),
            ("", None),
            ("-5", None),
        ] {
            assert_eq!(retry_after(value, now), secs, "{value}");
        }
    }

    #[test]
    fn only_codes_are_taken_from_error_bodies() {
        let body = br#"{"errors":[{"code":"DENIED","message":"token hunter2"},{"code":"hunter2"},{}]}"#;
        assert_eq!(error_codes(body), ["DENIED"]);
        for other in ["", "<html>", "[]", r#"{"errors":null}"#, r#"{"errors":[]}"#] {
            assert!(error_codes(other.as_bytes()).is_empty(), "{other}");
        }
    }
}
