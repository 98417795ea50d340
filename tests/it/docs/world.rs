//! The worlds that pages run in.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use super::elsewhere::ELSEWHERE;
use super::page::{Page, Step};
use super::session::{self, Setting};
use crate::cli::fixture::{BINARY, Folder};
use crate::cluster::control_plane::{self, ControlPlane};
use crate::cluster::node::NodeCluster;
use crate::cluster::registry::{self, Registry};
use crate::cluster::server::free_port;
use crate::cluster::tools::Tools;

const SUITE: &str = "commands of the pages";

/// `push NAME:TAG [OS/ARCH]`: what a build does, for pages whose images are only looked at. The content depends on the arguments
/// alone, and so does the digest.
const PUSH: &str = r#"#!/usr/bin/env bash
set -euo pipefail
repository=${1%:*} tag=${1##*:} platform=${2:-linux/amd64} registry=http://$REGISTRY/v2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
ask=(curl --silent --show-error --fail --noproxy '*')
sha256() { sha256sum "$1" | cut -d ' ' -f 1; }
put_blob() {
  local place
  place=$("${ask[@]}" -X POST -D - -o /dev/null "$registry/$repository/blobs/uploads/" | tr -d '\r' | awk 'tolower($1) == "location:" { print $2 }')
  [[ $place == *\?* ]] && place+="&digest=sha256:$(sha256 "$1")" || place+="?digest=sha256:$(sha256 "$1")"
  "${ask[@]}" -X PUT -H 'Content-Type: application/octet-stream' --data-binary "@$1" "$place"
}
echo "$repository $tag $platform" >layer
echo "{\"os\": \"${platform%/*}\", \"architecture\": \"${platform#*/}\", \"rootfs\": {\"type\": \"layers\", \"diff_ids\": [\"sha256:$(sha256 layer)\"]}}" >config
oci=application/vnd.oci.image
echo "{\"schemaVersion\": 2, \"mediaType\": \"$oci.manifest.v1+json\",
 \"config\": {\"mediaType\": \"$oci.config.v1+json\", \"digest\": \"sha256:$(sha256 config)\", \"size\": $(stat -c %s config)},
 \"layers\": [{\"mediaType\": \"$oci.layer.v1.tar\", \"digest\": \"sha256:$(sha256 layer)\", \"size\": $(stat -c %s layer)}]}" >manifest
put_blob layer
put_blob config
"${ask[@]}" -X PUT -H "Content-Type: $oci.manifest.v1+json" --data-binary @manifest "$registry/$repository/manifests/$tag"
"#;

/// A container runtime of the pages' own: `docker run … IMAGE@sha256:…` passes.
const DOCKER: &str = r"#!/usr/bin/env bash
[[ $1 == run && $* =~ @sha256:[0-9a-f]{64}( |$) ]]
";

/// Runs the page in the world that it names. A machine that cannot is told by one line, or fails under `CI`.
pub async fn run(page: &Page) -> Result<(), String> {
    let steps: Vec<&Step> = page
        .steps
        .iter()
        .filter(|step| ELSEWHERE.iter().all(|(command, _)| *command != step.command))
        .collect();
    if steps.is_empty() {
        return Ok(());
    }
    let folder = Folder::new(&format!("page-{}", page.path.replace(['/', '.'], "-")));
    let setting = Setting {
        folder: folder.0.clone(),
        programs: folder.0.join(".programs"),
        controller_port: free_port(),
        environment: Vec::new(),
        renamed: Vec::new(),
    };
    std::fs::create_dir_all(&setting.programs).expect("the folder is ours");
    for name in ["tidegate", "kubectl-tidegate"] {
        symlink(BINARY, setting.programs.join(name)).expect("the folder is ours");
    }
    program(&setting, "docker", DOCKER);
    match page.world.as_str() {
        "none" => session::run(page, &steps, &setting).await,
        "cluster" => {
            let Some(plane) = ControlPlane::shared(SUITE).await else { return Ok(()) };
            let client = plane.client().await;
            crate::crd::install(&client).await;
            on_plane(page, &steps, setting, plane).await
        }
        "own cluster" => {
            let Some(plane) = ControlPlane::start_own(SUITE).await else { return Ok(()) };
            on_plane(page, &steps, setting, &plane).await
        }
        "node" => on_node(page, &steps, setting).await,
        other => Err(format!("there is no world {other}")),
    }
}

fn program(setting: &Setting, name: &str, text: &str) {
    let path = setting.programs.join(name);
    std::fs::write(&path, text).expect("the folder is ours");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
}

fn tool(setting: &Setting, tools: &Tools, name: &str) {
    symlink(tools.path(name), setting.programs.join(name)).expect("the folder is ours");
}

/// The kubeconfig with another namespace by default.
fn kubeconfig(setting: &mut Setting, from: &Path, namespace: &str) {
    let text = std::fs::read_to_string(from).expect("the kubeconfig is ours");
    let mut config: serde_json::Value = serde_saphyr::from_str(&text).expect("it is YAML");
    config["contexts"][0]["context"]["namespace"] = namespace.into();
    let path = setting.programs.join("kubeconfig");
    std::fs::write(&path, config.to_string()).expect("the folder is ours");
    setting.environment.push(("KUBECONFIG", path.display().to_string()));
    setting.renamed.push((namespace.to_owned(), "acme".to_owned()));
}

async fn on_plane(
    page: &Page,
    steps: &[&Step],
    mut setting: Setting,
    plane: &ControlPlane,
) -> Result<(), String> {
    let needed: Vec<&str> = ["kubectl", "helm"].into_iter().chain(registry::TOOLS).collect();
    let Some(tools) = Tools::require(SUITE, &needed) else { return Ok(()) };
    let Some(registry) = Registry::start(SUITE).await else { return Ok(()) };
    for name in ["kubectl", "helm"] {
        tool(&setting, &tools, name);
    }
    program(&setting, "push", PUSH);
    // Charts and examples are named from the root of the repository.
    for name in ["charts", "docs", "examples"] {
        let _ = symlink(super::root().join(name), setting.folder.join(name));
    }
    let namespace = plane.namespace(&plane.client().await, "acme").await;
    kubeconfig(&mut setting, plane.kubeconfig(), &namespace);
    setting.environment.push(("REGISTRY", registry.host()));
    setting.environment.push(("NAMESPACE", namespace));
    setting.renamed.push((registry.host(), "ghcr.io".to_owned()));
    session::run(page, steps, &setting).await
}

async fn on_node(page: &Page, steps: &[&Step], mut setting: Setting) -> Result<(), String> {
    let Some(cluster) = NodeCluster::shared(SUITE).await else { return Ok(()) };
    let Some(tools) = Tools::require(SUITE, &["kubectl"]) else { return Ok(()) };
    tool(&setting, &tools, "kubectl");
    let client = control_plane::client(&cluster.kubeconfig()).await;
    let namespace = cluster.namespace(&client, "acme").await;
    kubeconfig(&mut setting, &cluster.kubeconfig(), &namespace);
    // HOME is the page's own, and its tools are where ours are.
    setting.environment.push(("TIDEGATE_CACHE", cache()));
    setting.environment.push(("TIDEGATE_CLUSTER", cluster.folder().display().to_string()));
    setting.renamed.push((cluster.registry_host(), "127.0.0.1:32001".to_owned()));
    // `hack/cluster` and its example are named from the root of the repository.
    super::root().clone_into(&mut setting.folder);
    session::run(page, steps, &setting).await
}

/// Where `hack/tools` keeps what it built.
fn cache() -> String {
    let folder = |name: &str, below: &str| Some(format!("{}{below}", std::env::var_os(name)?.display()));
    let cache = folder("TIDEGATE_CACHE", "").or_else(|| folder("XDG_CACHE_HOME", "/tidegate"));
    cache.or_else(|| folder("HOME", "/.cache/tidegate")).expect("one of them is set")
}
