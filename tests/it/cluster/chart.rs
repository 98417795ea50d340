//! The chart as helm renders it, and controllers with the rights that it gives: what they lack is missing in the chart.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{ApiResource, DynamicObject, PostParams};
use kube::config::Kubeconfig;
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::{Value, json};

use super::server::folder;
use super::tools::Tools;

/// Name of everything that belongs to the controller, its service account too.
pub const NAME: &str = "tidegate";
/// What helm shall take the cluster for: the version of the pinned kube-apiserver.
const KUBE_VERSION: &str = "1.34.2";
/// How long a token lives: longer than any test run.
const TOKEN_SECS: i64 = 3_600;
/// How long the API server may take to know of new rules: a hundred times what it takes.
const RULES_DEADLINE: Duration = Duration::from_secs(10);
const RULES_PACE: Duration = Duration::from_millis(10);

/// The chart of this repository, and helm.
pub struct Chart {
    helm: PathBuf,
}

/// A service account with the rights that the chart gives it, and its kubeconfig file; that is removed with this.
pub struct Account {
    /// `system:serviceaccount:NAMESPACE:NAME`, as the audit log calls it.
    pub user: String,
    /// What was rendered for it.
    pub objects: Vec<Value>,
    folder: PathBuf,
}

// === impl Chart ===

impl Chart {
    /// The chart; `None` after one printed line when helm is missing (a panic under `CI`).
    pub fn require(suite: &str) -> Option<Self> {
        Tools::require(suite, &["helm"]).map(|tools| Self { helm: tools.path("helm").to_owned() })
    }

    /// Its folder.
    pub fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/tidegate")
    }

    /// Everything that `helm template` prints for a release of these values, in its order; the Err is helm's words.
    pub fn render(&self, release: &str, namespace: &str, values: &Value) -> Result<Vec<Value>, String> {
        let mut helm = Command::new(&self.helm)
            .args(["template", release])
            .arg(Self::folder())
            .args(["--namespace", namespace, "--kube-version", KUBE_VERSION, "--values", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("helm runs");
        helm.stdin.take().expect("it is piped").write_all(values.to_string().as_bytes()).expect("helm reads");
        let output = helm.wait_with_output().expect("helm ends");
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        Ok(objects(&String::from_utf8(output.stdout).expect("it is text")))
    }
}

/// The objects of a YAML stream, the empty ones left out.
pub fn objects(text: &str) -> Vec<Value> {
    let objects = serde_saphyr::from_multiple::<Value>(text).expect("it is YAML");
    objects.into_iter().filter(|object| !object.is_null()).collect()
}

// === impl Account ===

impl Account {
    /// The service account of a release in `namespace` that serves it alone and may read its Secrets, made with all its rights
    /// by `admin` (a kubeconfig file, and a client of it).
    pub async fn of(chart: &Chart, admin: &Path, client: &Client, namespace: &str) -> Self {
        let values = json!({"watchNamespace": namespace, "secrets": {"namespaces": [namespace]}});
        Self::with(chart, admin, client, namespace, values).await
    }

    /// The same with these values beside its name.
    pub async fn with(
        chart: &Chart,
        admin: &Path,
        client: &Client,
        namespace: &str,
        mut values: Value,
    ) -> Self {
        values["fullnameOverride"] = json!(NAME);
        values["crds"] = json!({"install": false});
        let mut objects = chart.render(namespace, namespace, &values).expect("the chart takes the values");
        objects.retain(|object| {
            object["kind"] == "ServiceAccount"
                || object["apiVersion"].as_str().is_some_and(|version| version.starts_with("rbac."))
        });
        for object in &objects {
            make(client, object).await;
        }
        let user = format!("system:serviceaccount:{namespace}:{NAME}");
        for review in reviews(&objects, &user) {
            allowed(client, &review).await;
        }
        let folder = folder("account");
        let token = token(client, namespace).await;
        std::fs::write(folder.join("kubeconfig"), kubeconfig(admin, namespace, &token).to_string())
            .expect("the folder is ours");
        Self { user, objects, folder }
    }

    /// Its kubeconfig file.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        // What stays is a token of a cluster that is gone.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The kind of an object, and where it is.
pub fn api_of(client: &Client, object: &Value) -> Api<DynamicObject> {
    let version = object["apiVersion"].as_str().expect("an apiVersion");
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let kind = GroupVersionKind::gvk(group, version, object["kind"].as_str().expect("a kind"));
    let resource = ApiResource::from_gvk(&kind);
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

/// Creates an object unless it is there.
async fn make(client: &Client, object: &Value) {
    let wanted: DynamicObject = serde_json::from_value(object.clone()).expect("it is an object");
    match api_of(client, object).create(&PostParams::default(), &wanted).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        Err(error) => panic!("the server refuses {object}: {error:?}"),
    }
}

async fn token(client: &Client, namespace: &str) -> String {
    let wanted = TokenRequest {
        spec: TokenRequestSpec { expiration_seconds: Some(TOKEN_SECS), ..TokenRequestSpec::default() },
        ..TokenRequest::default()
    };
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), namespace);
    let token = accounts.create_token_request(NAME, &PostParams::default(), &wanted).await;
    token.expect("the account gets a token").status.expect("the server answers with one").token
}

fn kubeconfig(admin: &Path, namespace: &str, token: &str) -> Value {
    let admin = Kubeconfig::read_from(admin).expect("the kubeconfig is ours");
    let server = admin.clusters.first().expect("it names a cluster");
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": NAME,
        "clusters": [{"name": "tests", "cluster": server.cluster}],
        "users": [{"name": NAME, "user": {"token": token}}],
        "contexts": [{"name": NAME, "context": {"cluster": "tests", "user": NAME, "namespace": namespace}}],
    })
}

/// The first right of each binding, as a question whether the API server knows of it by now.
fn reviews(objects: &[Value], user: &str) -> Vec<SubjectAccessReview> {
    let bindings = objects.iter().filter(|object| object["roleRef"].is_object());
    let review = |binding: &Value| {
        let reference = &binding["roleRef"];
        let role = objects.iter().find(|object| {
            object["kind"] == reference["kind"] && object["metadata"]["name"] == reference["name"]
        });
        let rule = &role.expect("a binding names a role of the chart")["rules"][0];
        let first = |field: &str| rule[field][0].as_str().map(str::to_owned);
        let attributes = ResourceAttributes {
            group: first("apiGroups"),
            resource: first("resources"),
            verb: first("verbs"),
            name: first("resourceNames"),
            namespace: binding["metadata"]["namespace"].as_str().map(str::to_owned),
            ..ResourceAttributes::default()
        };
        SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(user.to_owned()),
                resource_attributes: Some(attributes),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        }
    };
    bindings.map(review).collect()
}

async fn allowed(client: &Client, review: &SubjectAccessReview) {
    let reviews: Api<SubjectAccessReview> = Api::all(client.clone());
    let waited = tokio::time::timeout(RULES_DEADLINE, async {
        loop {
            let answer = reviews.create(&PostParams::default(), review).await.expect("the server answers");
            if answer.status.is_some_and(|status| status.allowed) {
                return;
            }
            tokio::time::sleep(RULES_PACE).await;
        }
    });
    assert!(waited.await.is_ok(), "never allowed: {:?}", review.spec);
}
