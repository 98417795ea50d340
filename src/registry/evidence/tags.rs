//! The tag list of a repository, page by page. Discovery only: what a list leaves out is not missing.

use std::collections::HashSet;

use http::{StatusCode, header};
use serde::Deserialize;
use url::Url;

use crate::model::sighting::DoubtKind;
use crate::model::{Sighting, Tag};
use crate::registry::evidence::link::next_link;
use crate::registry::verdict::{self, Absence, sighting};
use crate::registry::wire::guard;
use crate::registry::wire::session::{Answer, Session};
use crate::registry::wire::transport::{RequestKind, Verb};

/// Tags asked for per page; registries cap it at 100 (ghcr.io) to 1,000 (ECR).
pub(crate) const PAGE_SIZE: u32 = 1_000;
/// Tags asked for where that is refused (Quay).
const PAGE_SIZE_SMALL: u32 = 100;
/// Pages read: 50,000 tags at 100 a page, twice. Each page must bring something new.
const PAGES_MAX: usize = 1_000;
/// Tags read: five times the largest list reported in the field (9,036 tags).
const TAGS_MAX: usize = 50_000;
/// Bytes read of all pages: 50,000 tags of 128 bytes, five times over for registries that add details (GAR).
const TOTAL_MAX_BYTES: usize = 32 * 1024 * 1024;

#[derive(Deserialize)]
struct Page {
    tags: Option<Vec<String>>,
}

/// All tags that the registry lists, without what could be no tag, in the order of their first appearance.
pub(crate) async fn tags(session: Session<'_>) -> Sighting<Vec<String>> {
    sighting(session.tags().await)
}

// === impl Session ===

impl Session<'_> {
    async fn tags(&self) -> Result<Vec<String>, Absence> {
        let subject = format!("the tag list of {}", self.place.name());
        let (mut known, mut tags) = (HashSet::new(), Vec::new());
        let mut bytes_left = TOTAL_MAX_BYTES;
        let (mut answer, mut here) = self.first_page(&subject).await?;
        for _ in 0..PAGES_MAX {
            if answer.reply.status != StatusCode::OK {
                return Err(self.judge(&answer, &subject));
            }
            let before = tags.len();
            for tag in page_tags(&answer, &subject)? {
                if tag.parse::<Tag>().is_ok() && known.insert(tag.clone()) {
                    tags.push(tag);
                }
            }
            if tags.len() > TAGS_MAX {
                return Err(too_much(&subject, &format!("more than {TAGS_MAX} tags")));
            }
            // A page that adds nothing ends the list: there are registries that begin again at the end.
            let Some(link) = next_page(&answer).filter(|_| tags.len() > before) else { return Ok(tags) };
            here = self.follow(&here, link, &subject)?;
            bytes_left = bytes_left.saturating_sub(answer.reply.body.len());
            answer = self.page(here.clone(), bytes_left, &subject).await?;
        }
        Err(too_much(&subject, &format!("more than {PAGES_MAX} pages")))
    }

    /// The first page, with the largest page size that the host accepts.
    pub(crate) async fn first_page(&self, subject: &str) -> Result<(Answer, Url), Absence> {
        let habits = &self.shared.habits;
        let mut size = habits.page(self.place, PAGE_SIZE);
        loop {
            let mut url = self.place.url("tags", "list");
            if let Some(size) = size {
                url.query_pairs_mut().append_pair("n", &size.to_string());
            }
            let answer = self.page(url.clone(), TOTAL_MAX_BYTES, subject).await?;
            size = match size {
                Some(asked) if too_many(&answer) => (asked > PAGE_SIZE_SMALL).then_some(PAGE_SIZE_SMALL),
                _ => return Ok((answer, url)),
            };
            habits.learn_page(self.place, size);
        }
    }

    async fn page(&self, url: Url, bytes_max: usize, subject: &str) -> Result<Answer, Absence> {
        let mut ask = self.request(Verb::Get, RequestKind::Tags, "list");
        ask.url = url;
        ask.body_max_bytes = bytes_max;
        Ok(self.ask(ask, subject).await?)
    }

    /// The next page's address: on the same scheme, host and port, since the credential goes with it.
    fn follow(&self, here: &Url, link: &str, subject: &str) -> Result<Url, Absence> {
        let next = here.join(link).ok().filter(|next| guard::same_origin(next, &self.place.base));
        next.ok_or_else(|| {
            Absence::unknown(
                DoubtKind::Protocol,
                format!("the next page of {subject} is not on {}, so it is not followed; check the registry's external address (a proxy in front of it may drop the port)", self.place.host()),
            )
        })
    }
}

pub(crate) fn page_tags(answer: &Answer, subject: &str) -> Result<Vec<String>, Absence> {
    let page: Page = serde_json::from_slice(&answer.reply.body).map_err(|error| {
        Absence::unknown(
            DoubtKind::Protocol,
            format!("{subject} is not the JSON it should be (line {}, column {}); check that a registry answers there", error.line(), error.column()),
        )
    })?;
    // An empty repository may be listed as `null`.
    Ok(page.tags.unwrap_or_default())
}

/// The host refuses the page size: 413 (Quay), or another 4xx whose code says so.
fn too_many(answer: &Answer) -> bool {
    let status = answer.reply.status;
    let says_so = || {
        let codes = verdict::error_codes(&answer.reply.body);
        codes.iter().any(|code| code.contains("TOO_MANY_TAGS") || code == "PAGINATION_NUMBER_INVALID")
    };
    status == StatusCode::PAYLOAD_TOO_LARGE || (status.is_client_error() && says_so())
}

/// Where the next page is, if one is named.
pub(crate) fn next_page(answer: &Answer) -> Option<&str> {
    let values = answer.reply.headers.get_all(header::LINK).iter();
    values.filter_map(|value| value.to_str().ok()).find_map(next_link)
}

fn too_much(subject: &str, what: &str) -> Absence {
    Absence::unknown(
        DoubtKind::Corrupt,
        format!("{subject} has {what}, which is not read; delete tags that are no longer used"),
    )
}
