//! Pull secrets of a spec: its own and those of its service account, read from the embedded Kubernetes API.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{LocalObjectReference, Secret, ServiceAccount};
use kube::api::{Api, DeleteParams, ObjectMeta, PostParams};
use tidegate::api::{manifest, validate};
use tidegate::controller::context::Context;
use tidegate::controller::credentials::{pull_secrets, read, wanted};
use tidegate::controller::reader::Reader;
use tidegate::embedded::api::{ApiFault, ApiServer, Verb};
use tidegate::registry::{Client, Credentials};
use tidegate::telemetry::metrics::Metrics;

use super::{client, clock};

const JSON: (&str, &str) = ("kubernetes.io/dockerconfigjson", ".dockerconfigjson");
const CFG: (&str, &str) = ("kubernetes.io/dockercfg", ".dockercfg");

struct World {
    server: ApiServer,
    context: Context,
}

// === impl World ===

impl World {
    fn new() -> Self {
        let server = ApiServer::new(clock());
        let registry = Arc::new(Client::new(clock()));
        let context = Context::new(client(&server), registry, clock(), Metrics::default());
        Self { server, context }
    }

    async fn secret(&self, name: &str, (kind, key): (&str, &str), content: &str) {
        let secrets: Api<Secret> = Api::namespaced(client(&self.server), "acme");
        if secrets.get_opt(name).await.unwrap().is_some() {
            secrets.delete(name, &DeleteParams::default()).await.unwrap();
        }
        let made = crate::cluster::secret(name, kind, &[(key, content)]);
        secrets.create(&PostParams::default(), &made).await.unwrap();
    }

    async fn account(&self, name: &str, pull_secrets: &[&str]) {
        let reference = |name: &&str| LocalObjectReference { name: (*name).to_owned() };
        let account = ServiceAccount {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            image_pull_secrets: Some(pull_secrets.iter().map(reference).collect()),
            ..ServiceAccount::default()
        };
        let accounts: Api<ServiceAccount> = Api::namespaced(client(&self.server), "acme");
        accounts.create(&PostParams::default(), &account).await.unwrap();
    }

    /// The credentials of `r.io/acme/app` under a `registry` of the spec, and the pull secrets of its pods.
    async fn read(&self, registry: &str) -> (Credentials, Vec<String>) {
        let text = format!(
            "apiVersion: tidegate.dev/v1alpha1\nkind: ReleaseSet\nmetadata: {{name: acme}}\nspec:\n  registry: {registry}\n  \
             images: [{{name: app, repository: r.io/acme/app}}]\n  candidates: {{policy: {{alphabetical: {{}}}}}}\n"
        );
        let spec = manifest::read(&text).unwrap().remove(0).spec;
        let (policy, wanted) = (
            validate::policy(&spec, 1).unwrap(),
            wanted(&spec, &tidegate::api::references::References::default()),
        );
        let reader = Reader::new(&self.context, "acme");
        let access = read(&reader, &policy, &wanted).await;
        let (name, access) = access.into_iter().next().unwrap();
        (access.credentials, pull_secrets(&reader, &wanted[&name]).await)
    }
}

fn config(user: &str) -> String {
    format!(r#"{{"auths":{{"r.io":{{"username":"{user}","password":"hunter2"}}}}}}"#)
}

fn tried(credentials: &Credentials) -> Vec<&str> {
    credentials.candidates().iter().map(|candidate| candidate.source.as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_secret_and_the_pull_secrets_of_an_account_are_joined() {
    let world = World::new();
    world.secret("pull", JSON, &config("own")).await;
    world.secret("old", CFG, r#"{"r.io/acme":{"username":"old","password":"hunter2"}}"#).await;
    world.secret("other", JSON, r#"{"auths":{"other.io":{"username":"x","password":"hunter2"}}}"#).await;
    world.account("builder", &["old", "other"]).await;
    let (credentials, pulls) = world.read("{secretRef: {name: pull}, serviceAccountName: builder}").await;
    assert_eq!(
        tried(&credentials),
        ["the entry `r.io/acme` of the Secret old", "the entry `r.io` of the Secret pull"],
        "the longer path first"
    );
    assert!(credentials.problems().is_empty());
    assert_eq!(pulls, ["old", "other", "pull"]);
}

#[tokio::test(start_paused = true)]
async fn a_rotated_secret_is_read_at_the_next_look() {
    let world = World::new();
    world.secret("pull", JSON, &config("before")).await;
    let (before, _) = world.read("{secretRef: {name: pull}}").await;
    world.secret("pull", JSON, &config("after")).await;
    let (after, _) = world.read("{secretRef: {name: pull}}").await;
    assert_ne!(before.fingerprint(), after.fingerprint(), "another identity");
}

#[tokio::test(start_paused = true)]
async fn a_bad_pull_secret_of_an_account_hides_no_other() {
    let world = World::new();
    world.secret("good", JSON, &config("ci")).await;
    world.secret("opaque", ("Opaque", "password"), "hunter2").await;
    world.secret("broken", JSON, "hunter2").await;
    world.secret("empty", (JSON.0, "password"), "hunter2").await;
    world.account("builder", &["gone", "opaque", "broken", "empty", "good"]).await;
    let (credentials, _) = world.read("{serviceAccountName: builder}").await;
    assert_eq!(tried(&credentials), ["the entry `r.io` of the Secret good"]);
    let problems = credentials.problems().join("\n");
    for words in [
        "the Secret gone does not exist in acme: create it",
        "the Secret opaque has type Opaque",
        "the Secret broken cannot be used: the docker config has broken JSON at line 1",
        "the Secret empty has no key .dockerconfigjson",
        "the ServiceAccount builder names it",
    ] {
        assert!(problems.contains(words), "{words}: {problems}");
    }
    assert!(!problems.contains("hunter2"), "{problems}");
}

#[tokio::test(start_paused = true)]
async fn an_account_or_secret_that_cannot_be_read_asks_nobody() {
    let world = World::new();
    let (credentials, pulls) = world.read("{serviceAccountName: nobody}").await;
    let why = credentials.refusal().unwrap();
    assert!(why.contains("the ServiceAccount nobody does not exist in acme"), "{why}");
    assert!(pulls.is_empty());
    world.account("builder", &[]).await;
    let (credentials, _) = world.read("{serviceAccountName: builder}").await;
    assert!(!credentials.is_configured(), "an account without pull secrets is nobody in particular");
    let (credentials, _) = world.read("{secretRef: {name: gone}, serviceAccountName: builder}").await;
    assert!(credentials.refusal().unwrap().contains("the Secret gone does not exist"));
}

#[tokio::test(start_paused = true)]
async fn what_rbac_forbids_is_named_with_the_rule_that_lacks() {
    let world = World::new();
    world.account("builder", &["pull"]).await;
    world.server.set_fault(Some(Arc::new(|request| {
        let refused = request.verb == Verb::Get && request.plural == "serviceaccounts";
        refused.then(|| ApiFault::Refuse {
            code: 403,
            reason: "Forbidden".to_owned(),
            message: "serviceaccounts \"builder\" is forbidden: User \"system:serviceaccount:tg:tidegate\" cannot get \
                      resource \"serviceaccounts\" in API group \"\" in the namespace \"acme\""
                .to_owned(),
        })
    })));
    let (credentials, _) = world.read("{serviceAccountName: builder}").await;
    let why = credentials.refusal().unwrap();
    assert!(why.contains("may not get serviceaccounts in namespace acme: add the rule"), "{why}");
}
