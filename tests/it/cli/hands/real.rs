//! Whose a field is after each command, on a real API server, and what becomes of it when kustomize-controller syncs: its
//! two writes (it drops the fields of `kubectl` managers, then applies what Git holds) are made here as it makes them.

use std::path::PathBuf;

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tidegate::api::ReleaseSet;

use super::super::fixture::Answer;
use super::hand;
use crate::cluster::control_plane::ControlPlane;

const SUITE: &str = "hands";
/// The manager that applies the file in Git.
const GIT: &str = "kustomize-controller";

/// A set of a namespace of its own, as kustomize-controller applies it.
pub struct Stage {
    client: Client,
    kubeconfig: PathBuf,
    namespace: String,
    plane: &'static ControlPlane,
}

// === impl Stage ===

impl Stage {
    async fn open() -> Option<Self> {
        let plane = ControlPlane::shared(SUITE).await?;
        let client = plane.client().await;
        crate::crd::install(&client).await;
        let namespace = plane.namespace(&client, "hands").await;
        let stage = Self { client, kubeconfig: plane.kubeconfig().to_owned(), namespace, plane };
        stage.sync(&json!({})).await;
        Some(stage)
    }

    fn sets(&self) -> Api<DynamicObject> {
        Api::namespaced_with(
            self.client.clone(),
            &self.namespace,
            &kube::api::ApiResource::erase::<ReleaseSet>(&()),
        )
    }

    async fn set(&self) -> Value {
        serde_json::to_value(self.sets().get("shop").await.expect("the set is there")).unwrap()
    }

    async fn hand(&self, args: &[&str]) -> Answer {
        hand(&self.kubeconfig, &[args, &["-n", &self.namespace]].concat()).await
    }

    async fn done(&self, args: &[&str]) -> Answer {
        let answer = self.hand(&[args, &["--yes"]].concat()).await;
        assert_eq!(answer.code, 0, "{args:?}: {}", answer.whole());
        answer
    }

    /// What `manager` owns, without the status.
    async fn owned_by(&self, manager: &str) -> Value {
        let set = self.set().await;
        let entries = set["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        let of_manager =
            |entry: &&Value| entry["manager"] == manager && entry["subresource"].as_str().is_none();
        entries.iter().find(of_manager).map_or(Value::Null, |entry| entry["fieldsV1"].clone())
    }

    /// One sync of a Kustomization whose file holds `more` in the spec of the set.
    async fn sync(&self, more: &Value) {
        let mut file = json!({
            "apiVersion": "tidegate.dev/v1alpha1",
            "kind": "ReleaseSet",
            "metadata": {"name": "shop", "labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}},
            "spec": {
                "images": [{"name": "app", "repository": "ghcr.io/acme/app"}],
                "candidates": {"policy": {"alphabetical": {}}},
                "gates": [{"name": "app-boots", "smoke": {"image": "app"}}],
            },
        });
        file["spec"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.drop_kubectl_fields().await;
        let params = PatchParams::apply(GIT).force();
        self.sets().patch("shop", &params, &Patch::Apply(file)).await.expect("it is applied");
    }

    /// As `PatchReplaceFieldsManagers` of fluxcd/pkg/ssa: what managers called `kubectl…` own becomes the controller's own, so
    /// that the apply that follows drops what the file omits.
    async fn drop_kubectl_fields(&self) {
        let Ok(set) = self.sets().get("shop").await else { return };
        let fields = set.metadata.managed_fields.clone().unwrap_or_default();
        let is_kubectl = |manager: Option<&String>| manager.is_some_and(|name| name.starts_with("kubectl"));
        let (theirs, mut kept): (Vec<_>, Vec<_>) =
            fields.into_iter().partition(|entry| is_kubectl(entry.manager.as_ref()));
        if theirs.is_empty() {
            return;
        }
        let own = kept.iter_mut().find(|entry| {
            entry.manager.as_deref() == Some(GIT) && entry.operation.as_deref() == Some("Apply")
        });
        let own = own.and_then(|entry| entry.fields_v1.as_mut()).expect("it applied the set before");
        for entry in theirs {
            merge(&mut own.0, &entry.fields_v1.expect("an entry has fields").0);
        }
        let metadata = json!({"managedFields": kept, "resourceVersion": set.metadata.resource_version});
        let patch = Patch::Merge(json!({"metadata": metadata}));
        let params = PatchParams { field_manager: Some(GIT.to_owned()), ..PatchParams::default() };
        self.sets().patch("shop", &params, &patch).await.expect("managers can be replaced");
    }

    /// What `kubectl patch` does.
    async fn kubectl_patch(&self, spec: Value) {
        let params =
            PatchParams { field_manager: Some("kubectl-patch".to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(json!({"spec": spec}));
        self.sets().patch("shop", &params, &patch).await.expect("it is patched");
    }

    async fn events(&self) -> Vec<Event> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let mut events = api.list(&ListParams::default()).await.expect("events can be listed").items;
        events.sort_by_key(|event| event.event_time.as_ref().map(|time| time.0));
        events
    }

    /// A kubeconfig of `user`, who may do in this namespace what `rules` say.
    async fn user(&self, user: &str, rules: Value) -> PathBuf {
        let user = format!("{user}-{}", self.namespace);
        let role: Role = serde_json::from_value(json!({"metadata": {"name": user}, "rules": rules})).unwrap();
        let binding: RoleBinding = serde_json::from_value(json!({
            "metadata": {"name": user},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": user},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        }))
        .unwrap();
        let (client, namespace) = (self.client.clone(), &self.namespace);
        Api::namespaced(client.clone(), namespace).create(&PostParams::default(), &role).await.unwrap();
        Api::namespaced(client, namespace).create(&PostParams::default(), &binding).await.unwrap();
        self.plane.kubeconfig_of(&user, "people")
    }

    /// A call by somebody else. What RBAC allows is in force a moment after its objects are made.
    async fn hand_as(&self, kubeconfig: &std::path::Path, args: &[&str]) -> Answer {
        let args = [args, &["--yes", "-n", &self.namespace]].concat();
        hand(kubeconfig, &args).await
    }
}

fn merge(into: &mut Value, from: &Value) {
    if let (Some(into), Some(from)) = (into.as_object_mut(), from.as_object()) {
        for (key, value) in from {
            merge(into.entry(key).or_insert_with(|| json!({})), value);
        }
    }
}

/// Polls until `condition` holds.
async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "not within 30 s: {what}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_command_owns_exactly_its_field() {
    let Some(stage) = Stage::open().await else { return };
    for (args, owned) in [
        (&["suspend", "shop"][..], json!({"f:spec": {"f:suspend": {}}})),
        (&["resume", "shop"], Value::Null),
        (&["pin", "shop", "v5"], json!({"f:spec": {"f:pin": {}}})),
        (&["pin", "shop", "v6"], json!({"f:spec": {"f:pin": {}}})),
        (&["unpin", "shop"], Value::Null),
        (&["skip", "shop", "v7"], json!({"f:spec": {"f:skip": {".": {}, "v:\"v7\"": {}}}})),
        (&["skip", "shop", "v7", "--remove"], Value::Null),
    ] {
        stage.done(args).await;
        assert_eq!(stage.owned_by("tidegate-cli").await, owned, "{args:?}");
    }
    stage.done(&["retry", "shop", "--gate", "app-boots"]).await;
    let annotations = json!({".": {}, "f:retry.tidegate.dev/app-boots": {}});
    assert_eq!(stage.owned_by("tidegate-cli").await, json!({"f:metadata": {"f:annotations": annotations}}));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_git_omits_survives_ten_syncs_and_nobody_fights() {
    let Some(stage) = Stage::open().await else { return };
    let git = json!({"skip": ["v1"]});
    stage.sync(&git).await;
    stage.done(&["suspend", "shop"]).await;
    stage.done(&["pin", "shop", "v5"]).await;
    stage.done(&["skip", "shop", "v7"]).await;
    stage.done(&["retry", "shop", "--gate", "app-boots"]).await;
    let before = stage.set().await;
    for _ in 0..10 {
        stage.sync(&git).await;
    }
    let after = stage.set().await;
    assert_eq!(
        after["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"],
        "no write at all"
    );
    assert_eq!((&after["spec"]["suspend"], &after["spec"]["pin"]), (&json!(true), &json!("v5")));
    assert_eq!(after["spec"]["skip"], json!(["v1", "v7"]), "dismissals of Git and of hands add up");
    let doctor = stage.hand(&["doctor", "shop", "--no-registry"]).await;
    assert!(!doctor.stdout.contains("Git holds"), "{}", doctor.whole());
    // Git takes its own dismissal back; that of hands stays.
    stage.sync(&json!({})).await;
    assert_eq!(stage.set().await["spec"]["skip"], json!(["v7"]));
    stage.done(&["resume", "shop"]).await;
    stage.done(&["unpin", "shop"]).await;
    stage.sync(&json!({})).await;
    let spec = stage.set().await["spec"].clone();
    assert_eq!((&spec["suspend"], &spec["pin"]), (&Value::Null, &Value::Null));
}

/// Failure sequence 11, M17.
#[tokio::test(flavor = "multi_thread")]
async fn what_kubectl_set_is_dropped_and_what_was_taken_over_is_not() {
    let Some(stage) = Stage::open().await else { return };
    stage.kubectl_patch(json!({"suspend": true, "pin": "v5"})).await;
    let doctor = stage.hand(&["doctor", "shop", "--no-registry"]).await;
    assert!(
        doctor.stdout.contains("spec.suspend was set by kubectl-patch")
            && doctor.stdout.contains(&format!("next: `tidegate suspend shop -n {}`", stage.namespace)),
        "{}",
        doctor.whole()
    );
    // The same value again: only the manager changes, and the set is suspended all the time.
    let taken = stage.done(&["suspend", "shop"]).await;
    assert!(taken.stdout.contains("+ spec.suspend set by tidegate-cli\n"), "{}", taken.whole());
    assert_eq!(stage.owned_by("tidegate-cli").await, json!({"f:spec": {"f:suspend": {}}}));
    stage.sync(&json!({})).await;
    let spec = stage.set().await["spec"].clone();
    assert_eq!((&spec["suspend"], &spec["pin"]), (&json!(true), &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_git_holds_wins_and_both_the_command_and_the_doctor_say_so() {
    let Some(stage) = Stage::open().await else { return };
    let git = json!({"suspend": false, "pin": "v4"});
    stage.sync(&git).await;
    let warning = "Git holds spec.suspend: kustomize-controller puts its value back at its next sync";
    let suspend = stage.done(&["suspend", "shop"]).await;
    assert!(suspend.stdout.contains(warning), "{}", suspend.whole());
    let pin = stage.done(&["pin", "shop", "v5"]).await;
    assert!(pin.stdout.contains("Git holds spec.pin"), "{}", pin.whole());
    stage.sync(&git).await;
    let spec = stage.set().await["spec"].clone();
    assert_eq!((&spec["suspend"], &spec["pin"]), (&json!(false), &json!("v4")));
    let doctor = stage.hand(&["doctor", "shop", "--no-registry"]).await;
    for said in [
        "kustomize-controller sets spec.suspend",
        "kustomize-controller sets spec.pin",
        "next: remove spec.pin from the file in Git",
    ] {
        assert!(doctor.stdout.contains(said), "{said}: {}", doctor.whole());
    }
}

/// What the how-to gives people is enough, and less says what is missing.
#[tokio::test(flavor = "multi_thread")]
async fn rbac_decides_and_an_event_tells_who_and_why() {
    let Some(stage) = Stage::open().await else { return };
    let rules = super::docs::rules();
    let alice = stage.user("alice", rules.clone()).await;
    let by = format!("alice-{}", stage.namespace);
    let mut pinned = None;
    eventually("alice may pin", async || {
        let answer = stage.hand_as(&alice, &["pin", "shop", "v5", "--reason", "v6 leaks"]).await;
        let is_done = answer.code == 0;
        pinned = Some(answer);
        is_done
    })
    .await;
    let events = stage.events().await;
    let [event] = events.as_slice() else { panic!("{events:?}: {}", pinned.unwrap().whole()) };
    assert_eq!(event.note, Some(format!("pinned v5 by {by}: v6 leaks")));
    assert_eq!((event.reason.as_deref(), event.type_.as_deref()), (Some("Pinned"), Some("Normal")));
    assert_eq!(event.reporting_controller.as_deref(), Some("tidegate-cli"));
    let regarding = event.regarding.clone().unwrap();
    let uid = stage.set().await["metadata"]["uid"].clone();
    assert_eq!((regarding.kind.as_deref(), json!(regarding.uid)), (Some("ReleaseSet"), uid));

    // Without Events the change is made all the same, and that is said.
    let first = json!([rules[0]]);
    let bob = stage.user("bob", first).await;
    let mut quiet = None;
    eventually("bob may suspend", async || {
        let answer = stage.hand_as(&bob, &["suspend", "shop"]).await;
        let is_done = answer.code == 0;
        quiet = Some(answer);
        is_done
    })
    .await;
    let quiet = quiet.unwrap();
    assert!(
        quiet.stderr.contains("shop was changed, but: failed to keep it as an Event"),
        "{}",
        quiet.whole()
    );
    assert_eq!((&stage.set().await["spec"]["suspend"], stage.events().await.len()), (&json!(true), 1));

    let read =
        json!([{"apiGroups": ["tidegate.dev"], "resources": ["releasesets"], "verbs": ["get", "list"]}]);
    let carol = stage.user("carol", read).await;
    eventually("carol may read", async || {
        !stage.hand_as(&carol, &["resume", "shop"]).await.stdout.is_empty()
    })
    .await;
    let refused = stage.hand_as(&carol, &["resume", "shop"]).await;
    assert!(
        refused.code == 1 && refused.stderr.contains("the API server answered 403"),
        "{}",
        refused.whole()
    );
    assert_eq!(stage.set().await["spec"]["suspend"], true);
}

/// A policy of the cluster may refuse a hand; its words are shown.
#[tokio::test(flavor = "multi_thread")]
async fn the_words_of_a_refusal_are_shown() {
    let Some(stage) = Stage::open().await else { return };
    let name = format!("pins-{}", stage.namespace);
    let policy: ValidatingAdmissionPolicy = serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": stage.namespace}},
                "resourceRules": [{"apiGroups": ["tidegate.dev"], "apiVersions": ["*"], "operations": ["UPDATE"],
                    "resources": ["releasesets"]}],
            },
            "validations": [{"expression": "!has(object.spec.pin) || !object.spec.pin.startsWith('bad')",
                "message": "bad releases are not pinned here"}],
        },
    }))
    .unwrap();
    let binding: ValidatingAdmissionPolicyBinding = serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }))
    .unwrap();
    Api::all(stage.client.clone()).create(&PostParams::default(), &policy).await.unwrap();
    Api::all(stage.client.clone()).create(&PostParams::default(), &binding).await.unwrap();
    // The dry run is asked by the server too: it changes nothing while the policy is not yet in force.
    eventually("the policy is in force", async || {
        stage.hand(&["pin", "shop", "bad-1", "--dry-run"]).await.code == 1
    })
    .await;
    let refused = stage.hand(&["pin", "shop", "bad-1", "--yes"]).await;
    assert!(
        refused.code == 1
            && refused.stderr.contains("bad releases are not pinned here")
            && refused.stderr.contains("hint: nothing was changed"),
        "{}",
        refused.whole()
    );
    assert_eq!((&stage.set().await["spec"]["pin"], stage.events().await.len()), (&Value::Null, 0));
    // A real dry run of what would be taken changes nothing either.
    let dry = stage.hand(&["pin", "shop", "good-1", "--dry-run"]).await;
    assert_eq!((dry.code, &stage.set().await["spec"]["pin"]), (0, &Value::Null), "{}", dry.whole());
}
