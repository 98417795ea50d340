//! S8: what a Secret holds is in no log, status, event, metric or error, whatever becomes of it. Each way by which a credential
//! comes in has a word of its own that stands nowhere else; the log is at its most talkative.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::StatusCode;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Pod, Secret, ServiceAccount};
use k8s_openapi::api::events::v1::Event as NewEvent;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::core::ObjectMeta;
use kube::{Api, Client};
use serde_json::{Value, json};
use tidegate::embedded::image::{ImageDescription, ImagePlatform, Index};
use tidegate::embedded::registry::{Auth, Credentials, Habit, On, Options, RegistryServer, Reply, Rule};
use tidegate::telemetry::clock::Clock;

use crate::cluster::certificates::Authority;
use crate::controller::real::Real;

const SUITE: &str = "canaries";
const DOCKER_CONFIG: &str = "kubernetes.io/dockerconfigjson";

/// One way of a credential, from a Secret to what became of it.
struct Way {
    /// Of the set and of its Secret.
    name: &'static str,
    /// `registry` of the set.
    registry: Value,
    /// What the condition Ready says in the end.
    ready: (&'static str, &'static str),
}

fn secret(name: &str, kind: &str, pairs: &[(&str, &str)]) -> Secret {
    let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
    Secret {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        type_: Some(kind.to_owned()),
        data: Some(pairs.collect()),
        ..Secret::default()
    }
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
    rules.into_iter().for_each(|rule| registry.plan(rule));
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
    let leaks = |canary: &&'a String| forms(canary).iter().any(|form| text.contains(form.as_str()));
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

#[tokio::test]
async fn no_credential_comes_out_on_any_way() {
    let Some(real) = Real::prepare(SUITE).await else { return };
    let secrets: Api<Secret> = Api::namespaced(real.client.clone(), &real.namespace);
    let make = async |secret: Secret| secrets.create(&PostParams::default(), &secret).await.unwrap();
    let user = |password: &str| Credentials::new("reader", password);

    let basic = registry(Auth::Basic(user("canary-basic")), vec![]).await;
    let bearer = registry(Habit::Ghcr.auth(user("canary-bearer")), vec![]).await;
    let identity = registry(Habit::Acr.auth(user("canary-identity")), vec![]).await;
    let account = registry(Auth::Basic(user("canary-account")), vec![]).await;
    // A hostile registry gives back what it was given, in every field of its answer.
    let says = |code: &str, text: &str| {
        Reply::error(StatusCode::FORBIDDEN, code, text).header("docker-distribution-api-version", text)
    };
    let echo = registry(
        Auth::Basic(user("canary-echo")),
        vec![
            Rule::new(On::any())
                .answer(says("canary-echo", "reader:canary-echo may not, nor cmVhZGVyOmNhbmFyeS1lY2hv")),
        ],
    )
    .await;
    let token_echo = registry(
        Habit::Ghcr.auth(user("canary-token-echo")),
        vec![
            Rule::new(On::token())
                .answer(says("canary-token-echo", "the password canary-token-echo of reader is wrong")),
        ],
    )
    .await;
    let nobody = format!("127.0.0.1:{}", crate::cluster::server::free_port());
    let key = Authority::new().user("tidegate", "acme").key;

    make(docker_config("basic", &basic.host(), &login("canary-basic"))).await;
    make(docker_config("refused", &basic.host(), &login("canary-refused"))).await;
    make(docker_config("bearer", &bearer.host(), &login("canary-bearer"))).await;
    make(docker_config("bearer-refused", &bearer.host(), &login("canary-bearer-refused"))).await;
    make(docker_config("identity", &identity.host(), &json!({"identitytoken": "canary-identity"}))).await;
    make(docker_config("account", &account.host(), &login("canary-account"))).await;
    make(docker_config("echo", &echo.host(), &login("canary-echo"))).await;
    make(docker_config("token-echo", &token_echo.host(), &login("canary-token-echo"))).await;
    let broken = json!({"auth": "canary-broken"});
    make(docker_config("broken", &basic.host(), &broken)).await;
    make(secret("opaque", "Opaque", &[("password", "canary-opaque")])).await;
    let address = format!("http://{nobody}");
    let proxy = [("address", &*address), ("username", "reader"), ("password", "canary-proxy")];
    make(secret("proxy", "Opaque", &proxy)).await;
    let address = format!("http://reader:canary-proxy-address@{nobody}");
    make(secret("proxy-address", "Opaque", &[("address", &address)])).await;
    make(secret("half-certificate", "Opaque", &[("tls.key", &key)])).await;
    let wrong = "-----BEGIN CERTIFICATE-----\ncanary-certificate\n-----END CERTIFICATE-----";
    make(secret(
        "certificate",
        "Opaque",
        &[("ca.crt", wrong), ("tls.crt", wrong), ("tls.key", "canary-key")],
    ))
    .await;
    let accounts: Api<ServiceAccount> = Api::namespaced(real.client.clone(), &real.namespace);
    let puller = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "puller"},
        "imagePullSecrets": [{"name": "account"}]});
    accounts.patch("puller", &PatchParams::apply("test"), &Patch::Apply(puller)).await.unwrap();

    let by = |name: &str| json!({"insecure": true, "secretRef": {"name": name}});
    let promoted = ("True/Succeeded", "main-1");
    let nothing = |words| ("False/NothingPromoted", words);
    let ways = [
        (&basic, Way { name: "basic", registry: by("basic"), ready: promoted }),
        (&basic, Way { name: "refused", registry: by("refused"), ready: nothing("401 Unauthorized") }),
        (&bearer, Way { name: "bearer", registry: by("bearer"), ready: promoted }),
        (
            &bearer,
            Way { name: "bearer-refused", registry: by("bearer-refused"), ready: nothing("answered 401") },
        ),
        (&identity, Way { name: "identity", registry: by("identity"), ready: promoted }),
        (
            &account,
            Way {
                name: "account",
                registry: json!({"insecure": true, "serviceAccountName": "puller"}),
                ready: promoted,
            },
        ),
        (&echo, Way { name: "echo", registry: by("echo"), ready: nothing("answered 403 Forbidden") }),
        (&token_echo, Way { name: "token-echo", registry: by("token-echo"), ready: nothing("answered 403") }),
        (&basic, Way { name: "broken", registry: by("broken"), ready: nothing("is not the base64") }),
        (&basic, Way { name: "opaque", registry: by("opaque"), ready: nothing("has type Opaque") }),
        (
            &basic,
            Way {
                name: "proxy",
                registry: json!({"insecure": true, "proxySecretRef": {"name": "proxy"}}),
                ready: nothing("gives no way"),
            },
        ),
        (
            &basic,
            Way {
                name: "proxy-address",
                registry: json!({"insecure": true, "proxySecretRef": {"name": "proxy-address"}}),
                ready: nothing("holds a user name"),
            },
        ),
        (
            &basic,
            Way {
                name: "half-certificate",
                registry: json!({"certSecretRef": {"name": "half-certificate"}}),
                ready: nothing("without `tls.crt`"),
            },
        ),
        (
            &basic,
            Way {
                name: "certificate",
                registry: json!({"certSecretRef": {"name": "certificate"}}),
                ready: nothing("broken PEM"),
            },
        ),
    ];
    let server = real.run_with(&["--log-level=trace"]).await;
    for (registry, way) in &ways {
        let mut spec = real.spec(&format!("{}-release", way.name));
        for (index, image) in ["app", "worker"].into_iter().enumerate() {
            spec["images"][index]["repository"] = json!(format!("{}/acme/{image}", registry.host()));
        }
        spec["registry"] = way.registry.clone();
        real.create(way.name, spec).await;
    }
    for (_, way) in &ways {
        real.wait_for(way.name, "Ready", way.ready.0, way.ready.1).await;
    }

    let mut canaries: Vec<String> = ways.iter().map(|(_, way)| format!("canary-{}", way.name)).collect();
    canaries.extend(["canary-key".to_owned(), key.lines().nth(1).expect("a line of the key").to_owned()]);
    let mut places = told(&real.client, &real.namespace).await;
    places.push(("metrics", real.page("/metrics").await));
    places.push(("the log", std::fs::read_to_string(server.folder().join("log")).unwrap()));
    assert!(places.last().unwrap().1.contains("TRACE"), "the log is at its most talkative");
    let leaks: Vec<String> =
        places.iter().flat_map(|(place, text)| found_in(&canaries, place, text)).collect();
    assert!(leaks.is_empty(), "{leaks:#?}");
}
