//! One request to a token server: GET with a user name and password, or POST of an identity token.
//!
//! Sources: distribution's `docs/spec/auth/token.md` and `docs/spec/auth/oauth.md`.

use std::sync::Arc;

use http::StatusCode;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::Url;

use crate::model::sighting::{Doubt, DoubtKind};
use crate::registry::identity::auth::{Claim, retry_after_secs};
use crate::registry::identity::credentials::{Credential, sensitive};
use crate::registry::identity::life::{Life, Stated};
use crate::registry::identity::tokens::Token;
use crate::registry::verdict;
use crate::registry::wire::address::host_and_port;
use crate::registry::wire::failure::Failure;
use crate::registry::wire::guard;
use crate::registry::wire::transport::{Ask, Reply, RequestKind, Transport, Verb};
use crate::telemetry::clock::Clock;

/// Largest body of a token server: the largest tokens seen have about 10 kB.
const TOKEN_BODY_MAX_BYTES: usize = 64 * 1024;
/// What we are to a token server, which may keep it in its log.
const CLIENT_ID: &str = "tidegate";

/// A token server, checked, and what a token is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    /// Its address as the registry named it.
    realm: Url,
    service: Option<String>,
    scope: String,
}

#[derive(Deserialize)]
struct TokenBody {
    token: Option<String>,
    access_token: Option<String>,
    #[serde(flatten)]
    stated: Stated,
}

// === impl Server ===

impl Server {
    /// The token server that a registry names.
    ///
    /// # Errors
    /// When it is not one that this registry's credentials may go to.
    pub(crate) fn new(claim: &Claim<'_>, realm: &str, service: Option<&str>) -> Result<Self, Doubt> {
        let place = claim.place;
        let refused = |why: guard::Refused| {
            Doubt::new(
                DoubtKind::Auth,
                format!(
                    "{} names a token server that is not asked for {}, because {why}; check that `repository` \
                     names the registry that you mean",
                    place.host(),
                    place.name()
                ),
            )
        };
        let mut url: Url = realm.parse().map_err(|_| refused(guard::Refused::NotAbsolute))?;
        guard::check(&url, &place.base, place.access.insecure).map_err(refused)?;
        url.set_fragment(None);
        Ok(Self { realm: url, service: service.map(ToOwned::to_owned), scope: claim.scope() })
    }

    fn name(&self) -> String {
        host_and_port(&self.realm)
    }

    /// A new token.
    ///
    /// # Errors
    /// Whatever keeps the server from giving one; nothing goes on without it.
    pub(crate) async fn exchange(
        &self,
        transport: &Transport,
        clock: &Clock,
        claim: &Claim<'_>,
    ) -> Result<Token, Doubt> {
        let credential = claim.credential();
        let reply = match credential {
            Some(Credential::IdentityToken { username, token }) => {
                let reply = self.send(transport, claim, self.post(claim, token)).await?;
                let knows_no_post =
                    matches!(reply.status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED);
                // Only what has a user name can be tried as a password; an identity token alone cannot.
                if knows_no_post && username.is_some() {
                    self.send(transport, claim, self.get(claim)).await?
                } else {
                    reply
                }
            }
            _ => self.send(transport, claim, self.get(claim)).await?,
        };
        self.token(clock, claim, &reply)
    }

    async fn send(&self, transport: &Transport, claim: &Claim<'_>, ask: Ask) -> Result<Reply, Doubt> {
        let subject = format!("a token to pull {}", claim.place.name());
        transport.send(ask).await.map_err(|failure| match failure {
            // A token server that sends us elsewhere has not given a token: no more is known than that.
            Failure::Redirect { .. } => {
                Doubt { kind: DoubtKind::Auth, ..failure.doubt(&self.name(), &subject) }
            }
            other => other.doubt(&self.name(), &subject),
        })
    }

    fn ask(&self, claim: &Claim<'_>, verb: Verb) -> Ask {
        Ask {
            verb,
            kind: RequestKind::Token,
            url: self.realm.clone(),
            accept: "application/json",
            authorization: None,
            form: None,
            body_max_bytes: TOKEN_BODY_MAX_BYTES,
            route: Arc::clone(&claim.place.route),
            turn: claim.place.turn(),
        }
    }

    fn get(&self, claim: &Claim<'_>) -> Ask {
        let mut ask = self.ask(claim, Verb::Get);
        {
            let mut query = ask.url.query_pairs_mut();
            if let Some(service) = &self.service {
                query.append_pair("service", service);
            }
            query.append_pair("scope", &self.scope);
        }
        ask.authorization = claim.credential().and_then(Credential::basic_header);
        ask
    }

    fn post(&self, claim: &Claim<'_>, token: &SecretString) -> Ask {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "refresh_token");
        // Required by the specification; a registry that named no service goes by its own host.
        form.append_pair("service", self.service.as_deref().unwrap_or(claim.place.host()));
        form.append_pair("client_id", CLIENT_ID);
        form.append_pair("scope", &self.scope);
        form.append_pair("refresh_token", token.expose_secret());
        Ask { form: Some(form.finish().into()), ..self.ask(claim, Verb::Post) }
    }

    fn token(&self, clock: &Clock, claim: &Claim<'_>, reply: &Reply) -> Result<Token, Doubt> {
        let now = clock.now();
        if reply.status != StatusCode::OK {
            return Err(self.refusal(claim, reply, retry_after_secs(&reply.headers, now)));
        }
        let body: TokenBody = serde_json::from_slice(&reply.body).map_err(|_| self.no_token(claim))?;
        let secret = [body.token, body.access_token]
            .into_iter()
            .flatten()
            .find(|token| !token.is_empty())
            .ok_or_else(|| self.no_token(claim))?;
        let header = sensitive(&format!("Bearer {secret}")).ok_or_else(|| {
            Doubt::new(
                DoubtKind::Auth,
                format!(
                    "the token server {} gave a token for {} that cannot be sent, as it holds control characters; \
                     check what answers at that address",
                    self.name(),
                    claim.place.name()
                ),
            )
        })?;
        Ok(Token { header, life: Life::of(&secret, &body.stated, now) })
    }

    /// The doubt of a token server that answered something else than 200.
    fn refusal(&self, claim: &Claim<'_>, reply: &Reply, retry_after_secs: Option<u32>) -> Doubt {
        let alone = matches!(claim.credential(), Some(Credential::IdentityToken { username: None, .. }));
        let (kind, next) = match reply.status.as_u16() {
            429 => (DoubtKind::Throttled, "it is asked again later"),
            408 => (DoubtKind::Transient, "it is asked again at the next look"),
            404 | 405 if alone => (
                DoubtKind::Auth,
                "it takes no identity tokens: use a user name with a password or access token",
            ),
            400..=499 => {
                (DoubtKind::Auth, "check the name of the repository and that the credential may pull it")
            }
            300..=399 => (DoubtKind::Auth, "check that `repository` names the registry that you mean"),
            _ => (DoubtKind::Transient, "it is asked again at the next look"),
        };
        let codes = verdict::error_codes(&reply.body);
        let codes = if codes.is_empty() { String::new() } else { format!(" ({})", codes.join(", ")) };
        let message = format!(
            "the token server {} answered {}{codes} when asked {} for a token to pull {}; {next}",
            self.name(),
            reply.status.as_u16(),
            if claim.candidate.is_some() { "with the configured credential" } else { "without a credential" },
            claim.place.name()
        );
        Doubt { kind, message, retry_after_secs }
    }

    fn no_token(&self, claim: &Claim<'_>) -> Doubt {
        Doubt::new(
            DoubtKind::Protocol,
            format!(
                "the token server {} answered 200 without a token to pull {}; check what answers at that address",
                self.name(),
                claim.place.name()
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Access;
    use crate::registry::identity::credentials::Candidate;
    use crate::registry::wire::place::Place;

    fn server(realm: &str, insecure: bool) -> Result<String, String> {
        let credential = Credential::Basic { username: "user".into(), password: "hunter2".into() };
        let access = Access { credentials: credential.clone().into(), insecure, ..Access::default() };
        let repository = "registry.example/acme/app".parse().unwrap();
        let place = Place::new(&access, &repository).unwrap();
        let candidate = Candidate { credential, source: "x".into() };
        let server = Server::new(&Claim::new(&place, Some(&candidate)), realm, Some("s&x=y"));
        server
            .map(|server| server.get(&Claim::new(&place, Some(&candidate))).url.to_string())
            .map_err(|doubt| doubt.message)
    }

    #[test]
    fn a_password_goes_over_plain_http_only_where_that_is_meant() {
        let plain = "http://auth.example/token";
        assert!(server(plain, false).unwrap_err().contains("`insecure` is not set"));
        assert!(server(plain, true).is_ok());
        assert!(server("https://auth.example/token", false).is_ok());
    }

    #[test]
    fn a_realm_keeps_its_own_question_and_loses_its_fragment() {
        assert_eq!(
            server("https://auth.example/token?account=a#x", false).unwrap(),
            "https://auth.example/token?account=a&service=s%26x%3Dy&scope=repository%3Aacme%2Fapp%3Apull"
        );
    }
}
