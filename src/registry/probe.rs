//! What answers at an address and how it wants to be asked: for the person who sets a registry up.
//!
//! Goes the same way as every look (session, transport, tokens), so that what is shown here is what a look meets.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use tokio::time::Instant;

use crate::model::sighting::{Doubt, DoubtKind};
use crate::model::{Digest, Sighting, Tag};
use crate::registry::evidence::tags::First;
use crate::registry::identity::challenge::{self, Challenge};
use crate::registry::identity::tokens::TokenLife;
use crate::registry::verdict::{Absence, Standing, sighting};
use crate::registry::wire::place::Place;
use crate::registry::wire::session::{Answer, Session, Shared};
use crate::registry::wire::transport::{Reply, RequestKind, Verb};

/// Longest header value repeated; `ratelimit-limit` of Docker Hub has 12 bytes.
const HEADER_SHOWN_MAX_CHARS: usize = 80;
/// Rate-limit headers kept: limit, remaining, reset and policy, in two spellings.
const LIMITS_MAX: usize = 8;

/// What was found at one repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Scheme, host and port that were asked, as a URL; empty when the repository's host is no address.
    pub address: String,
    /// HTTP version of the last answer, for example `HTTP/2.0`; `None` when nothing answered.
    pub http_version: Option<String>,
    /// From sending the last request to its whole answer: the HEAD on a warm connection, or, where there was no
    /// tag to ask for, the first request with its connection. `None` when nothing answered.
    pub round_trip: Option<Duration>,
    /// How the registry wants to be asked; `None` when it asked for nothing.
    pub challenge: Option<Challenge>,
    /// The token that was got; `None` when none was.
    pub token: Option<TokenLife>,
    /// The first page of tags.
    pub tags: Sighting<FirstPage>,
    /// The tag that was asked for by HEAD, and what came of it; `None` when there was none to ask for.
    pub manifest: Option<(Tag, Sighting<Head>)>,
    /// Headers about the registry's rate limit by lower-case name, at most 80 characters each.
    pub rate_limit: BTreeMap<String, String>,
    /// The last answer's `Date` and when it had come, by our clock; `None` when none had one.
    pub date: Option<(Timestamp, Timestamp)>,
}

/// The first page of a tag list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstPage {
    /// Tags on it.
    pub tags: usize,
    /// Tags per page that the registry was asked for and did not refuse; `None` when it takes no page size.
    pub page_size: Option<u32>,
    /// A `Link` header names a next page.
    pub has_link: bool,
    /// A tag on it.
    any: Option<Tag>,
}

/// The answer to a HEAD of a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// `Docker-Content-Digest`; `None` when the answer has none: each look at a tag then costs a GET.
    pub digest: Option<Digest>,
}

/// Asks the registry of `place` the questions of a look, one after the other: `/v2/` as nobody, the first page of
/// tags, and a tag by HEAD (`tag`, else one of the page).
pub(crate) async fn probe(shared: &Shared, place: &Place<'_>, tag: Option<&Tag>) -> Probe {
    let session = Session { shared, place };
    let mut probe = Probe::nothing(place.base.to_string());
    let base = session.base(&mut probe).await;
    probe.tags = match &base {
        // Nothing answers at all, or it wants to be left alone: asking again would say the same.
        Err(doubt) if probe.http_version.is_none() || doubt.kind == DoubtKind::Throttled => {
            Sighting::Unknown(doubt.clone())
        }
        _ => sighting(session.first(&mut probe).await),
    };
    if let (Err(doubt), Sighting::Missing) = (&base, &probe.tags) {
        // What is no registry cannot say that something is missing.
        probe.tags = Sighting::Unknown(doubt.clone());
    }
    let throttled = matches!(&base, Err(doubt) if doubt.kind == DoubtKind::Throttled);
    let may_ask = probe.http_version.is_some() && !throttled;
    let listed = probe.tags.present().and_then(|page| page.any.clone());
    if let Some(tag) = tag.cloned().or(listed).filter(|_| may_ask) {
        let head = match (&base, session.head_of(&tag, &mut probe).await) {
            (Err(doubt), Err(Absence::Missing)) => Sighting::Unknown(doubt.clone()),
            (_, head) => sighting(head),
        };
        probe.manifest = Some((tag, head));
    }
    probe.challenge = shared.auth.known_at(place).or(probe.challenge);
    probe.token = shared.auth.token_life(place);
    probe
}

// === impl Session ===

impl Session<'_> {
    /// `GET /v2/` without credential: 200 or 401 at every registry (distribution specification, end-1).
    async fn base(&self, probe: &mut Probe) -> Result<(), Doubt> {
        let subject = format!("/v2/ of {}", self.place.host());
        let mut ask = self.request(Verb::Get, RequestKind::Tags, "list");
        ask.url = self.place.base.clone();
        ask.url.set_path("/v2/");
        let started = Instant::now();
        let reply = self.shared.transport.send(ask).await;
        let reply = reply.map_err(|failure| failure.doubt(self.place.host(), &subject))?;
        probe.note(&reply, started.elapsed(), self.shared.clock.now());
        let challenges = reply.headers.get_all(header::WWW_AUTHENTICATE).iter();
        probe.challenge = challenge::strongest(challenges.filter_map(|value| value.to_str().ok()));
        let content_type = reply.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let is_page = content_type.is_some_and(|kind| kind.trim_start().starts_with("text/html"));
        let status = reply.status;
        match status {
            StatusCode::OK if !is_page => Ok(()),
            StatusCode::UNAUTHORIZED if probe.challenge.is_some() => Ok(()),
            _ => match self
                .judge(&Answer { reply, standing: Standing::Open, remark: String::new() }, &subject)
            {
                Absence::Unknown(doubt) if !is_page && doubt.kind != DoubtKind::Auth => Err(doubt),
                _ => Err(self.no_registry(status, is_page)),
            },
        }
    }

    fn no_registry(&self, status: StatusCode, is_page: bool) -> Doubt {
        let what = if is_page { " with a web page" } else { "" };
        Doubt::new(
            DoubtKind::Protocol,
            format!(
                "{} answered {}{what} to /v2/, where a registry answers 200 or 401 with a challenge; check that \
                 its name and port are those of a registry",
                self.place.host(),
                status.as_u16()
            ),
        )
    }

    async fn first(&self, probe: &mut Probe) -> Result<FirstPage, Absence> {
        let subject = format!("the tag list of {}", self.place.name());
        let First { list, size, has_link, headers } = self.first_of_list(&subject).await?;
        probe.take_limits(&headers);
        let any = list.iter().find_map(|tag| tag.parse().ok());
        Ok(FirstPage { tags: list.len(), page_size: size, has_link, any })
    }

    async fn head_of(&self, tag: &Tag, probe: &mut Probe) -> Result<Head, Absence> {
        let subject = self.place.tag_name(tag);
        let ask = self.request(Verb::Head, RequestKind::Manifest, tag.as_str());
        let started = Instant::now();
        let answer = self.ask(ask, &subject).await?;
        probe.note(&answer.reply, started.elapsed(), self.shared.clock.now());
        match answer.reply.status {
            StatusCode::OK => {
                let named = answer.reply.headers.get("docker-content-digest");
                let digest = named.and_then(|value| value.to_str().ok()?.parse().ok());
                Ok(Head { digest })
            }
            // A look sends a GET then; that HEAD is refused says nothing about the tag.
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => Ok(Head { digest: None }),
            _ => Err(self.judge(&answer, &subject)),
        }
    }
}

// === impl Probe ===

impl Probe {
    /// Before anything was asked.
    fn nothing(address: String) -> Self {
        Self {
            address,
            http_version: None,
            round_trip: None,
            challenge: None,
            token: None,
            tags: Sighting::Missing,
            manifest: None,
            rate_limit: BTreeMap::new(),
            date: None,
        }
    }

    /// Where no request can be sent.
    pub(crate) fn refused(doubt: Doubt) -> Self {
        Self { tags: Sighting::Unknown(doubt), ..Self::nothing(String::new()) }
    }

    /// The first answer that is not Present, the tag's before the list's.
    pub fn obstacle(&self) -> Sighting<()> {
        let manifest = self.manifest.as_ref().map(|(_, head)| head.clone().map(|_| ()));
        manifest.filter(|head| !head.is_present()).unwrap_or_else(|| self.tags.clone().map(|_| ()))
    }

    fn note(&mut self, reply: &Reply, took: Duration, now: Timestamp) {
        let date = reply.headers.get(header::DATE).and_then(|value| value.to_str().ok());
        let date = date.and_then(|text| DateTimeParser::new().parse_timestamp(text).ok());
        self.date = date.map(|date| (date, now)).or(self.date);
        self.http_version = Some(format!("{:?}", reply.version));
        self.round_trip = Some(took);
        self.take_limits(&reply.headers);
    }

    fn take_limits(&mut self, headers: &HeaderMap) {
        for (name, value) in headers {
            let name = name.as_str();
            let is_limit = name.starts_with("ratelimit-") || name.starts_with("x-ratelimit-");
            if !is_limit || (self.rate_limit.len() >= LIMITS_MAX && !self.rate_limit.contains_key(name)) {
                continue;
            }
            let Ok(text) = value.to_str() else { continue };
            let shown: String =
                text.chars().filter(|c| !c.is_control()).take(HEADER_SHOWN_MAX_CHARS).collect();
            self.rate_limit.insert(name.to_owned(), shown);
        }
    }
}
