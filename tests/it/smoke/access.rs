//! A controller that may do what docs/install/rbac.yaml says, and nothing else: so that a right which is missing there
//! fails here.

use std::path::{Path, PathBuf};

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::PostParams;
use kube::config::Kubeconfig;
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::cluster::node::NodeCluster;

/// The service account of docs/install/rbac.yaml, and its namespace.
const ACCOUNT: &str = "tidegate";
/// How long the token lives: longer than any test run.
const TOKEN_SECS: i64 = 3_600;

/// Writes a kubeconfig of the controller's service account into `folder`. Roles are made by whoever comes first.
pub async fn kubeconfig(cluster: &NodeCluster, client: &Client, folder: &Path) -> PathBuf {
    let namespaces = Api::<Namespace>::all(client.clone());
    make(&namespaces, json!({"metadata": {"name": ACCOUNT}})).await;
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), ACCOUNT);
    make(&accounts, json!({"metadata": {"name": ACCOUNT}})).await;
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/install/rbac.yaml");
    let rules = std::fs::read_to_string(rules).expect("the file is in the repository");
    for object in serde_saphyr::from_multiple::<Value>(&rules).expect("it is YAML") {
        match object["kind"].as_str() {
            Some("ClusterRole") => make(&Api::<ClusterRole>::all(client.clone()), object).await,
            Some("ClusterRoleBinding") => make(&Api::<ClusterRoleBinding>::all(client.clone()), object).await,
            Some("Role") => make(&Api::<Role>::namespaced(client.clone(), ACCOUNT), object).await,
            Some("RoleBinding") => {
                make(&Api::<RoleBinding>::namespaced(client.clone(), ACCOUNT), object).await;
            }
            other => panic!("nobody makes a {other:?} here"),
        }
    }
    let wanted = TokenRequest {
        spec: TokenRequestSpec { expiration_seconds: Some(TOKEN_SECS), ..TokenRequestSpec::default() },
        ..TokenRequest::default()
    };
    let token = accounts
        .create_token_request(ACCOUNT, &PostParams::default(), &wanted)
        .await
        .expect("the account gets a token");
    let token = token.status.expect("the server answers with one").token;
    let admin = Kubeconfig::read_from(cluster.kubeconfig()).expect("the kubeconfig is ours");
    let server = admin.clusters.first().expect("it names a cluster");
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "tidegate",
        "clusters": [{"name": "tests", "cluster": server.cluster}],
        "users": [{"name": "tidegate", "user": {"token": token}}],
        "contexts": [{"name": "tidegate", "context": {"cluster": "tests", "user": "tidegate"}}],
    });
    let path = folder.join("kubeconfig");
    std::fs::write(&path, config.to_string()).expect("the folder is ours");
    path
}

/// Creates an object unless it is there.
async fn make<K>(api: &Api<K>, object: Value)
where
    K: Clone + std::fmt::Debug + DeserializeOwned + serde::Serialize,
{
    let object = serde_json::from_value(object).expect("it is of its kind");
    match api.create(&PostParams::default(), &object).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        Err(error) => panic!("the server refuses {object:?}: {error:?}"),
    }
}
