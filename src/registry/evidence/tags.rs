//! The tag list of a repository, page by page. Discovery only: what a list leaves out is not missing.
//!
//! A list that could be read in part is Present with what was read, and says why there may be more: candidates are
//! found in it all the same, and a partial list removes nothing (design §4 Look). That is better than no list at
//! all, which would hold up every release of a repository with one tag too many.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use url::Url;

use crate::model::sighting::DoubtKind;
use crate::model::{Defect, Doubt, Sighting, TagList};
use crate::registry::evidence::paging::{Next, Paging, TAGS_MAX};
use crate::registry::verdict::{self, Absence, sighting};
use crate::registry::wire::session::{Answer, Session};
use crate::registry::wire::transport::{RequestKind, Verb};

/// Tags asked for per page; registries cap it at 100 (ghcr.io) to 1,000 (ECR).
const PAGE_SIZE: u32 = 1_000;
/// Tags asked for where that is refused (Quay).
const PAGE_SIZE_SMALL: u32 = 100;
/// Pages read: 50,000 tags at 100 a page, twice. Each page must bring something new.
const PAGES_MAX: usize = 1_000;
/// Bytes read of all pages: 50,000 tags of 128 bytes, five times over for registries that add details (GAR).
const TOTAL_MAX_BYTES: usize = 32 * 1024 * 1024;
/// Time for all pages: 500 pages, which is 50,000 tags of ghcr.io, at a quarter of a second each.
const LIST_LIMIT: Duration = Duration::from_mins(2);

/// All tags that the registry lists, without what could be no tag, in the order of their first appearance.
pub(crate) async fn tags(session: Session<'_>) -> Sighting<TagList> {
    sighting(session.tags().await)
}

/// A page, and where it was found.
struct Here {
    answer: Answer,
    url: Url,
    /// How many tags were asked for.
    size: Option<u32>,
}

/// The first page of a list, for who asks how a registry pages.
pub(crate) struct First {
    /// Its tags.
    pub(crate) list: TagList,
    /// How many tags were asked for; `None` when the registry takes no number.
    pub(crate) size: Option<u32>,
    /// The registry says where the next page is.
    pub(crate) has_link: bool,
    /// Of the answer.
    pub(crate) headers: HeaderMap,
}

// === impl Session ===

impl Session<'_> {
    /// The first page alone.
    pub(crate) async fn first_of_list(&self, subject: &str) -> Result<First, Absence> {
        let mut paging = Paging::default();
        let here = self.first_page(subject).await?;
        let next = self.take(&mut paging, &here, subject)?;
        let has_link = matches!(next, Next::Link(_));
        Ok(First { list: paging.finish(), size: here.size, has_link, headers: here.answer.reply.headers })
    }

    async fn tags(&self) -> Result<TagList, Absence> {
        let subject = format!("the tag list of {}", self.place.name());
        let started = tokio::time::Instant::now();
        let mut paging = Paging::default();
        let mut here = self.first_page(&subject).await?;
        let mut next = self.take(&mut paging, &here, &subject)?;
        let mut bytes_left = TOTAL_MAX_BYTES;
        for page in 1.. {
            let beyond = match &next {
                Next::End => return Ok(paging.finish()),
                Next::Full => Some(format!("more than {TAGS_MAX} tags")),
                _ if page == PAGES_MAX => Some(format!("more than {PAGES_MAX} pages")),
                _ if started.elapsed() > LIST_LIMIT => {
                    Some(format!("more than {} s of pages", LIST_LIMIT.as_secs()))
                }
                _ => None,
            };
            if let Some(what) = beyond {
                return Ok(cut(paging, &subject, too_much(&subject, &what)));
            }
            bytes_left = bytes_left.saturating_sub(here.answer.reply.body.len());
            match self.next_page(&mut paging, here, next, bytes_left, &subject).await {
                Ok(Some(found)) => (here, next) = found,
                Ok(None) => break,
                Err(absence) => return Ok(cut(paging, &subject, absence)),
            }
        }
        Ok(paging.finish())
    }

    /// The page after `here`; `None` when there is none after all.
    async fn next_page(
        &self,
        paging: &mut Paging,
        here: Here,
        next: Next,
        bytes_max: usize,
        subject: &str,
    ) -> Result<Option<(Here, Next)>, Absence> {
        let (url, named) = match next {
            Next::Link(link) => (self.follow(&here.url, &link, subject)?, true),
            Next::After(last) => (self.list_url(here.size, Some(&last)), false),
            Next::End | Next::Full => return Ok(None),
        };
        let size = here.size;
        drop(here);
        let answer = self.page(url.clone(), bytes_max, subject).await?;
        // Nobody said that there is such a page, and there is none.
        if !named && answer.reply.status.is_client_error() && !is_refusal(answer.reply.status) {
            return Ok(None);
        }
        let here = Here { answer, url, size };
        let next = self.take(paging, &here, subject)?;
        Ok(Some((here, next)))
    }

    /// The first page, with the largest page size that the host accepts.
    async fn first_page(&self, subject: &str) -> Result<Here, Absence> {
        let habits = &self.shared.habits;
        let mut size = habits.page(self.place, PAGE_SIZE);
        loop {
            let url = self.list_url(size, None);
            let answer = self.page(url.clone(), TOTAL_MAX_BYTES, subject).await?;
            size = match size {
                Some(asked) if too_many(&answer) => (asked > PAGE_SIZE_SMALL).then_some(PAGE_SIZE_SMALL),
                _ => return Ok(Here { answer, url, size }),
            };
            habits.learn_page(self.place, size);
        }
    }

    fn list_url(&self, size: Option<u32>, last: Option<&str>) -> Url {
        let mut url = self.place.url("tags", "list");
        if let Some(size) = size {
            url.query_pairs_mut().append_pair("n", &size.to_string());
        }
        if let Some(last) = last {
            url.query_pairs_mut().append_pair("last", last);
        }
        url
    }

    async fn page(&self, url: Url, bytes_max: usize, subject: &str) -> Result<Answer, Absence> {
        let mut ask = self.request(Verb::Get, RequestKind::Tags, "list");
        ask.url = url;
        ask.body_max_bytes = bytes_max;
        Ok(self.ask(ask, subject).await?)
    }

    /// Takes a page in.
    fn take(&self, paging: &mut Paging, here: &Here, subject: &str) -> Result<Next, Absence> {
        let Here { answer, size, .. } = here;
        if answer.reply.status != StatusCode::OK {
            return Err(self.judge(answer, subject));
        }
        let links = answer.reply.headers.get_all(header::LINK).iter();
        let links: Vec<&str> = links.filter_map(|value| value.to_str().ok()).collect();
        paging.take(&answer.reply.body, *size, &links.join(", ")).map_err(|error| {
            Absence::unknown(
                DoubtKind::Protocol,
                format!(
                    "{subject} is not the JSON it should be (line {}, column {}); check that a registry answers there",
                    error.line(),
                    error.column()
                ),
            )
        })
    }

    /// The next page's address. Of what the registry says only path and query are taken: the request goes where
    /// the first one went, and the credential with it. Registries behind a proxy may leave out their port or name
    /// their inner scheme (Nexus); a link to another host is not followed.
    fn follow(&self, here: &Url, link: &str, subject: &str) -> Result<Url, Absence> {
        let base = &self.place.base;
        let named = here
            .join(link)
            .ok()
            .filter(|named| ["http", "https"].contains(&named.scheme()) && named.host() == base.host());
        let Some(named) = named else {
            return Err(Absence::unknown(
                DoubtKind::Protocol,
                format!(
                    "the next page of {subject} is not on {}, so it is not followed and tags may be unseen; check the registry's external address",
                    self.place.host()
                ),
            ));
        };
        let mut next = base.clone();
        next.set_path(named.path());
        next.set_query(named.query());
        Ok(next)
    }
}

/// The list as far as it was read, with why it is not whole.
fn cut(paging: Paging, subject: &str, absence: Absence) -> TagList {
    let doubt = match absence {
        Absence::Unknown(doubt) => doubt,
        Absence::Broken(Defect { message, .. }) => Doubt::new(DoubtKind::Protocol, message),
        Absence::Missing => Doubt::new(
            DoubtKind::Transient,
            format!(
                "the registry named a next page of {subject} and then did not know it; it is asked again at the next look"
            ),
        ),
    };
    let mut list = paging.finish();
    list.incomplete = Some(doubt);
    list
}

/// Refused for now, or to us: nothing is said of what was asked for.
fn is_refusal(status: StatusCode) -> bool {
    matches!(status.as_u16(), 401 | 403 | 408 | 429 | 499)
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

fn too_much(subject: &str, what: &str) -> Absence {
    Absence::unknown(
        DoubtKind::Corrupt,
        format!("{subject} has {what}, and the rest is not read; delete tags that are no longer used"),
    )
}
