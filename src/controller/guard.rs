//! When the guard list of a namespace is brought up to date: between commit and targets, whenever what a set says to it
//! changed, when somebody changed the ConfigMap, when a set is gone, and once in a while (`--guard`).
//!
//! A suspended set is followed too: the list moves nothing, and breaking the glass of a suspended set must work. While the
//! list cannot be written no target moves: admission would refuse what they name.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ApiResource, PartialObjectMeta};
use kube::runtime::watcher::Config as WatchConfig;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use tokio::sync::mpsc;

use crate::api::ReleaseSet;
use crate::controller::context::Context;
use crate::controller::events::{self, Happening};
use crate::controller::live::{self, Live};
use crate::guard::config_map::{BrokenGlass, GUARD_LABEL, GUARD_LABEL_VALUE};
use crate::guard::{Guard, GuardError, NAME, Synced, facts};
use crate::model::Reason;
use crate::telemetry::kube_call::bounded;

/// Pause before what could not be written is tried again: a Role is mended by hand, and targets wait for it.
pub const AGAIN: Duration = Duration::from_secs(10);
/// What was in step for so long is read again, should a watch have lost an event: the longest sleep of a set.
const RESYNC: SignedDuration = SignedDuration::from_mins(10);
/// Namespaces of deleted sets that wait to be looked at; one that finds no room is found by its ConfigMap's next resync.
pub const GONE_MAX: usize = 1024;

/// What this process knows of each namespace's list. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct GuardRoom {
    namespaces: Arc<Mutex<HashMap<String, Arc<tokio::sync::Mutex<Known>>>>>,
}

/// What is known of one list.
#[derive(Debug, Default)]
struct Known {
    /// When it was brought in step; `None` when it may not be.
    in_step_at: Option<Timestamp>,
    /// What each set said then, by its name.
    sets: HashMap<String, u64>,
    /// Of the ConfigMap.
    resource_version: Option<String>,
    /// The failure that an Event told of, so that it is told once.
    told: Option<String>,
}

/// What wakes a list.
enum Wake {
    /// The ConfigMap of a namespace, as a watch saw it.
    Map { namespace: String, resource_version: Option<String> },
    /// A set of the namespace is gone.
    Gone(String),
    /// This process leads from now on, or no more.
    Turn,
}

/// Brings the list of the set's namespace in step, where this set says something new to it. Answers why no target may move.
pub async fn follow(context: &Context, live: &Live) -> Option<String> {
    let room = context.guard.as_ref()?;
    let namespace = &live.name.namespace;
    let known = room.of(namespace);
    // One sync at a time: who waits here mostly finds that it was made for him too.
    let mut known = known.lock().await;
    let says = facts(live.object()).fingerprint();
    if known.holds(context.clock.now()) && known.sets.get(&live.name.name) == Some(&says) {
        return None;
    }
    let error = sync(context, namespace, &mut known).await.err()?.to_string();
    if known.told.as_ref() != Some(&error) {
        let message = format!(
            "the guard of namespace {namespace} is not up to date, and no target moves until it is: {error}"
        );
        let happening = Happening { reason: Reason::GuardNotWritten, warning: true, message };
        events::publish(context, live, vec![happening]).await;
        known.told = Some(error.clone());
    }
    Some(format!("is not written before {NAME} lists the release, or admission would refuse it: {error}"))
}

/// Keeps lists in step that no reconcile comes by: ConfigMaps that somebody changed, and namespaces whose sets are gone.
/// Ends never.
pub async fn run(context: Context, namespace: Option<String>, gone: mpsc::Receiver<String>) {
    let Some(room) = context.guard.clone() else { return std::future::pending().await };
    let mut wakes = stream::select_all([
        maps(&context, namespace.as_deref()),
        stream::unfold(gone, async |mut gone| Some((Wake::Gone(gone.recv().await?), gone))).boxed(),
        context.leadership.turns().map(|()| Wake::Turn).boxed(),
    ]);
    let (mut listed, mut failed) = (BTreeSet::new(), BTreeSet::new());
    loop {
        let due = match tokio::time::timeout(AGAIN, wakes.next()).await {
            Err(_) => std::mem::take(&mut failed),
            Ok(None) => return std::future::pending().await,
            Ok(Some(Wake::Gone(namespace))) => BTreeSet::from([namespace]),
            // The sets of each are reconciled anyhow; there may be none.
            Ok(Some(Wake::Turn)) => {
                room.forget_all();
                listed.clone()
            }
            Ok(Some(Wake::Map { namespace, resource_version })) => {
                listed.insert(namespace.clone());
                let known = room.of(&namespace);
                let is_ours = known.lock().await.resource_version == resource_version;
                if is_ours { BTreeSet::new() } else { BTreeSet::from([namespace]) }
            }
        };
        if !context.leadership.is_held() {
            continue;
        }
        for namespace in due {
            let known = room.of(&namespace);
            let mut known = known.lock().await;
            match sync(&context, &namespace, &mut known).await {
                // Mostly a namespace that is gone: what is never heard of again takes no room.
                Ok(()) if known.is_nothing() => {
                    listed.remove(&namespace);
                    room.forget(&namespace);
                }
                Ok(()) => {}
                Err(error) => {
                    tracing::warn!(namespace, "the guard is not up to date: {error}");
                    failed.insert(namespace);
                }
            }
        }
    }
}

fn maps(context: &Context, namespace: Option<&str>) -> BoxStream<'static, Wake> {
    let client = bounded(&context.client);
    let api: Api<PartialObjectMeta<ConfigMap>> = match namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let config = WatchConfig::default()
        .timeout(super::watch::WATCH_SECS)
        .labels(&format!("{GUARD_LABEL}={GUARD_LABEL_VALUE}"));
    let seen = watcher(api, config).backoff(super::watch::watch_pauses()).touched_objects();
    wakes_of(seen).boxed()
}

fn wakes_of(
    seen: impl Stream<Item = Result<PartialObjectMeta<ConfigMap>, watcher::Error>> + Send + 'static,
) -> impl Stream<Item = Wake> + Send + 'static {
    seen.filter_map(|map| async {
        let map = map.ok().filter(|map| map.name_any() == NAME)?;
        Some(Wake::Map { namespace: map.namespace()?, resource_version: map.resource_version() })
    })
}

/// One sync, with what it has to tell.
async fn sync(context: &Context, namespace: &str, known: &mut Known) -> Result<(), GuardError> {
    known.in_step_at = None;
    let guard = Guard::new(context.client.clone(), ApiResource::erase::<ReleaseSet>(&()));
    let synced = guard.sync(namespace).await;
    if !matches!(&synced, Ok(synced) if !synced.written) {
        context.metrics.count_write("guard", if synced.is_ok() { "ok" } else { "error" });
    }
    let synced = synced?;
    known.in_step_at = Some(context.clock.now());
    known.told = None;
    known.resource_version.clone_from(&synced.resource_version);
    known.sets = synced.sets.iter().map(|set| (set.name.clone(), set.fingerprint())).collect();
    tell(context, namespace, synced).await;
    Ok(())
}

/// Glass that was broken or mended is told on the set whose it is, and that references have no room on the first set.
async fn tell(context: &Context, namespace: &str, synced: Synced) {
    for BrokenGlass { name, reason, .. } in synced.opened {
        let message = format!(
            "the guard lets every tag of this set's repositories pass: {reason}; end it by removing spec.breakGlass"
        );
        tell_one(context, namespace, &name, Reason::BreakGlassOpened, message).await;
    }
    for BrokenGlass { name, reason, .. } in synced.closed {
        let message = format!("the guard holds again for this set's repositories; it was open for: {reason}");
        tell_one(context, namespace, &name, Reason::BreakGlassClosed, message).await;
    }
    if let (Some(dropped), Some(first)) = (synced.dropped, synced.sets.first()) {
        let message = format!(
            "{dropped} older references of this namespace have no room in {NAME} and are refused when a workload comes back to \
             them; lower spec.historyLimit, or spread the ReleaseSets over several namespaces"
        );
        tell_one(context, namespace, &first.name, Reason::GuardFull, message).await;
    }
}

async fn tell_one(context: &Context, namespace: &str, name: &str, reason: Reason, message: String) {
    let warning = reason != Reason::BreakGlassClosed;
    match live::read(context, namespace, name).await {
        Ok(Some(live)) => events::publish(context, &live, vec![Happening { reason, warning, message }]).await,
        Ok(None) | Err(_) => tracing::info!(namespace, name, %reason, "{message}"),
    }
}

// === impl GuardRoom ===

impl GuardRoom {
    fn of(&self, namespace: &str) -> Arc<tokio::sync::Mutex<Known>> {
        Arc::clone(self.namespaces().entry(namespace.to_owned()).or_default())
    }

    /// Forgets every list: each is read again.
    pub fn forget_all(&self) {
        self.namespaces().clear();
    }

    fn forget(&self, namespace: &str) {
        self.namespaces().remove(namespace);
    }

    fn namespaces(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<tokio::sync::Mutex<Known>>>> {
        // What a panic left behind is read again.
        self.namespaces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Known ===

impl Known {
    /// There is neither a set nor a list.
    fn is_nothing(&self) -> bool {
        self.sets.is_empty() && self.resource_version.is_none()
    }

    /// It was in step not long ago.
    fn holds(&self, now: Timestamp) -> bool {
        self.in_step_at.is_some_and(|then| now.duration_since(then).abs() < RESYNC)
    }
}
