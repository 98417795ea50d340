//! Who may do what: nobody asked, Basic, or Bearer tokens from an endpoint of the registry's own.

use std::{collections::HashMap, time::Duration};

use axum::http::{HeaderMap, Method, StatusCode, header};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::{Operation, RequestInfo, Shared, State, error::OciError, routes::Call};

/// Path of the token endpoint.
pub(super) const TOKEN_PATH: &str = "/token";
/// Tokens alive at once; the oldest are forgotten first. A client holds one per repository and action.
const TOKENS_MAX: usize = 10_000;

/// What a registry asks for.
#[derive(Clone, Debug, Default)]
pub enum Auth {
    /// Nothing: everybody reads and writes.
    #[default]
    Open,
    /// `Authorization: Basic` on every request.
    Basic(Credentials),
    /// A token per scope from the token endpoint.
    Bearer(BearerAuth),
}

/// A user's name and password.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// User name, without colon.
    pub username: String,
    /// Password; never shown.
    pub password: SecretString,
}

/// How tokens are given.
#[derive(Clone, Debug)]
pub struct BearerAuth {
    /// The `service` of the challenge.
    pub service: String,
    /// How long a token is good, by the registry's clock.
    pub token_ttl: Duration,
    /// Whether `expires_in` and `issued_at` are told to the client (opaque tokens of some registries hide them).
    pub tell_expiry: bool,
    /// Who gets tokens for everything; `None`: everybody.
    pub credentials: Option<Credentials>,
    /// The identity (refresh) token that is good for everything too, by OAuth2 POST; `None`: no POST is answered.
    pub identity_token: Option<SecretString>,
    /// Whether those without credentials get tokens that may pull. With wrong credentials nobody gets any.
    pub anonymous_pull: bool,
}

/// Tokens given so far.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    given: HashMap<String, Token>,
    issued: u64,
}

#[derive(Debug)]
struct Token {
    serial: u64,
    expires: Timestamp,
    /// `repository:NAME:ACTION`, one action each.
    grants: Vec<String>,
}

// === impl Credentials ===

impl Credentials {
    /// A user's name and password.
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self { username: username.into(), password: SecretString::from(password.into()) }
    }

    fn matches(&self, headers: &HeaderMap) -> bool {
        let expected = format!("{}:{}", self.username, self.password.expose_secret());
        authorization(headers, "basic").is_some_and(|sent| sent == BASE64_STANDARD.encode(expected))
    }
}

// === impl BearerAuth ===

impl BearerAuth {
    /// Tokens for everybody, good for five minutes, expiry told.
    pub fn anonymous() -> Self {
        Self {
            service: "embedded".to_owned(),
            token_ttl: Duration::from_mins(5),
            tell_expiry: true,
            credentials: None,
            identity_token: None,
            anonymous_pull: true,
        }
    }

    /// Tokens for one user only, good for five minutes, expiry told.
    pub fn for_user(credentials: Credentials) -> Self {
        Self { credentials: Some(credentials), anonymous_pull: false, ..Self::anonymous() }
    }

    /// The actions a request at the token endpoint may be granted; `Err` when it gets no token at all.
    fn allowed(&self, headers: &HeaderMap) -> Result<&'static [&'static str], OciError> {
        const ALL: &[&str] = &["pull", "push", "delete"];
        let Some(credentials) = &self.credentials else { return Ok(ALL) };
        if !headers.contains_key(header::AUTHORIZATION) && self.anonymous_pull {
            return Ok(&["pull"]);
        }
        if credentials.matches(headers) {
            return Ok(ALL);
        }
        Err(OciError::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "incorrect username or password"))
    }

    /// The same for OAuth2, whose proof is in the form.
    fn allowed_by_form(&self, form: &[(String, String)]) -> Result<&'static [&'static str], OciError> {
        let field = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let Some(identity_token) = &self.identity_token else {
            return Err(OciError::unsupported("this token endpoint answers GET only"));
        };
        let granted = match field("grant_type") {
            Some("refresh_token") => field("refresh_token") == Some(identity_token.expose_secret()),
            Some("password") => self.credentials.as_ref().is_some_and(|known| {
                field("username") == Some(&known.username)
                    && field("password") == Some(known.password.expose_secret())
            }),
            _ => return Err(OciError::new(StatusCode::BAD_REQUEST, "UNSUPPORTED", "unknown grant_type")),
        };
        if granted {
            return Ok(&["pull", "push", "delete"]);
        }
        Err(OciError::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "invalid refresh token or password"))
    }
}

// === impl Tokens ===

impl Tokens {
    fn issue(&mut self, expires: Timestamp, grants: Vec<String>) -> String {
        if self.given.len() >= TOKENS_MAX {
            let oldest =
                self.given.iter().min_by_key(|(_, token)| token.serial).map(|(text, _)| text.clone());
            oldest.and_then(|text| self.given.remove(&text));
        }
        self.issued += 1;
        let text = format!("embedded-token-{}", self.issued);
        self.given.insert(text.clone(), Token { serial: self.issued, expires, grants });
        text
    }

    /// `None`: unknown or expired; else whether it grants `wanted`.
    fn grants(&self, text: &str, wanted: &str, now: Timestamp) -> Option<bool> {
        let token = self.given.get(text).filter(|token| now < token.expires)?;
        Some(token.grants.iter().any(|grant| grant == wanted))
    }
}

/// Refuses a request that lacks what the registry asks for.
pub(super) fn authorize(
    shared: &Shared,
    state: &State,
    info: &RequestInfo,
    headers: &HeaderMap,
) -> Result<(), OciError> {
    match &state.auth {
        Auth::Open => Ok(()),
        Auth::Basic(credentials) if credentials.matches(headers) => Ok(()),
        Auth::Basic(_) => Err(OciError::unauthorized("Basic realm=\"embedded\"".to_owned())),
        Auth::Bearer(bearer) => {
            let scope = info.repository.as_deref().map(|name| (name, action(info)));
            let wanted = scope.map(|(name, action)| format!("repository:{name}:{action}"));
            let refused = match authorization(headers, "bearer") {
                None => "",
                Some(text) => {
                    match state.tokens.grants(text, wanted.as_deref().unwrap_or(""), shared.clock.now()) {
                        None => ",error=\"invalid_token\"",
                        // The version check needs a good token and no grant.
                        Some(granted) if granted || wanted.is_none() => return Ok(()),
                        Some(_) => ",error=\"insufficient_scope\"",
                    }
                }
            };
            let scope = scope.map_or_else(String::new, |(name, action)| {
                let actions = if action == "push" { "pull,push" } else { action };
                format!(",scope=\"repository:{name}:{actions}\"")
            });
            Err(OciError::unauthorized(format!(
                "Bearer realm=\"{}://{}{TOKEN_PATH}\",service=\"{}\"{scope}{refused}",
                shared.scheme, shared.host, bearer.service
            )))
        }
    }
}

/// The token endpoint: a token for every scope that is granted; a scope that is not is left out silently, as the
/// specification has it.
pub(super) fn give_token(shared: &Shared, state: &mut State, call: &Call) -> Result<Value, OciError> {
    let Auth::Bearer(bearer) = &state.auth else {
        return Err(OciError::new(StatusCode::NOT_FOUND, "UNSUPPORTED", "this registry gives no tokens"));
    };
    let form: Vec<(String, String)>;
    let (allowed, asked) = match call.info.method {
        Method::GET => (bearer.allowed(&call.headers)?, &call.query),
        Method::POST => {
            form = url::form_urlencoded::parse(&call.body).into_owned().collect();
            (bearer.allowed_by_form(&form)?, &form)
        }
        _ => return Err(OciError::unsupported("this token endpoint answers GET and POST")),
    };
    let mut grants = Vec::new();
    let scopes = asked.iter().filter(|(name, _)| name == "scope").flat_map(|(_, scopes)| scopes.split(' '));
    for scope in scopes {
        let Some((resource, actions)) = scope.rsplit_once(':') else { continue };
        for action in actions.split(',').filter(|action| allowed.contains(action)) {
            grants.push(format!("{resource}:{action}"));
        }
    }
    let now = shared.clock.now();
    let ttl = SignedDuration::try_from(bearer.token_ttl).unwrap_or(SignedDuration::MAX);
    let (ttl_secs, tell_expiry) = (bearer.token_ttl.as_secs(), bearer.tell_expiry);
    let token = state.tokens.issue(now.checked_add(ttl).unwrap_or(Timestamp::MAX), grants);
    if tell_expiry {
        Ok(
            json!({"token": token, "access_token": token, "expires_in": ttl_secs, "issued_at": now.to_string()}),
        )
    } else {
        Ok(json!({"token": token}))
    }
}

fn action(info: &RequestInfo) -> &'static str {
    match (&info.operation, &info.method) {
        (Operation::Upload, _) | (_, &Method::PUT) => "push",
        (_, &Method::DELETE) => "delete",
        _ => "pull",
    }
}

/// What follows the scheme (compared without case) in `Authorization`.
fn authorization<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let (sent, rest) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    sent.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}
