//! Refusals that mean a token has ended and are no 401. Pure.
//!
//! Amazon's registries: a private one answers 403 with the words "authorization token has expired"
//! (kcl-lang/kpm#698), the public one 400 (aws/containers-roadmap#2835).

use crate::registry::identity::auth::Proof;
use crate::registry::wire::transport::{Reply, Verb};

/// What is said with such a refusal.
pub(crate) const REMARK: &str =
    "; it says that the token has expired: renew the credential (a password of Amazon ECR lives 12 hours)";

/// True for the public registry of Amazon.
pub(crate) fn is_public_ecr(host: &str) -> bool {
    host == "public.ecr.aws"
}

/// True for a private registry of Amazon: `123456789012.dkr.ecr.eu-central-1.amazonaws.com`, also in China.
fn is_private_ecr(host: &str) -> bool {
    let domain = host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn");
    domain && (host.contains(".dkr.ecr.") || host.contains(".dkr.ecr-fips."))
}

/// Whether a refusal says in words that the token has ended. The words are only looked at, never repeated.
pub(crate) fn says_ended(reply: &Reply) -> bool {
    const WORDS: &[u8] = b"token has expired";
    reply.status.is_client_error()
        && reply.body.windows(WORDS.len()).any(|window| window.eq_ignore_ascii_case(WORDS))
}

/// Whether a refusal of a request that carried a token may mean that the token has ended, so that a new one is
/// worth a try.
pub(crate) fn may_have_ended(host: &str, verb: Verb, reply: &Reply, proof: &Proof) -> bool {
    if !matches!(proof, Proof::Bearer(_)) || reply.foreign {
        return false;
    }
    match reply.status.as_u16() {
        // The answer to a HEAD has no words.
        403 => says_ended(reply) || (verb == Verb::Head && is_private_ecr(host)),
        400 => is_public_ecr(host),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue, StatusCode};

    use super::*;

    const ECR: &str = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";
    const WORDS: &str =
        r#"{"errors":[{"code":"DENIED","message":"Your Authorization Token has expired. Reauthenticate"}]}"#;

    fn ended(host: &str, verb: Verb, status: u16, body: &'static str, proof: &Proof) -> bool {
        let status = StatusCode::from_u16(status).unwrap();
        let body = Bytes::from_static(body.as_bytes());
        may_have_ended(
            host,
            verb,
            &Reply {
                status,
                version: http::Version::HTTP_11,
                headers: HeaderMap::new(),
                body,
                foreign: false,
            },
            proof,
        )
    }

    #[test]
    fn only_amazons_refusals_of_a_token_may_mean_that_it_ended() {
        let bearer = Proof::Bearer(HeaderValue::from_static("Bearer x"));
        for (host, verb, status, body, expected) in [
            (ECR, Verb::Get, 403, WORDS, true),
            ("r.io", Verb::Get, 403, WORDS, true),
            (ECR, Verb::Get, 403, "denied", false),
            (ECR, Verb::Head, 403, "", true),
            ("r.io", Verb::Head, 403, "", false),
            ("public.ecr.aws", Verb::Head, 400, "", true),
            ("public.ecr.aws", Verb::Get, 403, "denied", false),
            ("r.io", Verb::Get, 400, WORDS, false),
            (ECR, Verb::Get, 404, WORDS, false),
        ] {
            assert_eq!(ended(host, verb, status, body, &bearer), expected, "{host} {status} {body}");
        }
        assert!(!ended(ECR, Verb::Get, 403, WORDS, &Proof::Basic(HeaderValue::from_static("Basic x"))));
        assert!(!ended(ECR, Verb::Get, 403, WORDS, &Proof::None));
    }
}
