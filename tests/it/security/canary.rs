//! S8: what a Secret holds is in no log, status, event, metric or error, whatever becomes of it. Each way by which a credential
//! comes in has a word of its own that stands nowhere else; the log is at its most talkative.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::StatusCode;
use k8s_openapi::api::core::v1::{ConfigMap, Event, LocalObjectReference, Pod, Secret, ServiceAccount};
use k8s_openapi::api::events::v1::Event as NewEvent;
use kube::api::{ListParams, PostParams};
use kube::core::ObjectMeta;
use kube::{Api, Client};
use serde_json::{Value, json};
use tidegate::embedded::image::{ImageDescription, ImagePlatform, Index};
use tidegate::embedded::registry::{Auth, Credentials, Habit, On, Options, RegistryServer, Reply, Rule};
use tidegate::invariants::s8_no_secret;
use tidegate::telemetry::clock::Clock;

use crate::cluster::certificates::Authority;
use crate::cluster::secret;
use crate::controller::real::Real;

const SUITE: &str = "canaries";
const DOCKER_CONFIG: &str = "kubernetes.io/dockerconfigjson";

/// One way of a credential, from a Secret to what became of it.
struct Way<'a> {
    /// Of the set, and of its Secret where it has one.
    name: &'static str,
    /// Where its images are.
    at: &'a RegistryServer,
    /// `registry` of the set.
    registry: Value,
    /// What the condition Ready says in the end.
    ready: (&'static str, &'static str),
}

/// Registries that want each a credential of their own, and two that give back what they are sent.
struct Registries {
    basic: RegistryServer,
    bearer: RegistryServer,
    identity: RegistryServer,
    account: RegistryServer,
    echo: RegistryServer,
    token_echo: RegistryServer,
}

fn docker_config(name: &str, host: &str, login: &Value) -> Secret {
    secret(name, DOCKER_CONFIG, &[(".dockerconfigjson", &json!({"auths": {host: login}}).to_string())])
}

/// A registry that holds `acme/app` and `acme/worker` under `main-1`.
async fn registry(auth: Auth, rules: Vec<Rule>) -> RegistryServer {
    let registry = RegistryServer::start(Options::default(), Clock::system()).await.unwrap();
    for name in ["app", "worker"] {
        let image = ImageDescription::new(ImagePlatform::parse("linux/amd64").unwrap(), name).build();
        let index = Index::build(vec![image], &BTreeMap::new());
        registry.push_index(&format!("acme/{name}"), Some("main-1"), &index);
    }
    registry.set_auth(auth);
    for rule in rules {
        registry.plan(rule);
    }
    registry
}

fn login(password: &str) -> Value {
    json!({"username": "reader", "password": password})
}

/// Everything of the namespace that people and programs may read without a right to Secrets.
async fn told(client: &Client, namespace: &str) -> Vec<(&'static str, String)> {
    async fn all<K>(client: &Client, namespace: &str) -> String
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned
            + serde::Serialize,
    {
        let api: Api<K> = Api::namespaced(client.clone(), namespace);
        serde_json::to_string(&api.list(&ListParams::default()).await.unwrap().items).unwrap()
    }
    vec![
        ("ReleaseSets", all::<tidegate::api::ReleaseSet>(client, namespace).await),
        ("Events", all::<Event>(client, namespace).await),
        ("events.k8s.io", all::<NewEvent>(client, namespace).await),
        ("ConfigMaps", all::<ConfigMap>(client, namespace).await),
        ("Pods", all::<Pod>(client, namespace).await),
    ]
}

/// The words in the forms in which they could come out.
fn forms(canary: &str) -> Vec<String> {
    let with_user = BASE64_STANDARD.encode(format!("reader:{canary}"));
    vec![canary.to_owned(), BASE64_STANDARD.encode(canary), with_user, canary.replace('-', "%2D")]
}

fn found_in<'a>(canaries: &'a [String], place: &str, text: &str) -> Vec<String> {
    let leaks = |canary: &&'a String| {
        let forms = forms(canary);
        let forms: Vec<&str> = forms.iter().map(String::as_str).collect();
        !s8_no_secret(place, text, &forms).is_empty()
    };
    canaries.iter().filter(leaks).map(|canary| format!("{canary} in {place}")).collect()
}

#[test]
fn a_word_that_comes_out_is_found_in_each_of_its_forms() {
    let canaries = ["canary-of-a-test".to_owned()];
    for text in ["..canary-of-a-test..", "cmVhZGVyOmNhbmFyeS1vZi1hLXRlc3Q=", "Y2FuYXJ5LW9mLWEtdGVzdA=="] {
        assert_eq!(found_in(&canaries, "it", text), ["canary-of-a-test in it"]);
    }
    assert!(found_in(&canaries, "it", "canary-of-another").is_empty());
}

impl Registries {
    async fn start() -> Self {
        let user = |password: &str| Credentials::new("reader", password);
        // A hostile registry gives back what it was given, in every field of its answer.
        let says = |code: &str, text: &str| {
            let reply = Reply::error(StatusCode::FORBIDDEN, code, text);
            reply.header("docker-distribution-api-version", text)
        };
        let echo = says("canary-echo", "reader:canary-echo may not, nor cmVhZGVyOmNhbmFyeS1lY2hv");
        let token_echo = says("canary-token-echo", "the password canary-token-echo of reader is wrong");
        Self {
            basic: registry(Auth::Basic(user("canary-basic")), vec![]).await,
            bearer: registry(Habit::Ghcr.auth(user("canary-bearer")), vec![]).await,
            identity: registry(Habit::Acr.auth(user("canary-identity")), vec![]).await,
            account: registry(Auth::Basic(user("canary-account")), vec![]).await,
            echo: registry(Auth::Basic(user("canary-echo")), vec![Rule::new(On::any()).answer(echo)]).await,
            token_echo: registry(
                Habit::Ghcr.auth(user("canary-token-echo")),
                vec![Rule::new(On::token()).answer(token_echo)],
            )
            .await,
        }
    }

    /// Pull secrets, good and bad.
    fn logins(&self) -> Vec<Secret> {
        let made = |name: &str, at: &RegistryServer| {
            docker_config(name, &at.host(), &login(&format!("canary-{name}")))
        };
        vec![
            made("basic", &self.basic),
            made("refused", &self.basic),
            made("bearer", &self.bearer),
            made("bearer-refused", &self.bearer),
            docker_config("identity", &self.identity.host(), &json!({"identitytoken": "canary-identity"})),
            made("account", &self.account),
            made("echo", &self.echo),
            made("token-echo", &self.token_echo),
            docker_config("broken", &self.basic.host(), &json!({"auth": "canary-broken"})),
            secret("opaque", "Opaque", &[("password", "canary-opaque")]),
        ]
    }

    fn ways(&self) -> Vec<Way<'_>> {
        let way = |name, at, registry, words: &'static str| {
            let ready = if words.is_empty() {
                ("True/Succeeded", "main-1")
            } else {
                ("False/NothingPromoted", words)
            };
            Way { name, at, registry, ready }
        };
        let login =
            |name, at, words| way(name, at, json!({"insecure": true, "secretRef": {"name": name}}), words);
        let proxy = |name, words| {
            way(name, &self.basic, json!({"insecure": true, "proxySecretRef": {"name": name}}), words)
        };
        let certificate =
            |name, words| way(name, &self.basic, json!({"certSecretRef": {"name": name}}), words);
        vec![
            login("basic", &self.basic, ""),
            login("refused", &self.basic, "401 Unauthorized"),
            login("bearer", &self.bearer, ""),
            login("bearer-refused", &self.bearer, "answered 401"),
            login("identity", &self.identity, ""),
            way("account", &self.account, json!({"insecure": true, "serviceAccountName": "puller"}), ""),
            login("echo", &self.echo, "answered 403 Forbidden"),
            login("token-echo", &self.token_echo, "answered 403"),
            login("broken", &self.basic, "is not the base64"),
            login("opaque", &self.basic, "has type Opaque"),
            proxy("proxy", "gives no way"),
            proxy("proxy-address", "holds a user name"),
            certificate("half-certificate", "without `tls.crt`"),
            certificate("certificate", "broken PEM"),
        ]
    }
}

/// Secrets for the way to a registry; `key` is a sound private key.
fn ways_through(key: &str) -> Vec<Secret> {
    let nobody = format!("127.0.0.1:{}", crate::cluster::server::free_port());
    let address = format!("http://{nobody}");
    let proxy = [("address", &*address), ("username", "reader"), ("password", "canary-proxy")];
    let address = format!("http://reader:canary-proxy-address@{nobody}");
    let wrong = "-----BEGIN CERTIFICATE-----\ncanary-certificate\n-----END CERTIFICATE-----";
    let certificate = [("ca.crt", wrong), ("tls.crt", wrong), ("tls.key", "canary-key")];
    vec![
        secret("proxy", "Opaque", &proxy),
        secret("proxy-address", "Opaque", &[("address", &address)]),
        secret("half-certificate", "Opaque", &[("tls.key", key)]),
        secret("certificate", "Opaque", &certificate),
    ]
}

#[tokio::test]
async fn no_credential_comes_out_on_any_way() {
    let Some(real) = Real::prepare(SUITE).await else { return };
    let registries = Registries::start().await;
    let key = Authority::new().user("tidegate", "acme").key;
    let secrets: Api<Secret> = Api::namespaced(real.client.clone(), &real.namespace);
    for secret in registries.logins().iter().chain(&ways_through(&key)) {
        secrets.create(&PostParams::default(), secret).await.unwrap();
    }
    let puller = ServiceAccount {
        metadata: ObjectMeta { name: Some("puller".to_owned()), ..ObjectMeta::default() },
        image_pull_secrets: Some(vec![LocalObjectReference { name: "account".to_owned() }]),
        ..ServiceAccount::default()
    };
    let accounts: Api<ServiceAccount> = Api::namespaced(real.client.clone(), &real.namespace);
    accounts.create(&PostParams::default(), &puller).await.unwrap();

    let ways = registries.ways();
    let server = real.run_with(&["--log-level=trace"]).await;
    for way in &ways {
        let mut spec = real.spec(&format!("{}-release", way.name));
        for (index, image) in ["app", "worker"].into_iter().enumerate() {
            spec["images"][index]["repository"] = json!(format!("{}/acme/{image}", way.at.host()));
        }
        spec["registry"] = way.registry.clone();
        real.create(way.name, spec).await;
    }
    for way in &ways {
        real.wait_for(way.name, "Ready", way.ready.0, way.ready.1).await;
    }

    let mut canaries: Vec<String> = ways.iter().map(|way| format!("canary-{}", way.name)).collect();
    canaries.extend(["canary-key".to_owned(), key.lines().nth(1).expect("a line of the key").to_owned()]);
    let mut places = told(&real.client, &real.namespace).await;
    places.push(("metrics", real.page("/metrics").await));
    places.push(("the log", std::fs::read_to_string(server.folder().join("log")).unwrap()));
    assert!(places.last().unwrap().1.contains("TRACE"), "the log is at its most talkative");
    let leaks: Vec<String> =
        places.iter().flat_map(|(place, text)| found_in(&canaries, place, text)).collect();
    assert!(leaks.is_empty(), "{leaks:#?}");
}
