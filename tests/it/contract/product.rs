//! Kinds of Flux: targets of ours and objects that are read. Credentials: Secrets and ServiceAccounts, by name alone.

use serde_json::{Value, json};

use super::exchange::Exchange;

fn flux_path(namespace: &str, group: &str, version: &str, plural: &str) -> String {
    format!("/apis/{group}/{version}/namespaces/{namespace}/{plural}")
}

pub fn flux(namespace: &str) -> Vec<Exchange> {
    let mut exchanges = targets(namespace);
    exchanges.extend(others(namespace));
    exchanges.extend(credentials(namespace));
    exchanges
}

fn targets(namespace: &str) -> Vec<Exchange> {
    let image = "image.toolkit.fluxcd.io";
    let policies = flux_path(namespace, image, "v1", "imagepolicies");
    let providers = flux_path(namespace, "fluxcd.controlplane.io", "v1", "resourcesetinputproviders");
    let policy = json!({
        "apiVersion": "image.toolkit.fluxcd.io/v1", "kind": "ImagePolicy",
        "metadata": {"name": "acme", "labels": {"tidegate.dev/set": "acme"}, "annotations": {"tidegate.dev/target": "{}"}},
        "spec": {"imageRepositoryRef": {"name": "app"}, "filterTags": {"pattern": "^main-1$"},
            "policy": {"alphabetical": {"order": "asc"}}, "digestReflectionPolicy": "Never"},
    });
    let provider = json!({
        "apiVersion": "fluxcd.controlplane.io/v1", "kind": "ResourceSetInputProvider", "metadata": {"name": "acme"},
        "spec": {"type": "Static", "defaultValues": {"tag": "main-1", "sequence": 1, "images": {"app": {"tag": "main-1"}}}},
    });
    vec![
        Exchange::post("policy", &policies, policy.clone()),
        Exchange::post("policy again", &policies, policy),
        Exchange::put_edited(
            "policy moved",
            format!("{policies}/acme"),
            "policy",
            &[("/spec/filterTags/pattern", json!("^main-2$"))],
        ),
        Exchange::put_edited(
            "policy from a stale read",
            format!("{policies}/acme"),
            "policy",
            &[("/spec/filterTags/pattern", json!("^main-3$"))],
        ),
        Exchange::merge(
            "policy selects",
            format!("{policies}/acme/status"),
            json!({"status": {"observedGeneration": 2,
            "latestRef": {"name": "ghcr.io/acme/app", "tag": "main-2"}}}),
        ),
        Exchange::get("policy read", format!("{policies}/acme")),
        Exchange::get("policies", format!("{policies}?limit=500")),
        Exchange::get(
            "policies watched",
            format!(
                "{policies}?watch=true&timeoutSeconds=2&resourceVersion={{{{policy/metadata/resourceVersion}}}}"
            ),
        ),
        Exchange::delete(
            "policy gone",
            format!("{policies}/acme"),
            json!({"preconditions": {"uid": "{{policy/metadata/uid}}",
            "resourceVersion": "{{policy read/metadata/resourceVersion}}"}}),
        ),
        Exchange::post("provider", &providers, provider),
        Exchange::get("provider read", format!("{providers}/acme")),
        Exchange::put_edited(
            "provider moved",
            format!("{providers}/acme"),
            "provider read",
            &[("/spec/defaultValues/tag", json!("main-2"))],
        ),
        Exchange::get("providers", format!("{providers}?labelSelector=tidegate.dev%2Fset")),
        Exchange::get(
            "providers watched",
            format!(
                "{providers}?watch=true&timeoutSeconds=2&resourceVersion={{{{provider/metadata/resourceVersion}}}}"
            ),
        ),
        Exchange::delete("provider gone", format!("{providers}/acme"), Value::Null),
    ]
}

fn others(namespace: &str) -> Vec<Exchange> {
    let image = "image.toolkit.fluxcd.io";
    let repositories = flux_path(namespace, image, "v1", "imagerepositories");
    let automations = flux_path(namespace, image, "v1", "imageupdateautomations");
    let repository = json!({"apiVersion": "image.toolkit.fluxcd.io/v1", "kind": "ImageRepository", "metadata": {"name": "app"},
        "spec": {"image": "ghcr.io/acme/app", "interval": "1m", "secretRef": {"name": "pull"}}});
    let scan = |revision: &str| {
        json!({"metadata": {"resourceVersion": revision,
        "annotations": {"reconcile.fluxcd.io/requestedAt": "2026-01-01T00:00:00Z"}}})
    };
    let automation = json!({"apiVersion": "image.toolkit.fluxcd.io/v1", "kind": "ImageUpdateAutomation", "metadata": {"name": "fleet"},
        "spec": {"interval": "1m", "sourceRef": {"kind": "GitRepository", "name": "fleet"},
            "git": {"commit": {"author": {"email": "flux@example.com"}}}, "update": {"path": ".", "strategy": "Setters"}}});
    let path = format!("{repositories}/app?fieldManager=tidegate");
    vec![
        Exchange::post("repository", &repositories, repository),
        Exchange::merge("scan", &path, scan("{{repository/metadata/resourceVersion}}")).metadata_of("object"),
        Exchange::merge("scan from a stale read", &path, scan("{{repository/metadata/resourceVersion}}"))
            .metadata_of("object"),
        Exchange::get("repository read", format!("{repositories}/app")),
        Exchange::get("repositories", format!("{repositories}?limit=500")),
        Exchange::get(
            "repositories watched",
            format!(
                "{repositories}?watch=true&timeoutSeconds=2&resourceVersion={{{{repository/metadata/resourceVersion}}}}"
            ),
        ),
        Exchange::post("automation", &automations, automation),
        Exchange::get("automation read", format!("{automations}/fleet")),
        Exchange::get("automations", format!("{automations}?limit=50")),
        Exchange::get(
            "kustomization",
            format!("{}/apps", flux_path(namespace, "kustomize.toolkit.fluxcd.io", "v1", "kustomizations")),
        ),
        Exchange::get(
            "release",
            format!("{}/apps", flux_path(namespace, "helm.toolkit.fluxcd.io", "v2", "helmreleases")),
        ),
        Exchange::get(
            "source",
            format!("{}/fleet", flux_path(namespace, "source.toolkit.fluxcd.io", "v1", "gitrepositories")),
        ),
    ]
}

fn credentials(namespace: &str) -> Vec<Exchange> {
    let (secrets, accounts) = (
        format!("/api/v1/namespaces/{namespace}/secrets"),
        format!("/api/v1/namespaces/{namespace}/serviceaccounts"),
    );
    vec![
        Exchange::post(
            "secret",
            &secrets,
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pull"},
            "type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": "{\"auths\": {}}"}}),
        ),
        Exchange::get("secret read", format!("{secrets}/pull")),
        Exchange::get("no secret", format!("{secrets}/absent")),
        Exchange::post(
            "secret without a type",
            &secrets,
            json!({"metadata": {"name": "plain"}, "data": {"a": "YQ=="}}),
        ),
        Exchange::post(
            "account",
            &accounts,
            json!({"metadata": {"name": "puller"}, "imagePullSecrets": [{"name": "pull"}]}),
        ),
        Exchange::get("account read", format!("{accounts}/puller")),
        Exchange::get("no account", format!("{accounts}/absent")),
    ]
}
