//! What the chart renders: accepted by a real API server, refused where a value is wrong, the same as the command's defaults.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser as _;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tidegate::cli::args::{Cli, Command as Subcommand, ControllerArgs};
use tidegate::controller::leader::election::lease_name;

use crate::cluster::chart::{Chart, api_of, objects};
use crate::cluster::control_plane::ControlPlane;

const SUITE: &str = "chart";
const RELEASE: &str = "tidegate";

/// The values of every file below `ci/`, by its name, and the defaults.
fn cases() -> Vec<(String, Value)> {
    let files = fs::read_dir(Chart::folder().join("ci")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.collect();
    files.sort();
    let read = |path: &PathBuf| serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    let defaults = ("the defaults".to_owned(), json!({}));
    [defaults].into_iter().chain(files.iter().map(|path| (name(path), read(path)))).collect()
}

fn render(chart: &Chart, values: &Value) -> Vec<Value> {
    chart.render(RELEASE, RELEASE, values).unwrap_or_else(|error| panic!("{values}: {error}"))
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

/// What the server says to an object that is applied, with fields that it does not know refused. Nothing is written.
async fn accepts(client: &Client, object: &Value) -> Result<(), String> {
    let params = PatchParams { dry_run: true, ..PatchParams::apply("tests") }.force().validation_strict();
    let typed: DynamicObject = serde_json::from_value(object.clone()).unwrap();
    let name = object["metadata"]["name"].as_str().expect("a name");
    let applied = api_of(client, object).patch(name, &params, &Patch::Apply(&typed)).await;
    applied.map(|_| ()).map_err(|error| format!("{} {name}: {error}", object["kind"]))
}

/// Namespaces in which only pods of the PodSecurity standard "restricted" may run.
async fn restricted(client: &Client, name: &str) {
    let enforce = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let namespace = serde_json::from_value(json!({"metadata": {"name": name, "labels": enforce}})).unwrap();
    match Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &namespace).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        Err(error) => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn everything_is_accepted_with_the_defaults_and_with_each_example() {
    let (Some(chart), Some(plane)) = (Chart::require(SUITE), ControlPlane::shared(SUITE).await) else {
        return;
    };
    let client = plane.client().await;
    restricted(&client, RELEASE).await;
    let pods: Api<Pod> = Api::namespaced(client.clone(), RELEASE);
    for (name, values) in cases() {
        let objects = render(&chart, &values);
        assert!(!of_kind(&objects, "Deployment").is_empty(), "{name}");
        for object in &objects {
            accepts(&client, object).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        // Deployments only warn: it is their pods that are refused.
        let templates = of_kind(&objects, "Deployment").into_iter().map(|object| &object["spec"]["template"]);
        for (number, template) in templates.chain(of_kind(&objects, "Pod")).enumerate() {
            let pod = json!({"metadata": {"name": format!("pod-{number}")}, "spec": template["spec"]});
            let params = PostParams { dry_run: true, ..PostParams::default() };
            let made = pods.create(&params, &serde_json::from_value(pod).unwrap()).await;
            made.unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}

#[tokio::test]
async fn a_pod_that_is_not_restricted_is_refused_there() {
    let Some(plane) = ControlPlane::shared(SUITE).await else { return };
    let client = plane.client().await;
    restricted(&client, RELEASE).await;
    let pods: Api<Pod> = Api::namespaced(client.clone(), RELEASE);
    let pod = json!({"metadata": {"name": "pod"}, "spec": {"containers": [{"name": "a", "image": "a"}]}});
    let params = PostParams { dry_run: true, ..PostParams::default() };
    let refused = pods.create(&params, &serde_json::from_value(pod).unwrap()).await.unwrap_err();
    assert!(refused.to_string().contains("violates PodSecurity \"restricted"), "{refused}");
}

/// `make manifests` as it is: applied in its order to a cluster that has nothing of it.
#[tokio::test]
async fn the_plain_manifests_can_be_applied_as_they_are() {
    if Chart::require(SUITE).is_none() {
        return;
    }
    let Some(plane) = ControlPlane::shared(SUITE).await else { return };
    let client = plane.client().await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("hack/manifests");
    // A namespace of its own: names of cluster-wide objects then have it too.
    let output = Command::new(script).args(["--namespace", "tidegate-plain"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let objects = objects(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(objects[0]["kind"], "Namespace", "the rest lies in it");
    assert!(of_kind(&objects, "Pod").is_empty(), "the test pod is no part of an installation");
    for object in objects {
        let params = PatchParams::apply("kubectl").force();
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let typed: DynamicObject = serde_json::from_value(object.clone()).unwrap();
        let applied = api_of(&client, &object).patch(&name, &params, &Patch::Apply(&typed)).await;
        applied.unwrap_or_else(|error| panic!("{} {name}: {error}", object["kind"]));
    }
}

#[test]
fn a_value_that_is_wrong_is_refused_with_its_name() {
    let Some(chart) = Chart::require(SUITE) else { return };
    let cases = [
        (json!({"replica": 3}), "'replica' not allowed"),
        (json!({"rbac": {"smok": false}}), "at '/rbac': additional properties 'smok' not allowed"),
        (json!({"image": {"digest": "latest"}}), "at '/image/digest'"),
        (json!({"image": {"repository": "ghcr.io/tidegate/tidegate:v1"}}), "at '/image/repository'"),
        (json!({"concurrency": 0}), "at '/concurrency'"),
        (json!({"log": {"format": "yaml"}}), "at '/log/format'"),
        (json!({"terminationGracePeriodSeconds": 5}), "at '/terminationGracePeriodSeconds'"),
        (json!({"secrets": {"namespaces": "acme"}}), "at '/secrets/namespaces'"),
        (json!({"shards": [{"name": "a"}]}), "missing property 'labelSelector'"),
        (
            json!({"shards": [{"name": "a", "labelSelector": "shard=a"}], "watchLabelSelector": "x=y"}),
            "shards and watchLabelSelector exclude each other",
        ),
    ];
    for (values, words) in cases {
        let refused = chart.render(RELEASE, RELEASE, &values).unwrap_err();
        assert!(refused.contains(words), "{values}: {refused}");
    }
}

/// Objects of a schema that name their keys and let others in.
fn open(path: &str, schema: &Value, found: &mut Vec<String>) {
    if schema["properties"].is_object() && schema["additionalProperties"] != false {
        found.push(path.to_owned());
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        open(&format!("{path}.{name}"), property, found);
    }
}

/// Every object of the schema says which keys it has, or holds what Kubernetes checks.
#[test]
fn the_schema_refuses_what_it_does_not_know_at_every_level() {
    let text = fs::read_to_string(Chart::folder().join("values.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&text).unwrap();
    let mut found = Vec::new();
    open("", &schema, &mut found);
    assert!(found.is_empty(), "additionalProperties is not false at {found:?}");
}

fn controller_args(arguments: impl IntoIterator<Item = String>) -> ControllerArgs {
    let parsed = Cli::try_parse_from(["tidegate".to_owned()].into_iter().chain(arguments));
    match parsed.unwrap_or_else(|error| panic!("{error}")).command {
        Subcommand::Controller(arguments) => arguments,
        other => panic!("{other:?}"),
    }
}

fn arguments_of(deployment: &Value) -> ControllerArgs {
    let arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap();
    controller_args(arguments.iter().map(|argument| argument.as_str().unwrap().to_owned()))
}

#[test]
fn the_defaults_of_the_chart_are_those_of_the_command() {
    let Some(chart) = Chart::require(SUITE) else { return };
    let objects = render(&chart, &json!({}));
    let [deployment] = of_kind(&objects, "Deployment").try_into().unwrap();
    let defaults = controller_args(["controller".to_owned()]);
    assert_eq!(format!("{:?}", arguments_of(deployment)), format!("{defaults:?}"));
}

#[test]
fn each_value_reaches_its_flag() {
    let Some(chart) = Chart::require(SUITE) else { return };
    let (_, values) = cases().into_iter().find(|(name, _)| name == "everything-values.yaml").unwrap();
    let objects = render(&chart, &values);
    let [deployment] = of_kind(&objects, "Deployment").try_into().unwrap();
    let arguments = arguments_of(deployment);
    assert_eq!(arguments.concurrency, 128);
    assert_eq!(arguments.registry_requests_per_second_per_host, 50);
    assert_eq!((arguments.smoke_tests_per_set, arguments.smoke_tests), (8, 100));
    let address = arguments.flux_events_addr.unwrap();
    assert_eq!(address.as_str(), "http://notification-controller.flux-system.svc/");
    assert_eq!(arguments.log_level, "info,tidegate::registry=debug");
    assert_eq!(arguments.leader_elect, Some(true), "extraArgs");
    let digest = format!("registry.example:5000/mirror/tidegate@sha256:{}", "0".repeat(64));
    assert_eq!(deployment["spec"]["template"]["spec"]["containers"][0]["image"], digest);
    assert_eq!(deployment["metadata"]["name"], "release-gate");
}

#[test]
fn shards_have_arguments_and_leases_of_their_own() {
    let Some(chart) = Chart::require(SUITE) else { return };
    let (_, values) = cases().into_iter().find(|(name, _)| name == "shards-values.yaml").unwrap();
    let objects = render(&chart, &values);
    let deployments = of_kind(&objects, "Deployment");
    let names: Vec<_> =
        deployments.iter().map(|object| object["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["tidegate-a", "tidegate-rest"]);
    let leases: BTreeSet<String> = deployments
        .iter()
        .map(|deployment| lease_name(None, arguments_of(deployment).watch_label_selector.as_deref()))
        .collect();
    assert_eq!(leases.len(), deployments.len(), "{leases:?}");
    // No Deployment, and no budget, selects the pods of another.
    let labels = |object: &Value| object["spec"]["selector"]["matchLabels"].clone();
    assert_ne!(labels(deployments[0]), labels(deployments[1]));
    let budgets = of_kind(&objects, "PodDisruptionBudget");
    assert_eq!(
        budgets.into_iter().map(labels).collect::<Vec<_>>(),
        deployments.into_iter().map(labels).collect::<Vec<_>>()
    );
}

#[test]
fn one_namespace_is_served_without_a_right_in_others() {
    let Some(chart) = Chart::require(SUITE) else { return };
    let objects = render(&chart, &json!({"watchNamespace": "acme"}));
    let cluster_wide: Vec<_> = of_kind(&objects, "ClusterRoleBinding")
        .into_iter()
        .map(|binding| binding["roleRef"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(cluster_wide, ["tidegate-crd"]);
    let places: BTreeSet<_> = of_kind(&objects, "RoleBinding")
        .into_iter()
        .map(|binding| binding["metadata"]["namespace"].as_str().unwrap())
        .collect();
    assert_eq!(places, ["acme", RELEASE].into());
}

/// Whoever writes the status moves production.
#[test]
fn people_get_release_sets_and_never_their_status() {
    let Some(chart) = Chart::require(SUITE) else { return };
    let objects = render(&chart, &json!({}));
    let aggregated = |role: &&&Value| {
        role["metadata"]["labels"].as_object().unwrap().keys().any(|key| key.contains("aggregate-to"))
    };
    let roles = of_kind(&objects, "ClusterRole");
    let people: Vec<_> = roles.iter().filter(aggregated).collect();
    assert_eq!(people.len(), 2);
    assert!(people.iter().all(|role| role["rules"].to_string().contains("releasesets")
        && !role["rules"].to_string().contains("status")));
    let bound = of_kind(&objects, "ClusterRoleBinding");
    assert!(
        bound
            .iter()
            .all(|binding| people.iter().all(|role| role["metadata"]["name"] != binding["roleRef"]["name"]))
    );
}

/// The file that the template takes is what the command prints, and Helm leaves it at `helm uninstall`.
#[test]
fn the_definition_is_the_commands_own_and_is_kept() {
    let copy = fs::read_to_string(Chart::folder().join("files/crds.yaml")).unwrap();
    assert!(
        copy == tidegate::api::crd::crd_yaml().unwrap(),
        "charts/tidegate/files is stale; run: make generate"
    );
    let Some(chart) = Chart::require(SUITE) else { return };
    let objects = render(&chart, &json!({}));
    let [definition] = of_kind(&objects, "CustomResourceDefinition").try_into().unwrap();
    assert_eq!(definition["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
    let ours = serde_json::to_value(tidegate::api::crd::crd()).unwrap();
    assert_eq!(definition["spec"], ours["spec"]);
    assert!(
        of_kind(&render(&chart, &json!({"crds": {"install": false}})), "CustomResourceDefinition").is_empty()
    );
}

/// What Artifact Hub shows is a ReleaseSet that `lint` accepts, for the version that is shipped.
#[test]
fn the_annotations_tell_of_what_is_shipped() {
    let text = fs::read_to_string(Chart::folder().join("Chart.yaml")).unwrap();
    let chart: Value = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    let annotation =
        |name: &str| chart["annotations"][format!("artifacthub.io/{name}")].as_str().unwrap().to_owned();
    let list = |name: &str| serde_saphyr::from_str::<Vec<Value>>(&annotation(name)).unwrap();
    for set in list("crdsExamples") {
        let spec = serde_json::from_value(set["spec"].clone()).unwrap();
        tidegate::api::validate::policy(&spec, 1).unwrap();
    }
    let image = format!("ghcr.io/tidegate/tidegate:{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(list("images")[0]["image"], image);
    assert_eq!(list("crds")[0]["name"], "releasesets.tidegate.dev");
    assert!(!list("changes").is_empty());
}
