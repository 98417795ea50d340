//! Features that are off: what asks for one says which right is missing, and everything else works.

use kube::api::{Api, PostParams};
use serde_json::{Value, json};

use crate::cluster::chart::{Chart, NAME};
use crate::controller::real::Real;

const SUITE: &str = "rights of the chart";

/// Cluster-wide bindings, as by default; the label keeps this controller from the sets of other tests.
#[tokio::test]
async fn a_namespace_opts_in_to_its_secrets_by_a_binding_of_its_own() {
    let Some(real) = Real::prepare_with(SUITE, json!({})).await else { return };
    let selector = format!("--watch-label-selector=test={}", real.namespace);
    let _controller = real.run(&[&selector]).await;
    let mut spec = real.spec("acme-release");
    spec["registry"]["secretRef"] = json!({"name": "pull"});
    real.push_both("main-1").await;
    real.create("acme", spec).await;
    real.patch("acme", json!({"metadata": {"labels": {"test": real.namespace}}})).await;
    let told = |status: &tidegate::api::ReleaseSetStatus| {
        let said = serde_json::to_string(status).unwrap();
        if said.contains(r#"resources [\"secrets\"], verbs [\"get\"]"#) { Vec::new() } else { vec![said] }
    };
    real.wait("acme", told).await;
    // As the comment of the chart's role says.
    let binding = json!({
        "metadata": {"name": "tidegate-credentials"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
            "name": format!("{}-{NAME}-credentials", real.namespace)},
        "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": real.namespace}],
    });
    let bindings: Api<k8s_openapi::api::rbac::v1::RoleBinding> =
        Api::namespaced(real.client.clone(), &real.namespace);
    bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
    let secret = json!({"metadata": {"name": "pull"}, "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": r#"{"auths": {}}"#}});
    let secrets: Api<k8s_openapi::api::core::v1::Secret> =
        Api::namespaced(real.client.clone(), &real.namespace);
    secrets.create(&PostParams::default(), &serde_json::from_value(secret).unwrap()).await.unwrap();
    real.wait_for("acme", "Ready", "True/Succeeded", "main-1 is promoted").await;
    let refused = real.refused();
    let others: Vec<_> = refused.iter().filter(|request| request.resource != "secrets").collect();
    assert!(others.is_empty(), "{others:#?}");
}

/// The least that the chart gives: ConfigMaps of one namespace.
#[tokio::test]
async fn a_set_without_gates_works_where_no_job_may_be_listed() {
    let path = Chart::folder().join("ci/one-namespace-values.yaml");
    let mut values: Value = serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    values["secrets"] = json!({"namespaces": []});
    let Some(real) = Real::prepare_with(SUITE, values).await else { return };
    let namespace = format!("--watch-namespace={}", real.namespace);
    let _controller = real.run(&[&namespace]).await;
    real.push_both("main-1").await;
    real.create("acme", real.spec("acme-release")).await;
    real.wait_for("acme", "Ready", "True/Succeeded", "main-1 is promoted").await;
    real.wait_for_target("acme-release", "main-1").await;
    // Watched kinds that it may not see, and nothing else; none of them was written.
    let refused = real.refused();
    let looks = refused.iter().all(|request| ["list", "watch"].contains(&&*request.verb));
    assert!(looks && refused.iter().any(|request| request.resource == "jobs"), "{refused:#?}");
}
