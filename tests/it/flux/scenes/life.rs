//! What Tidegate and Flux make of each other's objects over time: stopped, at rest, edited by hand, and uninstalled.

use std::time::Duration;

use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::stage::{PLATFORMS, RELEASE, SET, Stage, Wiring, tag};
use super::{ALL, in_both, push};
use crate::cluster::audit::Write;

/// How often each object of Flux is reconciled where there must be no fight.
const RECONCILES: usize = 10;
/// `interval` of the sets in these tests, and what a write takes on busy cores.
const ONE_INTERVAL: Duration = Duration::from_secs(10 + 5);
const FILE: &str = "releases/release-set.yaml";
const RELEASES: &str = "clusters/production/acme/releases.yaml";

#[tokio::test]
async fn while_tidegate_is_stopped_nothing_moves_and_drift_is_mended() {
    in_both(&[], async |stage| {
        stage.stop_tidegate();
        push(stage, ALL, 2).await;
        stage.brought_in_by_hand(7);
        let image = format!("{}:{}", stage.world.repository("worker"), tag(7));
        let path = "/spec/template/spec/containers/0/image";
        let edit = json!([{"op": "replace", "path": path, "value": image}]);
        let edit: Patch<()> = Patch::Json(serde_json::from_value(edit).expect("a patch"));
        stage.world.api("Deployment").patch("worker", &PatchParams::default(), &edit).await.unwrap();
        reconcile_all(stage).await;
        stage.runs(1).await;
        stage.world.until_quiet().await;
        assert_eq!(stage.set().await["status"]["promoted"]["tag"], tag(1));
        stage.start_tidegate().await;
        stage.runs(2).await;
    })
    .await;
}

#[tokio::test]
async fn over_ten_reconciles_nobody_fights_and_what_a_hand_set_stays() {
    in_both(&[], async |stage| {
        stage.hand(&["suspend", SET, "--yes"]).await;
        stage.hand(&["pin", SET, &tag(1), "--yes"]).await;
        stage.look().await;
        stage.world.until_quiet().await;
        let before = stage.world.writes().await.len();
        for _ in 0..RECONCILES {
            reconcile_all(stage).await;
        }
        stage.look().await;
        stage.world.until_quiet().await;
        let writes = stage.world.writes().await.split_off(before);
        let ours = |write: &&Write| write.resource.starts_with("releasesets") || write.name == RELEASE;
        let of_flux = |user: &str| ["kustomize-controller", "helm-controller"].contains(&user);
        let fights: Vec<_> = writes.iter().filter(ours).filter(|write| of_flux(&write.user)).collect();
        assert!(fights.is_empty(), "{fights:#?}");
        // The one write is the answer to the look that was asked for.
        let tidegate: Vec<_> = writes.iter().filter(|write| write.user == "tidegate").collect();
        assert!(tidegate.iter().all(|write| write.resource == "releasesets/status"), "{tidegate:#?}");
        assert!(tidegate.len() <= 1, "{tidegate:#?}");
        let spec = stage.set().await["spec"].clone();
        assert_eq!((&spec["suspend"], &spec["pin"]), (&json!(true), &json!(tag(1))));
        let told = doctor(stage).await;
        assert!(told.contains("spec.suspend was set by tidegate-cli"), "{told}");
    })
    .await;
}

#[tokio::test]
async fn what_kubectl_sets_or_git_holds_flux_puts_back_and_we_say_so() {
    in_both(&[], async |stage| {
        let patch = Patch::Merge(json!({"spec": {"suspend": true}}));
        let params =
            PatchParams { field_manager: Some("kubectl-patch".to_owned()), ..PatchParams::default() };
        stage.world.api("ReleaseSet").patch(SET, &params, &patch).await.unwrap();
        stage.reconcile("Kustomization", "releases").await;
        assert_eq!(stage.set().await["spec"]["suspend"], Value::Null);

        stage.edit(&[(FILE, "  interval: 10s\n", "  interval: 10s\n  suspend: false\n")], "Write it out");
        stage.world.until("the field", "ReleaseSet", SET, |now| now["spec"]["suspend"] == false).await;
        // A new generation is judged and committed first: a set that changes while a person looks at it is not changed.
        stage.look().await;
        stage.world.until_quiet().await;
        stage.hand(&["suspend", SET, "--yes"]).await;
        stage.reconcile("Kustomization", "releases").await;
        assert_eq!(stage.set().await["spec"]["suspend"], false);
        let told = doctor(stage).await;
        assert!(told.contains("kustomize-controller sets spec.suspend"), "{told}");
        let file = std::env::temp_dir().join(format!("{}.yaml", stage.world.namespace));
        std::fs::write(&file, stage.fleet.read(FILE)).unwrap();
        let linted = crate::cli::fixture::call(&["lint", "-f", file.to_str().unwrap()]).whole();
        std::fs::remove_file(file).unwrap();
        assert!(linted.contains("spec.suspend"), "{linted}");
    })
    .await;
}

#[tokio::test]
async fn a_target_that_is_deleted_or_edited_by_hand_is_back_within_an_interval() {
    in_both(&[], async |stage| {
        let kind = stage.target_kind();
        let right = stage.world.read(kind, RELEASE).await.expect("it is there");
        let content = |object: &Value| (object["data"].clone(), object["spec"].clone());
        let begun = Instant::now();
        stage.world.api(kind).delete(RELEASE, &DeleteParams::default()).await.unwrap();
        let back = |now: &Value| {
            now["metadata"]["uid"] != right["metadata"]["uid"] && content(now) == content(&right)
        };
        stage.world.until("it to be back", kind, RELEASE, back).await;
        assert!(begun.elapsed() < ONE_INTERVAL, "{:?}", begun.elapsed());

        let begun = Instant::now();
        stage.brought_in_by_hand(9);
        let other = tag(9);
        let edit = match stage.wiring {
            Wiring::ConfigMap => json!({"data": {"RELEASE_TAG": other}}),
            _ => json!({"spec": {"filterTags": {"pattern": format!("^{other}$")}}}),
        };
        stage.world.patch(kind, RELEASE, edit).await;
        stage.world.until("it to be right", kind, RELEASE, |now| content(now) == content(&right)).await;
        assert!(begun.elapsed() < ONE_INTERVAL, "{:?}", begun.elapsed());
        stage.runs(1).await;
    })
    .await;
}

#[tokio::test]
async fn a_set_that_leaves_git_leaves_everything_as_it_is_and_takes_nothing_back_when_it_returns() {
    in_both(&[], async |stage| {
        push(stage, &["app", "embeddings"], 2).await;
        stage.becomes_complete(2);
        let worker = stage.push_for("worker", 2, &PLATFORMS, "").await;
        stage.moves(2).await;
        let before = stage.world.read(stage.target_kind(), RELEASE).await.expect("it is there");
        let (held, waited) = (stage.fleet.read(FILE), stage.fleet.read(RELEASES));
        // First what waits for the set, then the set: in one commit, `releases` may see the file gone before its own health check
        // is, and wait for a set that is gone until its timeout.
        let (unwaited, _) = waited.split_once("  # Of the set alone").expect("it has health checks");
        stage.fleet.commit(&[(RELEASES, unwaited)], "Wait for no release");
        let unwaited = |now: &Value| now["spec"]["healthChecks"].is_null();
        stage.world.until("no health check", "Kustomization", "releases", unwaited).await;
        // Git keeps no empty folder.
        stage.fleet.remove(FILE, &[("releases/.gitkeep", "")], "Uninstall");
        stage
            .world
            .wait("the set to be pruned", async || {
                let set = stage.set().await;
                if set.is_null() { Ok(()) } else { Err(format!("{set:#}")) }
            })
            .await;
        // Of what is complete, release 1 is the newest now.
        stage.world.pusher.delete("acme/worker", &worker).await;
        stage.world.until_quiet().await;
        let now = stage.world.read(stage.target_kind(), RELEASE).await.expect("it stays");
        assert_eq!((&now["data"], &now["spec"]), (&before["data"], &before["spec"]));
        assert!(stage.world.images().await.values().all(|image| image.contains(&tag(2))));

        // It comes back without a status: what its target carries is its floor.
        stage.fleet.commit(&[(FILE, &held), (RELEASES, &waited)], "Install it again");
        stage.world.until("the set", "ReleaseSet", SET, |_| true).await;
        stage.look().await;
        let now = stage.set().await;
        assert_eq!(now["status"]["promoted"], Value::Null, "{now:#}");
        assert!(stage.world.images().await.values().all(|image| image.contains(&tag(2))));
        push(stage, ALL, 3).await;
        stage.moves(3).await;
        let now = stage.set().await;
        assert_eq!(now["status"]["promoted"]["sequence"], 3, "{now:#}");
        stage.continued_from(2);
    })
    .await;
}

/// What `doctor` says of the namespace. It fails here, for the controller of the world is no Deployment.
async fn doctor(stage: &Stage) -> String {
    let args = ["doctor", "--no-registry", "--namespace", &stage.world.namespace];
    crate::cli::hands::hand(stage.world.plane.kubeconfig(), &args).await.whole()
}

async fn reconcile_all(stage: &Stage) {
    for name in ["releases", "apps"] {
        stage.reconcile("Kustomization", name).await;
    }
    if stage.wiring == Wiring::ConfigMap {
        stage.reconcile("HelmRelease", "embeddings").await;
    }
}
