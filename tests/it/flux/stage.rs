//! A wiring of `examples/` on a world: its very files in Git, with the names of hosts and namespaces replaced, applied from the
//! root as `flux bootstrap` does, and the proof that is demanded of every timeline played on it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tidegate::embedded::image::{ImageDescription, ImagePlatform, Index};
use tidegate::telemetry::clock::Clock;

use super::git::Repository;
use super::objects::{git_repository, object};
use super::world::World;
use crate::cli::hands::hand;
use crate::cluster::audit;
use crate::cluster::server::Server;

/// The siblings of both examples; `app` is the lead.
pub const SIBLINGS: [&str; 3] = ["app", "worker", "embeddings"];
/// What each is built for, where a test does not say otherwise.
pub const PLATFORMS: [&str; 2] = ["linux/amd64", "linux/arm64"];
/// Name of the ReleaseSet in both examples.
pub const SET: &str = "acme";
/// Name of the target object in both examples.
pub const RELEASE: &str = "acme-release";
/// How long Deployments may carry two releases: one sync of kustomize-controller and one upgrade of helm-controller, on two
/// cores that build beside it. A half-rolled release stays for as long as its sibling is missing.
const SYNC_MAX: SignedDuration = SignedDuration::from_secs(20);

/// How releases get from the registry to the Deployments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wiring {
    /// `examples/flux-one-commit`.
    OneCommit,
    /// `examples/flux-config-map`.
    ConfigMap,
    /// `examples/flux-one-commit` without Tidegate: the policy of app alone behind all three markers.
    Naive,
}

/// One wiring at work.
pub struct Stage {
    pub world: World,
    pub wiring: Wiring,
    /// What Flux follows.
    pub fleet: Repository,
    tidegate: Mutex<Option<Server>>,
    /// What was pushed, and from when on all siblings of a tag are there.
    pushed: Mutex<BTreeMap<String, BTreeSet<String>>>,
    complete: Mutex<BTreeMap<String, Timestamp>>,
    /// Tags that a person brought in by hand.
    by_hand: Mutex<BTreeSet<String>>,
    /// Releases of a set that was deleted, which the history of its successor does not hold.
    forgotten: Mutex<Vec<String>>,
}

/// The tag of the release of that number: greater is newer.
pub fn tag(number: u32) -> String {
    format!("main-{number:07x}-{number}")
}

// === impl Wiring ===

impl Wiring {
    fn folder(self) -> PathBuf {
        let name = match self {
            Self::OneCommit | Self::Naive => "flux-one-commit",
            Self::ConfigMap => "flux-config-map",
        };
        Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
    }

    /// Every file below `clusters`, `releases` and `apps` of the example, as a repository in `namespace` holds it. Each of
    /// `changes` (text and its replacement) must be found.
    fn files(self, world: &World, changes: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut files = Vec::new();
        for folder in ["clusters", "releases", "apps"] {
            collect(&self.folder(), Path::new(folder), &mut files);
        }
        let mut missing: BTreeSet<&str> = changes.iter().map(|(from, _)| *from).collect();
        for (path, text) in &mut files {
            *text = self.at_home(path, text, world);
            for (from, to) in changes {
                if text.contains(from) {
                    *text = text.replace(from, to);
                    missing.remove(from);
                }
            }
        }
        assert!(missing.is_empty(), "no file of {self:?} holds {missing:?}");
        files
    }

    /// A file with the names of this world in the place of those that a user replaces too.
    fn at_home(self, path: &str, text: &str, world: &World) -> String {
        let namespace = &world.namespace;
        let mut text = text
            .replace("ghcr.io/acme/", &format!("{}/acme/", world.registry.host()))
            .replace("namespace: acme\n", &format!("namespace: {namespace}\n"))
            .replace("namespace: flux-system\n", &format!("namespace: {namespace}\n"))
            .replace("\"acme:", &format!("\"{namespace}:"))
            .replace("main-3f9ac1d-1767225600", &tag(1))
            // Failures of the bootstrap are retried soon.
            .replace("retryInterval: 30s", "retryInterval: 2s");
        if path.ends_with("namespace.yaml") {
            text = text.replace("name: acme\n", &format!("name: {namespace}\n"));
        }
        if path.ends_with("release-set.yaml") {
            text = text.replace("  interval: 1m\n", "  interval: 10s\n  registry:\n    insecure: true\n");
        }
        if path.ends_with("image-repository.yaml") {
            text = text.replace("  interval: 5m\n", "  interval: 5m\n  insecure: true\n");
        }
        if path.ends_with("embeddings.yaml") {
            // No node runs here: nothing becomes ready.
            text = text.replace(
                "  # Not `optional`",
                "  install: {disableWait: true}\n  upgrade: {disableWait: true}\n  # Not `optional`",
            );
        }
        if self == Self::Naive {
            text = text.replace(&format!("{namespace}:{RELEASE}:tag"), &format!("{namespace}:app:tag"));
            if let Some((before, _)) = text.split_once("  # Of the set alone") {
                text = before.to_owned();
            }
            if path.ends_with("release-set.yaml") {
                text = naive_policy(namespace).to_string();
            }
        }
        text
    }
}

/// The newest tag of app by the number in it, whatever its siblings do.
fn naive_policy(namespace: &str) -> Value {
    let mut policy = object(
        "ImagePolicy",
        "app",
        &json!({
            "imageRepositoryRef": {"name": "app"},
            "filterTags": {"pattern": "^main-[0-9a-f]{7,40}-(?P<ts>[0-9]+)$", "extract": "$ts"},
            "policy": {"numerical": {"order": "asc"}},
        }),
    );
    policy["metadata"]["namespace"] = json!(namespace);
    policy
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(root.join(folder)).expect("the example has its folders") {
        let path = folder.join(entry.expect("it is readable").file_name());
        if root.join(&path).is_dir() {
            collect(root, &path, files);
        } else {
            let text = fs::read_to_string(root.join(&path)).expect("it is text");
            files.push((path.display().to_string(), text));
        }
    }
}

// === impl Stage ===

impl Stage {
    /// A wiring whose first release is pushed and runs, applied from nothing; `None` after one printed line when parts are
    /// missing (a panic under `CI`). `changes` are made to the files first.
    pub async fn open(suite: &str, wiring: Wiring, changes: &[(&str, &str)]) -> Option<Self> {
        let stage = Self::prepare(suite, wiring, changes).await?;
        for name in SIBLINGS {
            stage.push(name, 1).await;
        }
        stage.start_tidegate().await;
        stage.apply().await;
        stage.runs(1).await;
        Some(stage)
    }

    /// The files in Git, with nothing pushed to the registry, nothing applied, and Tidegate not started.
    pub async fn prepare(suite: &str, wiring: Wiring, changes: &[(&str, &str)]) -> Option<Self> {
        let world = World::start(suite).await?;
        let files = wiring.files(&world, changes);
        let files: Vec<_> = files.iter().map(|(path, text)| (&**path, &**text)).collect();
        let fleet = world.git.create("fleet", &files);
        Some(Self {
            world,
            wiring,
            fleet,
            tidegate: Mutex::default(),
            pushed: Mutex::default(),
            complete: Mutex::default(),
            by_hand: Mutex::default(),
            forgotten: Mutex::default(),
        })
    }

    /// What `flux bootstrap` applies; the rest comes from Git. The root does not prune, for the namespace is the world's.
    pub async fn apply(&self) {
        self.world.create(git_repository("flux-system", &self.fleet.url)).await;
        let root = json!({
            "interval": "10m", "retryInterval": "2s", "prune": false, "path": "./clusters/production",
            "sourceRef": {"kind": "GitRepository", "name": "flux-system"},
        });
        self.world.create(object("Kustomization", "flux-system", &root)).await;
        if self.wiring == Wiring::ConfigMap {
            let mut files = Vec::new();
            collect(&self.wiring.folder().join("charts/embeddings"), Path::new(""), &mut files);
            let files: Vec<_> = files.iter().map(|(path, text)| (&**path, &**text)).collect();
            self.world
                .wait("the source of the chart", async || {
                    let source = self.world.read("OCIRepository", "embeddings").await;
                    if source.is_some() { Ok(()) } else { Err(self.told().await) }
                })
                .await;
            self.world.chart("embeddings", "1.0.0", &files).await;
        }
    }

    /// Starts the controller, unless the wiring has none.
    pub async fn start_tidegate(&self) {
        if self.wiring != Wiring::Naive {
            let server = self.world.tidegate(&[]).await;
            *lock(&self.tidegate) = Some(server);
        }
    }

    /// Ends it; what it had begun is left as it is.
    pub fn stop_tidegate(&self) {
        lock(&self.tidegate).take();
    }

    /// Pushes one sibling of a release for both platforms.
    pub async fn push(&self, name: &str, number: u32) {
        self.push_for(name, number, &PLATFORMS, "").await;
        let mut pushed = lock(&self.pushed);
        let siblings = pushed.entry(tag(number)).or_default();
        siblings.insert(name.to_owned());
        let whole = siblings.len() == SIBLINGS.len();
        drop(pushed);
        if whole {
            self.becomes_complete(number);
        }
    }

    /// Pushes one sibling for some platforms; `build` makes its content another one. Answers the digest of the index. Whether
    /// the release is complete with it is the test's to say: [`Stage::becomes_complete`].
    pub async fn push_for(&self, name: &str, number: u32, platforms: &[&str], build: &str) -> String {
        let tag = tag(number);
        let images = platforms.iter().map(|platform| {
            let platform = ImagePlatform::parse(platform).expect("a platform");
            ImageDescription::new(platform, format!("{name} {tag} {build}")).build()
        });
        let index = Index::build(images.collect(), &BTreeMap::new());
        self.world.pusher.index(&format!("acme/{name}"), &tag, &index).await
    }

    /// From now on Deployments may carry this release.
    pub fn becomes_complete(&self, number: u32) {
        lock(&self.complete).insert(tag(number), Clock::system().now());
    }

    /// A person brings in a tag by hand: it is no fault of Flux's or Tidegate's that Deployments carry it.
    pub fn brought_in_by_hand(&self, number: u32) {
        lock(&self.by_hand).insert(tag(number));
    }

    /// The set is another one than that which promoted the releases up to this one.
    pub fn continued_from(&self, number: u32) {
        *lock(&self.forgotten) = (1..=number).map(tag).collect();
    }

    /// Asks whoever looks at the registry to look now, and waits until that is done.
    pub async fn look(&self) {
        let (kind, name) =
            if self.wiring == Wiring::Naive { ("ImageRepository", "app") } else { ("ReleaseSet", SET) };
        self.world.request(kind, name).await;
        let asked = self.world.read(kind, name).await.expect("it is there");
        let asked = &asked["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"];
        self.world
            .until("the look", kind, name, |now| now["status"]["lastHandledReconcileAt"] == *asked)
            .await;
    }

    /// Looks, and finds that this release is still the promoted one.
    pub async fn stays(&self, number: u32) {
        self.look().await;
        assert_eq!(self.set().await["status"]["promoted"]["tag"], tag(number), "{:?}", self.wiring);
    }

    /// Looks, and waits until all Deployments carry this release.
    pub async fn moves(&self, number: u32) {
        self.look().await;
        self.runs(number).await;
    }

    /// Waits until all Deployments carry this release.
    pub async fn runs(&self, number: u32) {
        let wanted = tag(number);
        self.world
            .wait(&format!("{wanted} in all Deployments of {:?}", self.wiring), async || {
                let now = self.world.images().await;
                let all =
                    now.len() == SIBLINGS.len() && now.values().all(|image| audit::tag(image) == wanted);
                if all { Ok(()) } else { Err(format!("they carry {now:?}; {}", self.told().await)) }
            })
            .await;
    }

    /// What everything between the registry and the Deployments says, for a failure.
    async fn told(&self) -> String {
        let mut told = Vec::new();
        for (kind, name) in [
            ("ReleaseSet", SET),
            ("ImagePolicy", RELEASE),
            ("ImageUpdateAutomation", SET),
            ("Kustomization", "flux-system"),
            ("Kustomization", "releases"),
            ("Kustomization", "apps"),
            ("HelmRelease", "embeddings"),
        ] {
            if let Some(object) = self.world.read(kind, name).await {
                told.push(format!("{kind} {name}: {}", object["status"]["conditions"]));
            }
        }
        told.join("\n")
    }

    /// Calls `tidegate` as a person would, on this namespace; it must succeed.
    pub async fn hand(&self, args: &[&str]) -> String {
        let args = [args, &["--namespace", &self.world.namespace]].concat();
        let answer = hand(self.world.plane.kubeconfig(), &args).await;
        assert_eq!(answer.code, 0, "{args:?}: {}", answer.whole());
        answer.whole()
    }

    /// Changes files in Git as a person would: in each file of `changes` (path, text and its replacement) the text is found.
    pub fn edit(&self, changes: &[(&str, &str, &str)], message: &str) -> String {
        let files: Vec<_> = changes
            .iter()
            .map(|(path, from, to)| {
                let text = self.fleet.read(path);
                assert!(text.contains(from), "{path} holds no {from}: {text}");
                (*path, text.replace(from, to))
            })
            .collect();
        let files: Vec<_> = files.iter().map(|(path, text)| (*path, &**text)).collect();
        self.fleet.commit(&files, message)
    }

    /// Has a Kustomization or HelmRelease reconciled once more, and waits until that is done.
    pub async fn reconcile(&self, kind: &str, name: &str) {
        self.world.request(kind, name).await;
        let asked = self.world.read(kind, name).await.expect("it is there");
        let asked = asked["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"].clone();
        self.world
            .until("the reconcile", kind, name, |now| {
                let ready = now["status"]["conditions"].as_array().into_iter().flatten();
                now["status"]["lastHandledReconcileAt"] == asked
                    && ready.filter(|one| one["type"] == "Ready").any(|one| one["status"] == "True")
            })
            .await;
    }

    /// Kinds of the object that the set writes.
    pub fn target_kind(&self) -> &'static str {
        if self.wiring == Wiring::ConfigMap { "ConfigMap" } else { "ImagePolicy" }
    }

    /// The ReleaseSet; null when there is none.
    pub async fn set(&self) -> Value {
        self.world.read("ReleaseSet", SET).await.unwrap_or_default()
    }

    /// Waits until nothing moves any more, then says what was wrong between the beginning and now.
    pub async fn proof(&self) -> Result<(), String> {
        self.world.until_quiet().await;
        self.proof_of_deployments().await?;
        self.proof_of_commits().await
    }

    /// No Deployment carried a tag before all siblings of it were there, and no two releases ran for longer than a sync.
    async fn proof_of_deployments(&self) -> Result<(), String> {
        let states = self.world.states().await;
        let (complete, by_hand) = (lock(&self.complete).clone(), lock(&self.by_hand).clone());
        for state in &states {
            for tag in state.tags() {
                if !by_hand.contains(&tag) && complete.get(&tag).is_none_or(|since| *since > state.at) {
                    return Err(format!("{tag} was carried before all its siblings were there: {state:?}"));
                }
            }
        }
        let mut mixed_since: Option<Timestamp> = None;
        let judged = |state: &&audit::State| {
            state.images.len() == SIBLINGS.len() && !state.tags().iter().any(|tag| by_hand.contains(tag))
        };
        for state in states.iter().filter(judged) {
            match (state.is_mixed(), mixed_since) {
                (true, None) => mixed_since = Some(state.at),
                (false, Some(since)) if state.at.duration_since(since) > SYNC_MAX => {
                    return Err(format!("two releases ran from {since} to {}", state.at));
                }
                (false, _) => mixed_since = None,
                (true, Some(_)) => {}
            }
        }
        mixed_since.map_or(Ok(()), |since| Err(format!("two releases run since {since}")))
    }

    /// Exactly one commit of Flux for each release after the first, and no line of any commit that names another tag.
    async fn proof_of_commits(&self) -> Result<(), String> {
        let by_hand = lock(&self.by_hand).clone();
        let promoted = self.promoted().await;
        let commits = self.fleet.log();
        for commit in &commits {
            for tag in tags_of(&self.fleet.added(&commit.hash)) {
                let hurried = commit.author == "human" && by_hand.contains(&tag);
                if !promoted.contains(&tag) && !hurried {
                    return Err(format!("{commit:?} names {tag}; promoted were {promoted:?}"));
                }
            }
        }
        let of_flux = commits.iter().filter(|commit| commit.author != "human").count();
        // What a person committed by hand is put back by one more.
        let undone = commits.iter().filter(|commit| {
            commit.author == "human" && !tags_of(&self.fleet.added(&commit.hash)).is_disjoint(&by_hand)
        });
        let wanted = if self.wiring == Wiring::OneCommit { promoted.len() - 1 + undone.count() } else { 0 };
        if self.wiring != Wiring::Naive && of_flux != wanted {
            return Err(format!("{of_flux} commits for {promoted:?}: {commits:#?}"));
        }
        Ok(())
    }

    /// Every tag that was promoted, oldest first, once more when another one was between; without Tidegate all that are complete.
    async fn promoted(&self) -> Vec<String> {
        if self.wiring == Wiring::Naive {
            return lock(&self.complete).keys().cloned().collect();
        }
        let set = self.set().await;
        let history = set["status"]["history"].as_array().cloned().unwrap_or_default();
        let mut releases: Vec<_> = history
            .iter()
            .map(|release| {
                (release["sequence"].as_i64(), release["tag"].as_str().unwrap_or_default().to_owned())
            })
            .collect();
        releases.sort();
        let mut tags: Vec<_> =
            lock(&self.forgotten).iter().cloned().chain(releases.into_iter().map(|(_, tag)| tag)).collect();
        // What is committed again under its old tag changes no file.
        tags.dedup();
        tags
    }

    /// Ends the controller and deletes what would keep those of Flux busy.
    pub async fn end(self) {
        self.stop_tidegate();
        self.world.end().await;
    }
}

/// Every tag of a release in a text.
fn tags_of(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    words.filter(|word| word.starts_with("main-0")).map(str::to_owned).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
