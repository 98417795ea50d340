//! How each image's registry is reached: Secrets by name, read at every look, never listed or watched.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;

use crate::api::{ReleaseSetSpec, validate};
use crate::controller::context::{Context, within_deadline};
use crate::engine::policy::Policy;
use crate::model::ImageName;
use crate::registry::Access;
use crate::registry::credentials::{Credential, from_docker_config_json};

/// The only Secret type that holds what we need (design §3 registry).
const SECRET_TYPE: &str = "kubernetes.io/dockerconfigjson";
const SECRET_KEY: &str = ".dockerconfigjson";

/// What the spec says of one image's registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Name of the pull Secret.
    pub secret: Option<String>,
    /// Plain HTTP.
    pub insecure: bool,
}

/// What the spec says of each image's registry: its own `registry` replaces the set's as a whole (design §3).
pub fn wanted(spec: &ReleaseSetSpec) -> BTreeMap<ImageName, Wanted> {
    spec.images
        .iter()
        .filter_map(|image| {
            let registry = validate::registry_access(spec, image);
            let secret = registry.secret_ref.map(|secret| secret.name);
            Some((image.name.parse().ok()?, Wanted { secret, insecure: registry.insecure }))
        })
        .collect()
}

/// Reads the Secrets and gives each image its access. A Secret that cannot be used makes its images Unknown,
/// with the reason, and stops nothing else.
pub async fn read(
    context: &Context,
    namespace: &str,
    policy: &Policy,
    wanted: &BTreeMap<ImageName, Wanted>,
) -> BTreeMap<ImageName, Access> {
    let mut secrets: BTreeMap<&str, Result<Vec<u8>, String>> = BTreeMap::new();
    for secret in wanted.values().filter_map(|wanted| wanted.secret.as_deref()) {
        if !secrets.contains_key(secret) {
            secrets.insert(secret, read_secret(context, namespace, secret).await);
        }
    }
    let access = |image: &crate::engine::policy::ImagePolicy| {
        let wanted = wanted.get(&image.name).cloned().unwrap_or_default();
        let credential = match wanted.secret.as_deref().and_then(|secret| secrets.get(secret)) {
            None => Credential::Anonymous,
            Some(Ok(bytes)) => from_docker_config_json(bytes, image.repository.host()),
            Some(Err(why)) => Credential::Unusable { why: why.clone() },
        };
        (image.name.clone(), Access { credential, insecure: wanted.insecure, ..Access::default() })
    };
    policy.images.iter().map(access).collect()
}

async fn read_secret(context: &Context, namespace: &str, name: &str) -> Result<Vec<u8>, String> {
    let api: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
    let secret = match within_deadline("read the Secret", api.get_opt(name)).await {
        Ok(Some(secret)) => secret,
        Ok(None) => {
            return Err(format!(
                "the Secret {name} does not exist in {namespace}: create it with `kubectl create secret docker-registry {name}`"
            ));
        }
        Err(error) => return Err(format!("the Secret {name} cannot be read: {error}")),
    };
    let kind = secret.type_.as_deref().unwrap_or("Opaque");
    if kind != SECRET_TYPE {
        return Err(format!(
            "the Secret {name} has type {kind}, not {SECRET_TYPE}: create it anew with that type"
        ));
    }
    let bytes = secret.data.and_then(|mut data| data.remove(SECRET_KEY));
    bytes
        .map(|bytes| bytes.0)
        .ok_or_else(|| format!("the Secret {name} has no key {SECRET_KEY}: create it anew"))
}
