//! The objects that users of Flux write, as small as they can be, for tests to change with [`kube::api::Patch`].

use kube::api::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use super::git::BRANCH;

/// Kind, group, version and plural of everything that a test touches.
const KINDS: [(&str, &str, &str, &str); 12] = [
    ("ConfigMap", "", "v1", "configmaps"),
    ("Deployment", "apps", "v1", "deployments"),
    ("GitRepository", "source.toolkit.fluxcd.io", "v1", "gitrepositories"),
    ("HelmRelease", "helm.toolkit.fluxcd.io", "v2", "helmreleases"),
    ("ImagePolicy", "image.toolkit.fluxcd.io", "v1", "imagepolicies"),
    ("ImageRepository", "image.toolkit.fluxcd.io", "v1", "imagerepositories"),
    ("ImageUpdateAutomation", "image.toolkit.fluxcd.io", "v1", "imageupdateautomations"),
    ("Kustomization", "kustomize.toolkit.fluxcd.io", "v1", "kustomizations"),
    ("OCIRepository", "source.toolkit.fluxcd.io", "v1", "ocirepositories"),
    ("ReleaseSet", "tidegate.dev", "v1alpha1", "releasesets"),
    ("ResourceSetInputProvider", "fluxcd.controlplane.io", "v1", "resourcesetinputproviders"),
    ("Secret", "", "v1", "secrets"),
];

/// Where objects of that kind are served.
///
/// # Panics
/// For a kind that is not in the list above.
pub fn resource(kind: &str) -> ApiResource {
    let (kind, group, version, plural) = KINDS
        .into_iter()
        .find(|(known, ..)| *known == kind)
        .unwrap_or_else(|| panic!("{kind} is not among the kinds of these tests"));
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

/// An object of that kind with this spec.
pub fn object(kind: &str, name: &str, spec: &Value) -> Value {
    let resource = resource(kind);
    json!({"apiVersion": resource.api_version, "kind": kind, "metadata": {"name": name}, "spec": spec})
}

/// The branch of a repository.
pub fn git_repository(name: &str, url: &str) -> Value {
    object("GitRepository", name, &json!({"url": url, "interval": "10m", "ref": {"branch": BRANCH}}))
}

/// Applies a folder of a GitRepository to `namespace`; waits for nothing, for there are no nodes.
pub fn kustomization(name: &str, source: &str, path: &str, namespace: &str) -> Value {
    let spec = json!({
        "interval": "10m", "retryInterval": "2s", "prune": true, "wait": false, "path": path,
        "targetNamespace": namespace, "sourceRef": {"kind": "GitRepository", "name": source},
    });
    object("Kustomization", name, &spec)
}

/// Where a chart is taken from; [`super::source::Source::chart`] puts it there.
pub fn oci_repository(name: &str) -> Value {
    object(
        "OCIRepository",
        name,
        &json!({"url": format!("oci://charts.example.com/{name}"), "interval": "10m"}),
    )
}

/// Installs the chart of an OCIRepository and waits for nothing, for there are no nodes.
pub fn helm_release(name: &str, chart: &str, values_from: &Value) -> Value {
    let spec = json!({
        "interval": "10m", "chartRef": {"kind": "OCIRepository", "name": chart}, "valuesFrom": values_from,
        "install": {"disableWait": true, "strategy": {"name": "RetryOnFailure", "retryInterval": "2s"}},
        "upgrade": {"disableWait": true, "strategy": {"name": "RetryOnFailure", "retryInterval": "2s"}},
    });
    object("HelmRelease", name, &spec)
}

/// Scans an image of a registry on loopback each `interval`.
pub fn image_repository(name: &str, image: &str, interval: &str) -> Value {
    object("ImageRepository", name, &json!({"image": image, "interval": interval, "insecure": true}))
}

/// The naive policy: the newest of `main-<number>`, whatever its siblings do.
pub fn newest_main(name: &str, repository: &str) -> Value {
    let spec = json!({
        "imageRepositoryRef": {"name": repository},
        "filterTags": {"pattern": "^main-(?P<n>[0-9]+)$", "extract": "$n"},
        "policy": {"numerical": {"order": "asc"}},
    });
    object("ImagePolicy", name, &spec)
}

/// Commits what the policies of its namespace name into the folder `path` of a GitRepository.
pub fn image_update_automation(name: &str, source: &str, path: &str) -> Value {
    let spec = json!({
        "interval": "10m", "sourceRef": {"kind": "GitRepository", "name": source},
        "git": {
            "checkout": {"ref": {"branch": BRANCH}},
            "commit": {"author": {"name": "flux", "email": "flux@example.com"}},
            "push": {"branch": BRANCH},
        },
        "update": {"strategy": "Setters", "path": path},
    });
    object("ImageUpdateAutomation", name, &spec)
}

/// A Deployment of one container as a file in Git; `image` is written as it is, so that it may end in a marker comment or hold
/// `${VARIABLES}`.
pub fn deployment(name: &str, image: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
spec:
  selector:
    matchLabels: {{app: {name}}}
  template:
    metadata:
      labels: {{app: {name}}}
    spec:
      containers:
      - name: {name}
        image: {image}
"
    )
}

/// The comment that tells image-automation-controller to write `repository:tag` of a policy in front of it.
pub fn marker(namespace: &str, policy: &str) -> String {
    format!("# {{\"$imagepolicy\": \"{namespace}:{policy}\"}}")
}

/// A marker that takes only the tag, so that one policy can move the tags of all siblings; the scalar in front of it must be
/// the tag alone.
pub fn tag_marker(namespace: &str, policy: &str) -> String {
    format!("# {{\"$imagepolicy\": \"{namespace}:{policy}:tag\"}}")
}

/// A `kustomization.yaml` whose `images` take their tags from one policy: the way to move the tag of siblings in different
/// repositories by one marker each. `images` are names as the Deployments write them and repositories.
pub fn kustomization_file(resources: &[&str], images: &[(&str, &str)], tag: &str, marker: &str) -> String {
    let resources: Vec<_> = resources.iter().map(|file| format!("- {file}\n")).collect();
    let image =
        |(name, to): &(&str, &str)| format!("- name: {name}\n  newName: {to}\n  newTag: {tag} {marker}\n");
    let images: Vec<_> = images.iter().map(image).collect();
    let (resources, images) = (resources.concat(), images.concat());
    format!(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n{resources}images:\n{images}"
    )
}
