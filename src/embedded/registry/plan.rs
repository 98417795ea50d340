//! The fault plan: which requests meet trouble, when, and which. Plain data, so that a test reads as a sentence.
//!
//! Every rule that fits a request counts it; of those that are due the first acts. What acting means is in
//! [`super::perform`]; whole registries' habits are in [`super::habit`].

use std::time::Duration;

use axum::http::StatusCode;
use bytes::Bytes;
use serde_json::json;

use super::{Fault, RequestInfo, on::On, store::Store};

/// A fault: what happens to which requests, until the plan is cleared.
#[derive(Clone, Debug)]
pub struct Rule {
    on: On,
    when: When,
    steps: Vec<Step>,
    /// Requests that fitted so far.
    met: u64,
}

/// Which of the requests that fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// All of them.
    Always,
    /// The first so many.
    First(u64),
    /// That one alone, counted from 1.
    Nth(u64),
    /// All but the first so many.
    After(u64),
    /// Every so manieth: 2 is the second, the fourth and so on. Never for 0.
    Every(u64),
}

/// A whole answer made up by a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Status of the answer.
    pub status: StatusCode,
    /// Headers as name and value; one that HTTP does not allow is left out.
    pub headers: Vec<(String, String)>,
    /// Body as sent.
    pub body: Bytes,
}

/// A change of the registry's contents, made before the request is handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Points a tag at a manifest that is stored; nothing happens when it is not.
    Tag {
        /// Repository of both.
        repository: String,
        /// Tag that moves.
        tag: String,
        /// Where it points then.
        digest: String,
    },
    /// Removes a tag; its manifest stays.
    DeleteTag {
        /// Repository of the tag.
        repository: String,
        /// Tag that goes.
        tag: String,
    },
    /// Removes a manifest and the tags that point to it; indexes that name it stay.
    DeleteManifest {
        /// Repository of the manifest.
        repository: String,
        /// Manifest that goes.
        digest: String,
    },
}

/// What a rule does. Steps before the answer, the answer, and steps that change it may stand in any order: they
/// are taken in that one.
#[derive(Clone, Debug)]
pub enum Step {
    /// Before: wait in tokio's time.
    Delay(Duration),
    /// Before: cut the connection without an answer; nothing is read or written.
    Cut,
    /// Before: change what is stored.
    Change(Change),
    /// The answer, instead of handling the request.
    Answer(Reply),
    /// After: this answer instead, when the request was answered with `status`.
    Replace {
        /// Status that is replaced.
        status: StatusCode,
        /// What is sent in its place.
        with: Reply,
    },
    /// After: a header with this value alone.
    SetHeader(&'static str, String),
    /// After: without this header.
    RemoveHeader(&'static str),
    /// After: another body, headers as they are but for the length.
    Body(Bytes),
    /// After: the body in pieces of so many bytes with a pause before each (slow-loris).
    Trickle {
        /// Bytes of one piece; 0 counts as 1.
        piece_bytes: usize,
        /// Wait before each.
        pause: Duration,
    },
    /// After: the length of the whole is announced, so many bytes are sent, then the connection closes.
    Truncate(usize),
    /// After: no length is announced.
    Chunked,
    /// Counts GET of manifests against a limit, shows both in `ratelimit-*` as Docker Hub does, and answers 429
    /// beyond. HEAD is shown them and not counted.
    RateLimit {
        /// GETs allowed.
        limit: u64,
        /// Seconds of the window, told and never ended.
        window_secs: u64,
    },
    /// After: a tag list also says what each tag points to, as GAR's does.
    DescribeTags,
    /// After: `Link` is absolute and lacks the port, as behind some proxies of Nexus.
    LinkWithoutPort,
    /// The answer: a page of made-up tags, other ones each time, with a `Link` to the next.
    EndlessTags(u64),
}

/// All rules, in the order in which they were added.
#[derive(Debug, Default)]
pub(super) struct Plan(Vec<Rule>);

/// What a rule decided about one request.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    pub(super) steps: Vec<Step>,
    /// The request's number among those that fitted, from 1.
    pub(super) number: u64,
}

// === impl Rule ===

impl Rule {
    /// Nothing happens yet to all requests that fit.
    pub fn new(on: On) -> Self {
        Self { on, when: When::Always, steps: Vec::new(), met: 0 }
    }

    /// Only to some of them.
    #[must_use]
    pub fn when(mut self, when: When) -> Self {
        self.when = when;
        self
    }

    /// Adds a step.
    #[must_use]
    pub fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Answers with `reply` instead of handling the request.
    #[must_use]
    pub fn answer(self, reply: Reply) -> Self {
        self.step(Step::Answer(reply))
    }
}

// === impl When ===

impl When {
    fn is_due(self, number: u64) -> bool {
        match self {
            Self::Always => true,
            Self::First(count) => number <= count,
            Self::Nth(nth) => number == nth,
            Self::After(count) => number > count,
            Self::Every(step) => step > 0 && number.is_multiple_of(step),
        }
    }
}

// === impl Chosen ===

impl Chosen {
    /// A fault of the hook as steps.
    pub(super) fn of(fault: Fault) -> Self {
        let step = match fault {
            Fault::Respond { status, headers, body } => Step::Answer(Reply { status, headers, body }),
            Fault::Delay(wait) => Step::Delay(wait),
            Fault::Drop => Step::Cut,
        };
        Self { steps: vec![step], number: 1 }
    }
}

// === impl Reply ===

impl Reply {
    /// Nothing but a status.
    pub fn status(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new() }
    }

    /// An error envelope of the specification with one code.
    pub fn error(status: StatusCode, code: &str, message: &str) -> Self {
        let body = json!({"errors": [{"code": code, "message": message}]}).to_string();
        Self::status(status).header("content-type", "application/json").body(body)
    }

    /// A web page.
    pub fn html(status: StatusCode, body: &str) -> Self {
        Self::status(status).header("content-type", "text/html; charset=utf-8").body(body.to_owned())
    }

    /// JSON, whatever it is.
    pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self::status(status).header("content-type", "application/json").body(body)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// With this body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }
}

// === impl Plan ===

impl Plan {
    pub(super) fn add(&mut self, rule: Rule) {
        self.0.push(rule);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Counts the request in every rule that fits it; the steps of the first that is due.
    pub(super) fn choose(&mut self, info: &RequestInfo, store: &Store) -> Chosen {
        let mut chosen = None;
        for rule in self.0.iter_mut().filter(|rule| rule.on.fits(info, store)) {
            rule.met += 1;
            if chosen.is_none() && rule.when.is_due(rule.met) {
                chosen = Some(Chosen { steps: rule.steps.clone(), number: rule.met });
            }
        }
        chosen.unwrap_or_default()
    }
}
