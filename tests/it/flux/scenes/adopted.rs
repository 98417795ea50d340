//! What `init` prints is applied unchanged, on the layouts of `examples/adopt`: the incident is replayed before and after.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::super::git::Repository;
use super::super::objects::{git_repository, object};
use super::super::stage::tag;
use super::super::world::World;
use super::SUITE;
use crate::cluster::audit;

const SIBLINGS: [&str; 3] = ["app", "worker", "embeddings"];
/// The tag that the examples run.
const RUNNING: &str = "main-3f9ac1d-1767225600";

/// A layout at work, as somebody has it who does not know Tidegate.
struct Shop {
    world: World,
    fleet: Repository,
    files: PathBuf,
}

// === impl Shop ===

impl Shop {
    async fn open(layout: &str) -> Option<Self> {
        let world = World::start(SUITE).await?;
        for name in SIBLINGS {
            world.push(name, &tag(1)).await;
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/adopt").join(layout);
        let files = crate::cluster::server::folder("adopt");
        let mut held = Vec::new();
        for folder in ["flux", "apps"] {
            for entry in fs::read_dir(root.join(folder)).expect("the layout has its folders") {
                let name = entry.expect("it is readable").file_name().into_string().expect("UTF-8");
                let text = fs::read_to_string(root.join(folder).join(&name)).expect("it is text");
                held.push((format!("{folder}/{name}"), at_home(&text, &world)));
            }
        }
        for (path, text) in &held {
            let path = files.join(path);
            fs::create_dir_all(path.parent().expect("it lies in the folder")).expect("the folder is ours");
            fs::write(path, text).expect("the folder is ours");
        }
        let held: Vec<_> = held.iter().map(|(path, text)| (&**path, &**text)).collect();
        let fleet = world.git.create("fleet", &held);
        world.create(git_repository("flux-system", &fleet.url)).await;
        let root = json!({
            "interval": "10m", "retryInterval": "2s", "prune": false, "path": "./flux",
            "sourceRef": {"kind": "GitRepository", "name": "flux-system"},
        });
        world.create(object("Kustomization", "flux-system", &root)).await;
        let shop = Self { world, fleet, files };
        shop.runs(&SIBLINGS, 1).await;
        Some(shop)
    }

    /// Runs `init` in the repository; answers its standard output.
    fn init(&self, args: &[&str]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .arg("init")
            .args(args)
            .env_clear()
            .env("KUBECONFIG", self.world.plane.kubeconfig())
            .current_dir(&self.files)
            .output()
            .expect("the binary runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Commits the set beside the objects of Flux, and the changes with it, both as they were printed.
    fn adopt(&self) {
        let (set, diff) = (self.init(&["-q"]), self.init(&["-q", "-o", "diff"]));
        fs::write(self.files.join("changes.diff"), diff).expect("the folder is ours");
        let applied = Command::new("git").args(["apply", "changes.diff"]).current_dir(&self.files).status();
        assert!(applied.expect("git runs").success());
        let mut changed = vec![("flux/release-set.yaml".to_owned(), set)];
        for entry in fs::read_dir(self.files.join("apps")).expect("the folder is there") {
            let path = entry.expect("it is readable").path();
            let name = path.file_name().and_then(|name| name.to_str()).expect("UTF-8");
            changed.push((format!("apps/{name}"), fs::read_to_string(&path).expect("it is text")));
        }
        let changed: Vec<_> = changed.iter().map(|(path, text)| (&**path, &**text)).collect();
        self.fleet.commit(&changed, "Adopt Tidegate");
    }

    async fn push(&self, names: &[&str], number: u32) {
        for name in names {
            self.world.push(name, &tag(number)).await;
        }
    }

    /// Waits until these Deployments carry the release.
    async fn runs(&self, names: &[&str], number: u32) {
        let wanted = tag(number);
        self.world
            .wait(&format!("{wanted} in {names:?}"), async || {
                let now = self.world.images().await;
                let all =
                    names.iter().all(|name| now.get(*name).is_some_and(|image| audit::tag(image) == wanted));
                if all { Ok(()) } else { Err(format!("they carry {now:?}")) }
            })
            .await;
    }

    async fn look(&self) {
        self.world.request("ReleaseSet", "acme").await;
        let asked = self.world.read("ReleaseSet", "acme").await.expect("it is there");
        let asked = asked["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"].clone();
        let looked = |now: &serde_json::Value| now["status"]["lastHandledReconcileAt"] == asked;
        self.world.until("the look", "ReleaseSet", "acme", looked).await;
    }
}

/// A file with the names of this world in place of those that a user replaces.
fn at_home(text: &str, world: &World) -> String {
    text.replace("ghcr.io/acme/", &format!("{}/acme/", world.registry.host()))
        .replace("namespace: acme\n", &format!("namespace: {}\n", world.namespace))
        .replace("\"acme:", &format!("\"{}:", world.namespace))
        .replace(RUNNING, &tag(1))
        .replace("retryInterval: 30s", "retryInterval: 2s")
        .replace("  interval: 5m\n", "  interval: 5m\n  insecure: true\n")
}

/// The incident before, the same after: release 2 half-rolls, release 3 does not.
///
/// `rolled` are the Deployments that Flux moves before the siblings are there.
async fn adopted(layout: &str, rolled: &[&str]) {
    let Some(shop) = Shop::open(layout).await else { return };
    // The cluster alone gives a set too; markers and folders are not in it.
    let set = shop.init(&["-q", "--cluster", "-n", &shop.world.namespace]);
    assert!(set.contains(&format!("notBefore: {}", tag(1))) && set.contains("\n    imagePolicy:"), "{set}");
    assert_eq!(shop.init(&["-q", "--cluster", "-n", &shop.world.namespace, "-o", "diff"]), "");
    // App is pushed, and its siblings are not: Flux takes it to production.
    shop.push(&["app"], 2).await;
    shop.world.request("ImageRepository", "app").await;
    shop.runs(rolled, 2).await;
    shop.push(&["worker", "embeddings"], 2).await;
    for name in SIBLINGS {
        if shop.world.read("ImageRepository", name).await.is_some() {
            shop.world.request("ImageRepository", name).await;
        }
    }
    shop.runs(&SIBLINGS, 2).await;
    shop.world.until_quiet().await;
    // The working copy of whoever adopts is up to date.
    for entry in fs::read_dir(shop.files.join("apps")).expect("the folder is there") {
        let path = entry.expect("it is readable").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("UTF-8").to_owned();
        fs::write(&path, shop.fleet.read(&format!("apps/{name}"))).expect("the folder is ours");
    }
    shop.adopt();
    let _tidegate = shop.world.tidegate(&[]).await;
    shop.world.until("the set", "ReleaseSet", "acme", |now| now["status"]["observedGeneration"] == 1).await;
    shop.look().await;
    shop.world.until_quiet().await;
    shop.runs(&SIBLINGS, 2).await;

    let states = shop.world.states().await.len();
    shop.push(&["app"], 3).await;
    shop.world.request("ImageRepository", "app").await;
    shop.look().await;
    shop.world.until_quiet().await;
    shop.runs(&SIBLINGS, 2).await;
    shop.push(&["worker"], 3).await;
    shop.look().await;
    shop.world.until_quiet().await;
    shop.runs(&SIBLINGS, 2).await;
    // Nobody carried release 3 while embeddings was not there.
    let early = shop.world.states().await.split_off(states);
    assert!(early.iter().all(|state| !state.tags().contains(&tag(3))), "{early:?}");
    shop.push(&["embeddings"], 3).await;
    shop.look().await;
    shop.runs(&SIBLINGS, 3).await;
    shop.world.end().await;
}

#[tokio::test]
async fn tags_in_a_kustomization_half_roll_until_init_is_applied() {
    // Two of the three cannot be pulled.
    adopted("kustomize-images", &SIBLINGS).await;
}

#[tokio::test]
async fn whole_images_in_plain_manifests_half_roll_until_init_is_applied() {
    adopted("plain-manifests", &["app"]).await;
}
