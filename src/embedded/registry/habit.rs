//! What hosted registries do otherwise than the specification, as rules of the fault plan.
//!
//! Each is what its vendor documents or its users reported; none was copied from a live account. An image or a
//! repository that is not here stands for one that is absent *or* private: these registries answer alike for both.

use std::time::Duration;

use axum::http::{Method, StatusCode};

use super::{
    Auth, BearerAuth, Credentials,
    on::On,
    plan::{Reply, Rule, Step},
};

/// A registry whose habits can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Habit {
    /// Docker Hub: 401 for an absent or private repository, and GETs of manifests counted against 100 in 6 hours.
    DockerHub,
    /// ghcr.io: the token endpoint refuses an absent or private package, manifests too; 100 tags per page; tokens
    /// that do not say how long they live.
    Ghcr,
    /// ECR private: Basic, and 403 with a text for a password that expired; more than 1,000 tags per page refused.
    Ecr,
    /// public.ecr.aws: 400 for a token that expired.
    PublicEcr,
    /// GAR: 403 `downloadArtifacts` for an absent or private repository; tag lists also say digests.
    Gar,
    /// Quay: `TOO_MANY_TAGS_REQUESTED` above 100 tags per page.
    Quay,
    /// Newer Quay: 413 instead.
    QuayNewer,
    /// Harbor: code `NOT_FOUND` for an absent tag.
    Harbor,
    /// GitLab: tokens of 5 minutes.
    GitLab,
    /// Artifactory: 403 for an absent tag in a virtual repository.
    Artifactory,
    /// Nexus: no digest header, and a `Link` that lost its port.
    Nexus,
    /// zot: a tag list that shall go on after an unknown tag is a 404 without a body.
    Zot,
    /// ACR: OAuth2 with an identity token.
    Acr,
}

/// GETs of manifests that Docker Hub allows an anonymous address in [`HUB_WINDOW_SECS`].
const HUB_PULLS: u64 = 100;
/// Six hours.
const HUB_WINDOW_SECS: u64 = 21_600;
/// Tags per page on ghcr.io.
const GHCR_PAGE_TAGS: usize = 100;

// === impl Habit ===

impl Habit {
    /// How this registry asks for a credential; for [`Self::Acr`] the password is the identity token.
    pub fn auth(self, credentials: Credentials) -> Auth {
        let bearer = BearerAuth::for_user(credentials.clone());
        match self {
            Self::Ecr => Auth::Basic(credentials),
            Self::Ghcr => Auth::Bearer(BearerAuth { tell_expiry: false, ..bearer }),
            Self::GitLab => Auth::Bearer(BearerAuth { token_ttl: Duration::from_mins(5), ..bearer }),
            Self::Acr => {
                Auth::Bearer(BearerAuth { identity_token: Some(credentials.password.clone()), ..bearer })
            }
            _ => Auth::Bearer(bearer),
        }
    }

    /// Most tags in a page, whatever is asked.
    pub(super) fn page_tags_max(self) -> Option<usize> {
        (self == Self::Ghcr).then_some(GHCR_PAGE_TAGS)
    }

    /// The rules, for the registry at `host`.
    pub(super) fn rules(self, host: &str) -> Vec<Rule> {
        match self {
            Self::DockerHub => docker_hub(host),
            Self::Ghcr => ghcr(),
            Self::Ecr => vec![
                expired(StatusCode::FORBIDDEN),
                Rule::new(On::tags().page_above(1_000)).answer(Reply::error(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "UNSUPPORTED",
                    "Invalid parameter at 'maxResults' failed to satisfy constraint: 'Member must have value less than or equal to 1000'",
                )),
            ],
            Self::PublicEcr => vec![expired(StatusCode::BAD_REQUEST)],
            Self::Gar => vec![
                Rule::new(On::manifest().known(false)).answer(gar_denied()),
                Rule::new(On::tags().known(false)).answer(gar_denied()),
                Rule::new(On::tags()).step(Step::DescribeTags),
            ],
            Self::Quay => vec![Rule::new(On::tags().page_above(100)).answer(Reply::error(
                StatusCode::BAD_REQUEST,
                "TOO_MANY_TAGS_REQUESTED",
                "too many tags requested",
            ))],
            Self::QuayNewer => {
                let too_large = Reply::html(StatusCode::PAYLOAD_TOO_LARGE, "<h1>Request Entity Too Large</h1>");
                vec![Rule::new(On::tags().page_above(100)).answer(too_large)]
            }
            Self::Harbor => vec![absent_tag(Reply::error(
                StatusCode::NOT_FOUND,
                "NOT_FOUND",
                "artifact acme/app:v1 not found",
            ))],
            Self::Artifactory => vec![absent_tag(Reply::error(
                StatusCode::FORBIDDEN,
                "DENIED",
                "The requested resource is not accessible",
            ))],
            Self::Nexus => vec![
                Rule::new(On::manifest()).step(Step::RemoveHeader("docker-content-digest")),
                Rule::new(On::tags()).step(Step::LinkWithoutPort),
            ],
            Self::Zot => {
                vec![Rule::new(On::tags().last_unknown()).answer(Reply::status(StatusCode::NOT_FOUND))]
            }
            Self::GitLab | Self::Acr => Vec::new(),
        }
    }
}

fn docker_hub(host: &str) -> Vec<Rule> {
    let refused = |on: On| {
        let challenge = format!(
            "Bearer realm=\"http://{host}/token\",service=\"registry.docker.io\",error=\"insufficient_scope\""
        );
        let reply = Reply::error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "authentication required");
        Rule::new(on.known(false)).answer(reply.header("www-authenticate", challenge))
    };
    let limit = Step::RateLimit { limit: HUB_PULLS, window_secs: HUB_WINDOW_SECS };
    vec![refused(On::manifest()), refused(On::tags()), Rule::new(On::manifest()).step(limit)]
}

fn ghcr() -> Vec<Rule> {
    let denied = Reply::error(StatusCode::FORBIDDEN, "DENIED", "requested access to the resource is denied");
    vec![
        Rule::new(On::token().known(false)).answer(denied.clone()),
        Rule::new(On::manifest().known(false)).answer(denied.clone()),
        Rule::new(On::tags().known(false)).answer(denied),
    ]
}

/// A credential that was sent and not accepted is one that expired.
fn expired(status: StatusCode) -> Rule {
    let text = "Your authorization token has expired. Reauthenticate and try again.";
    Rule::new(On::any().credentials(true))
        .step(Step::Replace { status: StatusCode::UNAUTHORIZED, with: Reply::error(status, "DENIED", text) })
}

fn absent_tag(reply: Reply) -> Rule {
    Rule::new(On::manifest().by_tag().method(Method::GET))
        .step(Step::Replace { status: StatusCode::NOT_FOUND, with: reply })
}

fn gar_denied() -> Reply {
    Reply::error(
        StatusCode::FORBIDDEN,
        "DENIED",
        "Permission \"artifactregistry.repositories.downloadArtifacts\" denied on resource (or it may not exist)",
    )
}
