//! A namespace under guard. The policies are those of the chart, under names and a label of the test's own, so that tests side
//! by side do not meet.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tidegate::api::ReleaseSet;
use tidegate::guard::{Guard, Synced};

use crate::cluster::chart::{Chart, api_of};
use crate::cluster::control_plane::{self, ControlPlane};

/// User name of the controller, as the chart calls it.
pub const CONTROLLER: &str = "system:serviceaccount:tidegate:tidegate";
/// How long a policy may take to be compiled and to hold.
const DEADLINE: Duration = Duration::from_secs(30);
const PACE: Duration = Duration::from_millis(100);

/// A namespace under guard.
pub struct World {
    pub plane: &'static ControlPlane,
    /// A person with every right.
    pub client: Client,
    /// The controller's own rights.
    pub controller: Client,
    pub namespace: String,
}

/// Answer of the API server: the code, and its words where it refused.
pub type Answer = (u16, String);

/// The admission policies and bindings that helm renders, with these values, for release `tidegate` in a namespace.
pub fn render_in(suite: &str, namespace: &str, values: &Value) -> Option<Vec<Value>> {
    let all = Chart::require(suite)?.render("tidegate", namespace, values).unwrap();
    Some(all.into_iter().filter(|object| object["apiVersion"] == "admissionregistration.k8s.io/v1").collect())
}

/// The same for the namespace of [`CONTROLLER`].
pub fn render(suite: &str, values: &Value) -> Option<Vec<Value>> {
    render_in(suite, "tidegate", values)
}

/// Installs a policy or binding under names and a namespace label of the test's own. Answers its name.
pub async fn install(client: &Client, namespace: &str, mut object: Value) -> String {
    let name = |value: &Value| json!(format!("{}-{namespace}", value.as_str().unwrap()));
    object["metadata"]["name"] = name(&object["metadata"]["name"]);
    if object["kind"] == "ValidatingAdmissionPolicyBinding" {
        object["spec"]["policyName"] = name(&object["spec"]["policyName"]);
        let labels = &mut object["spec"]["matchResources"]["namespaceSelector"]["matchLabels"];
        assert_eq!(labels["tidegate.dev/guard"], "enabled");
        labels["tidegate.dev/guard"] = json!(namespace);
    }
    let made: DynamicObject = serde_json::from_value(object.clone()).unwrap();
    api_of(client, &object).create(&PostParams::default(), &made).await.unwrap();
    made.metadata.name.unwrap()
}

/// Opts the namespace in, to what [`install`] installed for it.
pub async fn opt_in(client: &Client, namespace: &str) {
    let label = json!({"metadata": {"labels": {"tidegate.dev/guard": namespace}}});
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.patch(namespace, &PatchParams::default(), &Patch::Merge(label)).await.unwrap();
}

// === impl World ===

impl World {
    /// A namespace whose policies hold, with these values below `guard`; `None` after one printed line when parts are missing.
    pub async fn start(suite: &str, values: Value) -> Option<Self> {
        let plane = ControlPlane::shared(suite).await?;
        let client = plane.client().await;
        crate::crd::install(&client).await;
        let namespace = plane.namespace(&client, "guard").await;
        Self::guarding(suite, plane, &namespace, values).await
    }

    /// The same for a namespace that is there.
    pub async fn guarding(
        suite: &str,
        plane: &'static ControlPlane,
        namespace: &str,
        values: Value,
    ) -> Option<Self> {
        let mut guard = json!({"enabled": true, "mode": "Deny"});
        guard.as_object_mut().unwrap().extend(values.as_object().cloned().unwrap_or_default());
        let policies = render(suite, &json!({"guard": guard}))?;
        let client = plane.client().await;
        let controller = control_plane::client(&plane.kubeconfig_of(CONTROLLER, "system:masters")).await;
        let world = Self { plane, client, controller, namespace: namespace.to_owned() };
        for policy in policies {
            install(&world.client, &world.namespace, policy).await;
        }
        opt_in(&world.client, &world.namespace).await;
        Some(world)
    }

    /// Waits until the policies hold: a workload with this image is refused.
    pub async fn until_refused(&self, image: &str) {
        let waited = tokio::time::timeout(DEADLINE, async {
            while self.probe(image).await.0 == 201 {
                tokio::time::sleep(PACE).await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("{image} is never refused"));
    }

    /// Waits until a workload with this image passes.
    pub async fn until_passes(&self, image: &str) {
        let waited = tokio::time::timeout(DEADLINE, async {
            while self.probe(image).await.0 != 201 {
                tokio::time::sleep(PACE).await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("{image} never passes"));
    }

    /// What would become of a Deployment with this image.
    pub async fn probe(&self, image: &str) -> Answer {
        self.dry(&self.client, deployment("probe", &[image])).await
    }

    /// What would become of this object, made by that user.
    pub async fn dry(&self, client: &Client, object: Value) -> Answer {
        let (api, object) = self.of(client, object);
        let params = PostParams { dry_run: true, ..PostParams::default() };
        answer(api.create(&params, &object).await)
    }

    pub async fn create(&self, client: &Client, object: Value) -> Answer {
        let (api, object) = self.of(client, object);
        answer(api.create(&PostParams::default(), &object).await)
    }

    pub async fn patch(&self, client: &Client, object: &Value, patch: Value) -> Answer {
        let (api, object) = self.of(client, object.clone());
        let name = object.metadata.name.unwrap();
        answer(api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await)
    }

    pub fn of(&self, client: &Client, object: Value) -> (Api<DynamicObject>, DynamicObject) {
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        let types = object.types.clone().unwrap();
        let gvk = GroupVersionKind::try_from(&types).unwrap();
        (Api::namespaced_with(client.clone(), &self.namespace, &ApiResource::from_gvk(&gvk)), object)
    }

    /// A set with these images (name, repository, template) whose history holds `tags`, newest first and promoted, at the digest
    /// of each image's name and tag.
    pub async fn set(&self, name: &str, images: &[(&str, &str, &str)], tags: &[&str]) {
        let spec: Vec<Value> = images
            .iter()
            .map(|(name, repository, template)| {
                json!({"name": name, "repository": repository, "tagTemplate": template})
            })
            .collect();
        let set = json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": "ReleaseSet", "metadata": {"name": name},
            "spec": {"images": spec, "candidates": {"policy": {"alphabetical": {}}}},
        });
        let (api, object) = self.of(&self.client, set);
        let mut made = api.create(&PostParams::default(), &object).await.unwrap();
        let Some(newest) = tags.first() else { return };
        let at = "2026-01-01T00:00:00Z";
        let history = tags.iter().enumerate().map(|(age, tag)| {
            let digests: BTreeMap<_, _> =
                images.iter().map(|(name, ..)| (*name, digest(&format!("{name} {tag}")))).collect();
            json!({"tag": tag, "sequence": tags.len() - age, "at": at, "digests": digests})
        });
        let promoted = images.iter().map(|(name, repository, template)| {
            let digest = digest(&format!("{name} {newest}"));
            json!({"name": name, "repository": repository, "tag": template.replace("{tag}", newest),
                "digest": digest, "platforms": []})
        });
        made.data["status"] = json!({
            "observedGeneration": 1,
            "promoted": {"tag": newest, "sequence": tags.len(), "at": at, "generation": 1,
                "images": promoted.collect::<Vec<_>>()},
            "history": history.collect::<Vec<_>>(),
            "recent": [{"tag": "v-failed", "outcome": "Failed", "at": at},
                {"tag": "v-superseded", "outcome": "Superseded", "at": at}],
        });
        let (api, _) = self.of(&self.controller, serde_json::to_value(&made).unwrap());
        api.replace_status(name, &PostParams::default(), &made).await.unwrap();
    }

    /// Writes the list as the controller does.
    pub async fn sync(&self) -> Synced {
        let guard = Guard::new(self.controller.clone(), ApiResource::erase::<ReleaseSet>(&()));
        guard.sync(&self.namespace).await.unwrap()
    }
}

pub fn digest(of: &str) -> String {
    use sha2::Digest as _;
    let hash = sha2::Sha256::digest(of.as_bytes());
    hash.iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

fn answer(result: kube::Result<DynamicObject>) -> Answer {
    match result {
        Ok(_) => (201, String::new()),
        Err(kube::Error::Api(status)) => (status.code, status.message.clone()),
        Err(error) => panic!("the server did not answer: {error}"),
    }
}

/// A Deployment whose containers carry these images.
pub fn deployment(name: &str, images: &[&str]) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template(name, images)},
    })
}

pub fn template(name: &str, images: &[&str]) -> Value {
    let containers =
        images.iter().enumerate().map(|(at, image)| json!({"name": format!("c{at}"), "image": image}));
    json!({"metadata": {"labels": {"app": name}},
        "spec": {"restartPolicy": "Always", "containers": containers.collect::<Vec<_>>()}})
}
