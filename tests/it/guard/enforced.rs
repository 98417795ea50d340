//! The controller at work in a namespace whose policies refuse: its own account may do everything that it has to, a smoke test of
//! what is not promoted yet among it, and a person may not.

use k8s_openapi::api::batch::v1::Job;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use super::following::{LIST, events, lines, prepare, until, until_lists, values};
use super::world::{install, opt_in, render_in};
use crate::controller::real::Real;

const SUITE: &str = "guard";

#[tokio::test]
async fn the_controller_promotes_tests_and_takes_back_what_a_person_may_not_touch() {
    let Some(mut real) = prepare(values()).await else { return };
    let guard = json!({"guard": {"enabled": true, "mode": "Deny"}});
    let Some(policies) = render_in(SUITE, &real.namespace, &guard) else { return };
    for policy in policies {
        install(&real.client, &real.namespace, policy).await;
    }
    opt_in(&real.client, &real.namespace).await;
    until("the second policy", async || match by_hand(&real, &target()).await {
        403 => Ok(()),
        code => Err(code.to_string()),
    })
    .await;
    real.start_controller().await;
    let mut spec = real.spec("acme-release");
    spec["deletionPolicy"] = json!("Delete");
    real.push_both("main-1").await;
    real.create("acme", spec).await;
    real.wait_for_target("acme-release", "main-1").await;
    real.wait_for("acme", "Ready", "True/Succeeded", "main-1").await;

    // A test of what the list does not hold.
    let test = json!({"image": "worker", "command": ["/app", "--self-check"]});
    real.patch("acme", json!({"spec": {"gates": [{"name": "boots", "smoke": test}]}})).await;
    real.push_both("main-2").await;
    let job = until("a smoke test of main-2", async || {
        real.ask("acme").await;
        let allowed = lines(&real, "allowed").await;
        let jobs: Api<Job> = Api::namespaced(real.client.clone(), &real.namespace);
        let jobs = jobs.list(&ListParams::default()).await.unwrap().items;
        let images: Vec<String> = jobs.iter().map(image).collect();
        let fresh = jobs.into_iter().find(|job| !allowed.contains(&image(job)));
        fresh.ok_or_else(|| format!("{images:?} are tested, {allowed:?} are allowed"))
    })
    .await;
    let mut same = serde_json::to_value(&job).unwrap();
    (same["apiVersion"], same["kind"]) = (json!("batch/v1"), json!("Job"));
    same["metadata"] = json!({"name": "mine", "labels": job.labels(), "annotations": job.annotations()});
    // What the server wrote into it for that Job alone.
    same["spec"]["template"]["metadata"] = json!({});
    (same["spec"]["selector"], same["status"]) = (Value::Null, Value::Null);
    assert_eq!(by_hand(&real, &same).await, 403, "the same Job by a person");

    real.patch("acme", json!({"spec": {"gates": null}})).await;
    real.wait_for_target("acme-release", "main-2").await;
    until_lists(&real, "worker", "main-2", true).await;
    // deletionPolicy Delete: what nobody else may delete goes with its set, and the list lets go of it.
    let refused = real.config_maps().delete("acme-release", &DeleteParams::default()).await.unwrap_err();
    assert!(matches!(refused, kube::Error::Api(status) if status.code == 403));
    real.sets().delete("acme", &DeleteParams::default()).await.unwrap();
    until("the target to be gone", async || {
        match real.config_maps().get_opt("acme-release").await.unwrap() {
            None => Ok(()),
            Some(found) => Err(format!("{:?}", found.data)),
        }
    })
    .await;
    until_lists(&real, "worker", "main-2", false).await;
    assert!(real.config_maps().get_opt(LIST).await.unwrap().is_some());
    assert_eq!(events(&real, "GuardNotWritten").await, []);
    assert_eq!(real.refused(), []);
}

/// `repository@digest` of the only container.
fn image(job: &Job) -> String {
    let pod = job.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
    pod.containers[0].image.clone().unwrap()
}

fn target() -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "labels": {"tidegate.dev/set": "x"}}})
}

/// The code of the answer to an administrator who would create this.
async fn by_hand(real: &Real, object: &Value) -> u16 {
    let mut object = object.clone();
    object["metadata"]["namespace"] = json!(real.namespace);
    let api = crate::cluster::chart::api_of(&real.client, &object);
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    match api.create(&dry, &serde_json::from_value(object).unwrap()).await {
        Ok(_) => 201,
        Err(kube::Error::Api(status)) => status.code,
        Err(error) => panic!("the server did not answer: {error}"),
    }
}
