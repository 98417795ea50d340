//! A registry with its own CA that wants client certificates, as a controller in a cluster reaches it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use tidegate::embedded::image::{ImageDescription, ImagePlatform, Index};
use tidegate::embedded::registry::{Options, RegistryServer, ServerTls};
use tidegate::telemetry::clock::Clock;

use super::real::Real;
use crate::cluster::certificates::{Authority, Identity};
use crate::cluster::secret;

const SUITE: &str = "TLS in a cluster";

async fn registry(authority: &Authority) -> RegistryServer {
    let Identity { certificate, key } = authority.server();
    let client_ca = Some(authority.certificate.clone());
    let tls = Some(ServerTls { certificate, key, client_ca });
    let registry =
        RegistryServer::start(Options { tls, ..Options::default() }, Clock::system()).await.unwrap();
    for name in ["app", "worker"] {
        let platform = ImagePlatform::parse("linux/amd64").unwrap();
        let image = ImageDescription::new(platform, name).build();
        let index = Index::build(vec![image], &BTreeMap::new());
        registry.push_index(&format!("acme/{name}"), Some("main-1"), &index);
    }
    registry
}

#[tokio::test]
async fn certificates_and_proxy_come_from_secrets_and_what_is_wrong_with_one_is_said() {
    let Some(real) = Real::start(SUITE).await else { return };
    let authority = Authority::new();
    let registry = registry(&authority).await;
    let mut spec = real.spec("acme-release");
    for (index, name) in ["app", "worker"].into_iter().enumerate() {
        spec["images"][index]["repository"] = json!(format!("{}/acme/{name}", registry.host()));
    }
    spec["registry"] = json!({"certSecretRef": {"name": "registry-tls"}});
    let secrets: Api<Secret> = Api::namespaced(real.client.clone(), &real.namespace);
    let parameters = PostParams::default();

    real.create("acme", spec.clone()).await;
    let words = "the Secret registry-tls does not exist";
    let status = real.wait_for("acme", "Ready", "False/NothingPromoted", words).await;
    assert!(status.promoted.is_none());

    let user = authority.user("tidegate", "acme");
    let half =
        secret("registry-tls", "Opaque", &[("ca.crt", &authority.certificate), ("tls.key", &user.key)]);
    secrets.create(&parameters, &half).await.unwrap();
    real.ask("acme").await;
    let status = real.wait_for("acme", "Ready", "False/NothingPromoted", "`tls.key` without `tls.crt`").await;
    assert!(!serde_json::to_string(&status).unwrap().contains("PRIVATE KEY"), "S8");

    secrets.delete("registry-tls", &kube::api::DeleteParams::default()).await.unwrap();
    let pairs =
        [("ca.crt", &*authority.certificate), ("tls.crt", &*user.certificate), ("tls.key", &*user.key)];
    secrets.create(&parameters, &secret("registry-tls", "Opaque", &pairs)).await.unwrap();
    real.ask("acme").await;
    real.wait_for("acme", "Ready", "True/Succeeded", "main-1").await;

    let nobody = format!("127.0.0.1:{}", crate::cluster::server::free_port());
    let egress =
        secret("egress", "Opaque", &[("address", &format!("http://{nobody}")), ("password", "canary")]);
    secrets.create(&parameters, &egress).await.unwrap();
    spec["registry"]["proxySecretRef"] = json!({"name": "egress"});
    spec["targets"][0]["configMap"]["name"] = json!("proxied-release");
    real.create("proxied", spec).await;
    let words = format!("the proxy {nobody}");
    let status = real.wait_for("proxied", "Ready", "False/NothingPromoted", &words).await;
    assert!(!serde_json::to_string(&status).unwrap().contains("canary"), "S8");
}
