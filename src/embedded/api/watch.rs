//! WATCH: changes after a revision as JSON lines, in order, until the client's time is up.

use std::{borrow::Cow, collections::VecDeque, io, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{Stream, stream};
use serde_json::{Value, json};
use tokio::{sync::watch::Receiver, time::Sleep};

use super::{
    Shared, State, as_metadata,
    refusal::Refusal,
    resources::Resource,
    selector::Selector,
    store::{Change, ChangeKind},
};

/// A watch without `timeoutSeconds` ends after this, the lower bound of the API server's own choice.
const TIMEOUT_DEFAULT: Duration = Duration::from_mins(30);
/// How often a bookmark is sent to who allows it, as often as the API server's watch cache does.
const BOOKMARK_EVERY: Duration = Duration::from_mins(1);

/// What a watch asks for.
pub(super) struct WatchRequest {
    pub(super) resource: Arc<Resource>,
    pub(super) namespace: Option<String>,
    pub(super) selector: Selector,
    /// Changes after this revision; `None`: everything there is as `ADDED`, then changes.
    pub(super) after: Option<u64>,
    pub(super) bookmarks: bool,
    pub(super) timeout: Option<Duration>,
    pub(super) metadata_only: bool,
}

struct Watching {
    shared: Arc<Shared>,
    request: WatchRequest,
    wake: Receiver<u64>,
    /// As it was when this watch was opened.
    epoch: u64,
    /// Everything up to this revision was sent.
    sent: u64,
    lines: VecDeque<Bytes>,
    ends: Pin<Box<Sleep>>,
    bookmark: Pin<Box<Sleep>>,
    over: bool,
}

/// The stream of one watch. What was committed when this is called is part of its start, also if it is polled later.
pub(super) fn watch(
    shared: &Arc<Shared>,
    state: &State,
    request: WatchRequest,
) -> impl Stream<Item = Result<Bytes, io::Error>> + Send + use<> {
    let mut wake = shared.wake.subscribe();
    let epoch = *wake.borrow_and_update();
    let sent = request.after.unwrap_or_else(|| state.store.revision());
    let mut watching = Watching {
        shared: Arc::clone(shared),
        wake,
        epoch,
        sent,
        lines: VecDeque::new(),
        ends: Box::pin(tokio::time::sleep(request.timeout.unwrap_or(TIMEOUT_DEFAULT))),
        bookmark: Box::pin(tokio::time::sleep(BOOKMARK_EVERY)),
        over: false,
        request,
    };
    if watching.request.after.is_none() {
        watching.send_present(state);
    }
    stream::unfold(watching, |mut watching| async move {
        let line = watching.next_line().await?;
        Some((Ok(line), watching))
    })
}

// === impl Watching ===

impl Watching {
    async fn next_line(&mut self) -> Option<Bytes> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Some(line);
            }
            if self.over || *self.wake.borrow_and_update() != self.epoch {
                return None;
            }
            self.collect();
            if !self.lines.is_empty() || self.over {
                continue;
            }
            tokio::select! {
                biased;
                changed = self.wake.changed() => self.over = changed.is_err(),
                () = &mut self.bookmark => {
                    self.bookmark = Box::pin(tokio::time::sleep(BOOKMARK_EVERY));
                    self.send_bookmark();
                }
                () = &mut self.ends => {
                    self.send_bookmark();
                    self.over = true;
                }
            }
        }
    }

    /// Takes every change that was not sent yet.
    fn collect(&mut self) {
        let shared = Arc::clone(&self.shared);
        let state = shared.state();
        let Some(changes) = state.store.changes_after(self.sent) else {
            let status = Refusal::expired(self.sent, state.store.compacted()).status();
            self.lines.push_back(line("ERROR", &status));
            self.over = true;
            return;
        };
        for change in changes {
            if let Some((kind, object)) = self.seen_as(change) {
                self.lines.push_back(self.line(kind, &object));
            }
        }
        self.sent = state.store.revision();
    }

    /// How a change looks through the selector: what leaves it was deleted, what enters it was added.
    fn seen_as<'a>(&self, change: &'a Change) -> Option<(&'static str, Cow<'a, Value>)> {
        let WatchRequest { resource, namespace, selector, .. } = &self.request;
        let key = &change.key;
        let here = key.group == resource.group
            && key.plural == resource.plural
            && namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace);
        if !here {
            return None;
        }
        let before = change.previous.as_ref().is_some_and(|previous| selector.matches(previous));
        let after = change.kind != ChangeKind::Deleted && selector.matches(&change.object);
        let kind = match (before, after) {
            (false, false) => return None,
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
        };
        // What leaves is told as it was when it was last seen, at the revision of its leaving.
        let last_seen = change.previous.as_ref().filter(|_| kind == "DELETED").map(|previous| {
            let mut last = Value::clone(previous);
            last["metadata"]["resourceVersion"] = change.revision.to_string().into();
            Cow::Owned(last)
        });
        Some((kind, last_seen.unwrap_or(Cow::Borrowed(&*change.object))))
    }

    fn send_present(&mut self, state: &State) {
        let WatchRequest { resource, namespace, .. } = &self.request;
        let present = state.store.list(&resource.group, &resource.plural, namespace.as_deref());
        for object in present.iter().filter(|object| self.request.selector.matches(object)) {
            self.lines.push_back(self.line("ADDED", object));
        }
    }

    fn send_bookmark(&mut self) {
        if self.request.bookmarks {
            let resource = &self.request.resource;
            let mark = json!({"kind": resource.kind, "apiVersion": resource.api_version(),
                "metadata": {"resourceVersion": self.sent.to_string()}});
            self.lines.push_back(self.line("BOOKMARK", &mark));
        }
    }

    fn line(&self, kind: &str, object: &Value) -> Bytes {
        if self.request.metadata_only { line(kind, &as_metadata(object)) } else { line(kind, object) }
    }
}

fn line(kind: &str, object: &Value) -> Bytes {
    let mut text = json!({"type": kind, "object": object}).to_string();
    text.push('\n');
    text.into()
}
