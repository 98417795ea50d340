//! The list behind the admission guard: one ConfigMap in each namespace, `tidegate-guard`, that says which references of the
//! siblings' repositories were promoted.
//!
//! The admission policies of the chart compare workloads with it, so it is written between the commit and the targets. It is
//! made from all sets of the namespace, read live, never from a cache; it moves nothing, it only permits, and so it follows a
//! suspended set too. A set that cannot be parsed keeps what its status says. Never an upsert: a POST makes what is absent, a
//! PUT with uid and resourceVersion changes what was read. This room must never know how a release came to be promoted.

use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, PostParams};

use crate::guard::config_map::{BrokenGlass, Foreign, Plan, plan};
use crate::guard::list::{List, TooMany};
use crate::telemetry::kube_call::{CallError, call, call_optional};

pub mod config_map;
pub mod list;
mod sets;
#[cfg(test)]
mod tests;

pub use sets::{SetFacts, facts};

/// Name of the ConfigMap; the `paramRef.name` of the admission policies.
pub const NAME: &str = "tidegate-guard";
/// How often one namespace is read in one sync: 409 means that another controller (a shard, a leader that is leaving) or a
/// person wrote in between. Who loses three times is called again soon.
const ROUNDS: usize = 3;
/// Sets of one page: 500 at 64 kB of status are 32 MB, what one answer may weigh.
const PAGE_SETS: u32 = 500;
/// Most pages: 10,000 sets, the most that one controller is measured with (design §9, G4).
const PAGES_MAX: usize = 20;

/// Writes the list. Cheap to clone.
#[derive(Clone)]
pub struct Guard {
    client: Client,
    sets: ApiResource,
}

/// One sync that went well: what the ConfigMap holds now.
#[derive(Clone, Debug)]
pub struct Synced {
    /// The sets that it was made from.
    pub sets: Vec<SetFacts>,
    /// `metadata.resourceVersion` of the ConfigMap; `None` when there is none and none is needed.
    pub resource_version: Option<String>,
    /// It was written just now.
    pub written: bool,
    /// Sets whose glass was broken by this write: uid, name and reason, where the reason is new.
    pub opened: Vec<BrokenGlass>,
    /// Sets whose glass was mended by this write.
    pub closed: Vec<BrokenGlass>,
    /// References of history that found no room, when this write is the first that leaves some out.
    pub dropped: Option<usize>,
}

/// Why the list is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// The sets could not be listed.
    #[error("failed to list the ReleaseSets of the namespace: {0}")]
    List(#[source] CallError),
    /// More sets than one controller is made for.
    #[error("the namespace holds more than {} ReleaseSets: spread them over several namespaces", PAGES_MAX * PAGE_SETS as usize)]
    TooManySets,
    /// What is promoted now does not fit.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// A ConfigMap of that name is somebody else's.
    #[error(transparent)]
    Foreign(#[from] Foreign),
    /// It could not be read.
    #[error("ConfigMap {NAME} could not be read: {0}")]
    Read(#[source] CallError),
    /// It could not be written. After a time-out it is unknown whether it was.
    #[error("ConfigMap {NAME} could not be written: {0}")]
    Write(#[source] CallError),
    /// Others write it all the time.
    #[error("ConfigMap {NAME} changed between read and write, {ROUNDS} times; it is read again soon")]
    Raced,
}

// === impl Guard ===

impl Guard {
    /// A guard through `client`, which should not try again by itself; `sets` is the kind of the release sets.
    pub fn new(client: Client, sets: ApiResource) -> Self {
        Self { client, sets }
    }

    /// Brings the ConfigMap of `namespace` to what its sets say. Writes nothing where it says so already, and makes none
    /// before there is something to say.
    ///
    /// # Errors
    /// [`GuardError`]; the ConfigMap is then as it was, unless an answer was lost.
    pub async fn sync(&self, namespace: &str) -> Result<Synced, GuardError> {
        let maps: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), namespace, &config_map::resource());
        for _ in 0..ROUNDS {
            // First: of two writers the one that read the ConfigMap later knows no less of the sets.
            let read = call_optional(maps.get(NAME)).await.map_err(GuardError::Read)?;
            let sets = self.sets_of(namespace).await?;
            let list = List::of(&sets)?;
            let (written, change) = match plan(namespace, read.as_ref(), &sets, &list)? {
                Plan::Absent => return Ok(Synced::unchanged(sets, None)),
                Plan::InStep => {
                    let version = read.and_then(|map| map.metadata.resource_version);
                    return Ok(Synced::unchanged(sets, version));
                }
                Plan::Create(object, change) => {
                    (call(maps.create(&PostParams::default(), &object)).await, change)
                }
                Plan::Update(object, change) => {
                    (call(maps.replace(NAME, &PostParams::default(), &object)).await, change)
                }
            };
            match written {
                Ok(map) => {
                    let (opened, closed, dropped) = (change.opened, change.closed, change.dropped);
                    let resource_version = map.metadata.resource_version;
                    return Ok(Synced { sets, resource_version, written: true, opened, closed, dropped });
                }
                // Made, changed or deleted by somebody else since it was read. A POST misses nothing but its namespace.
                Err(error) if error.is_conflict() || (read.is_some() && error.is_not_found()) => {}
                Err(error) => return Err(GuardError::Write(error)),
            }
        }
        Err(GuardError::Raced)
    }

    /// All sets of the namespace, whatever labels this process selects by: the list is the namespace's.
    async fn sets_of(&self, namespace: &str) -> Result<Vec<SetFacts>, GuardError> {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &self.sets);
        let (mut found, mut params) = (Vec::new(), ListParams::default().limit(PAGE_SETS));
        for _ in 0..PAGES_MAX {
            let page = call(api.list(&params)).await.map_err(GuardError::List)?;
            found.extend(page.items.iter().map(facts));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(found),
            }
        }
        Err(GuardError::TooManySets)
    }
}

// === impl Synced ===

impl Synced {
    fn unchanged(sets: Vec<SetFacts>, resource_version: Option<String>) -> Self {
        Self { sets, resource_version, written: false, opened: Vec::new(), closed: Vec::new(), dropped: None }
    }
}
