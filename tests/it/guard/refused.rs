//! While the list cannot be written no target moves: admission would refuse what it names. When that is mended it goes on.

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use super::following::{
    LIST, events, held, lines, one_event, prepare, until, until_held, until_lists, until_tried_again, values,
};
use super::world::{install, opt_in, render_in};
use crate::cluster::tools::Tools;
use crate::controller::real::Real;
use crate::flux::{controllers, objects};

const SUITE: &str = "guard";

#[tokio::test]
async fn while_its_role_lacks_the_rule_no_target_moves() {
    let Some(tools) = Tools::require(SUITE, &["flux-crds"]) else { return };
    let mut values = values();
    // Their rule would do for the list too.
    values["rbac"] = json!({"targets": {"configMap": false}});
    let Some(mut real) = prepare(values).await else { return };
    controllers::install(&real.client, tools.path("flux-crds")).await;
    real.start_controller().await;
    real.push_both("main-1").await;
    let mut spec = real.spec("unused");
    spec["targets"] =
        json!([{"name": "flux", "imagePolicy": {"name": "shop", "imageRepositoryRef": {"name": "app"}}}]);
    real.create("acme", spec).await;
    until_policy(&real, "^main-1$").await;
    let rules = rules_of(&real).await;
    set_rules(&real, json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch", "create"]}]))
        .await;
    until_may_update(&real, false).await;

    real.push_both("main-2").await;
    real.ask("acme").await;
    let status = real.wait("acme", until_held).await;
    assert_eq!(status.promoted.as_ref().unwrap().tag, "main-2", "the commit stands");
    assert!(held(&status).contains("may not update configmaps"), "{:?}", status.targets);
    let ready = status.conditions.iter().find(|known| known.condition == "Ready").unwrap();
    assert_eq!(ready.status, "False", "{ready:?}");
    until_tried_again(&real, "acme").await;
    assert!(one_event(&real, "GuardNotWritten").await.contains("may not update configmaps"));
    assert_eq!(policy(&real).await.as_deref(), Some("^main-1$"));
    until_lists(&real, "app", "main-2", false).await;

    set_rules(&real, rules).await;
    // Without being asked.
    until_policy(&real, "^main-2$").await;
    until_lists(&real, "app", "main-2", true).await;
    real.wait_for("acme", "Ready", "True/Succeeded", "main-2").await;
    assert_eq!(events(&real, "GuardNotWritten").await.len(), 1);
    assert!(real.refused().iter().all(|request| request.resource == "configmaps"), "{:?}", real.refused());
}

#[tokio::test]
async fn while_admission_refuses_the_list_no_target_moves() {
    let Some(mut real) = prepare(values()).await else { return };
    // The policy of a second installation, which knows another controller; ConfigMaps are all that it is to judge here.
    let guard = json!({"guard": {"enabled": true, "mode": "Deny"}});
    let Some(policies) = render_in(SUITE, "elsewhere", &guard) else { return };
    let mut binding = None;
    for mut object in policies {
        if !object["metadata"]["name"].as_str().unwrap().ends_with("-records") {
            continue;
        }
        if let Some(rules) =
            object["spec"].pointer_mut("/matchConstraints/resourceRules").and_then(Value::as_array_mut)
        {
            rules.retain(|rule| rule["resources"] == json!(["configmaps"]));
        }
        binding = Some(install(&real.client, &real.namespace, object).await);
    }
    opt_in(&real.client, &real.namespace).await;
    until("the policy to hold", async || {
        let list: ConfigMap = serde_json::from_value(json!({"metadata": {"name": LIST}})).unwrap();
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        match real.config_maps().create(&dry, &list).await {
            Err(kube::Error::Api(status)) if status.code == 403 => Ok(()),
            answer => Err(format!("{answer:?}")),
        }
    })
    .await;
    real.start_controller().await;
    real.push_both("main-1").await;
    real.create("acme", real.spec("acme-release")).await;
    let status = real.wait("acme", until_held).await;
    assert!(held(&status).contains("an admission webhook or policy refuses it"), "{:?}", status.targets);
    until_tried_again(&real, "acme").await;
    assert!(one_event(&real, "GuardNotWritten").await.contains("denied request"));
    assert!(real.config_maps().get_opt("acme-release").await.unwrap().is_none());

    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(real.client.clone());
    bindings.delete(&binding.unwrap(), &DeleteParams::default()).await.unwrap();
    real.wait_for_target("acme-release", "main-1").await;
    assert!(!lines(&real, "allowed").await.is_empty());
    assert_eq!(events(&real, "GuardNotWritten").await.len(), 1);
    assert_eq!(real.refused(), []);
}

/// What the target's ImagePolicy selects.
async fn policy(real: &Real) -> Option<String> {
    let policies: Api<DynamicObject> =
        Api::namespaced_with(real.client.clone(), &real.namespace, &objects::resource("ImagePolicy"));
    let found = policies.get_opt("shop").await.unwrap()?;
    Some(found.data["spec"]["filterTags"]["pattern"].as_str()?.to_owned())
}

async fn until_policy(real: &Real, pattern: &str) {
    until(&format!("ImagePolicy {pattern}"), async || {
        let now = policy(real).await;
        if now.as_deref() == Some(pattern) {
            Ok(())
        } else {
            Err(format!("{now:?}, {:#?}", real.status("acme").await))
        }
    })
    .await;
}

fn roles(real: &Real) -> (Api<ClusterRole>, String) {
    (Api::all(real.client.clone()), format!("{}-tidegate-guard", real.namespace))
}

async fn rules_of(real: &Real) -> Value {
    let (roles, name) = roles(real);
    let role = roles.get(&name).await.unwrap();
    assert_eq!(role.name_any(), name);
    serde_json::to_value(role.rules).unwrap()
}

async fn set_rules(real: &Real, rules: Value) {
    let (roles, name) = roles(real);
    let patch = Patch::Merge(json!({ "rules": rules }));
    roles.patch(&name, &PatchParams::default(), &patch).await.unwrap();
}

/// Waits until the API server knows whether the controller may change the list.
async fn until_may_update(real: &Real, wanted: bool) {
    let attributes = ResourceAttributes {
        verb: Some("update".to_owned()),
        resource: Some("configmaps".to_owned()),
        name: Some(LIST.to_owned()),
        namespace: Some(real.namespace.clone()),
        ..ResourceAttributes::default()
    };
    let (user, _) = real.account();
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(user.to_owned()),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let reviews: Api<SubjectAccessReview> = Api::all(real.client.clone());
    until("the changed rule", async || {
        let answer = reviews.create(&PostParams::default(), &review).await.unwrap().status.unwrap();
        if answer.allowed == wanted { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
}
