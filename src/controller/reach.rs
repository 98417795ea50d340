//! The way to each image's registry: CAs, client certificate and proxy, from Secrets that are read by name at every
//! look, never listed or watched.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::ByteString;

use crate::api::ReleaseSetSpec;
use crate::api::references::References;
use crate::controller::reader::{Reader, Unreadable};
use crate::model::ImageName;
use crate::registry::{Access, Proxy, Tls, TlsPem};

/// Types of Secrets with certificates (Flux `certSecretRef`).
const CERTIFICATE_TYPES: [&str; 2] = ["Opaque", "kubernetes.io/tls"];
/// Types of Secrets with a proxy: the keys of the second are the same (Flux `proxySecretRef` wants no type).
const PROXY_TYPES: [&str; 2] = ["Opaque", "kubernetes.io/basic-auth"];

/// What the spec says of the way to one image's registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wanted {
    certificates: Option<String>,
    proxy: Option<String>,
}

/// Reads the Secrets that the spec names and completes the access of each image. One that cannot be used makes its
/// images Unknown, with the reason, and stops nothing else.
pub async fn complete(
    reader: &Reader<'_>,
    spec: &ReleaseSetSpec,
    references: &References,
    access: &mut BTreeMap<ImageName, Access>,
) {
    let (mut certificates, mut proxies) = (BTreeMap::new(), BTreeMap::new());
    for (image, wanted) in wanted(spec, references) {
        let Some(access) = access.get_mut(&image) else { continue };
        if let Some(name) = wanted.certificates {
            if !certificates.contains_key(&name) {
                let tls = match read(reader, &name, CERTIFICATE_TYPES, "ca.crt").await {
                    Ok(data) => tls(&name, &data),
                    Err(why) => Tls::unusable(why),
                };
                certificates.insert(name.clone(), Arc::new(tls));
            }
            access.tls = certificates.get(&name).cloned();
        }
        if let Some(name) = wanted.proxy {
            if !proxies.contains_key(&name) {
                let proxy = match read(reader, &name, PROXY_TYPES, "address").await {
                    Ok(data) => proxy(&name, &data),
                    Err(why) => Proxy::unusable(why),
                };
                proxies.insert(name.clone(), Arc::new(proxy));
            }
            access.proxy = proxies.get(&name).cloned();
        }
    }
}

/// An image's own `registry` replaces the set's as a whole (design §3).
fn wanted(spec: &ReleaseSetSpec, references: &References) -> Vec<(ImageName, Wanted)> {
    let of = |image| {
        let registry = references.registry_access(spec, image);
        Wanted {
            certificates: registry.cert_secret_ref.map(|secret| secret.name),
            proxy: registry.proxy_secret_ref.map(|secret| secret.name),
        }
    };
    spec.images.iter().filter_map(|image| Some((image.name.parse().ok()?, of(image)))).collect()
}

fn tls(name: &str, data: &BTreeMap<String, ByteString>) -> Tls {
    // The keys of Flux before 2.0, which its controllers still take where the others are absent.
    let text = |key: &str, old: &str| data.get(key).or_else(|| data.get(old)).map(|value| value.0.as_slice());
    let pem = TlsPem {
        ca: text("ca.crt", "caFile"),
        certificate: text("tls.crt", "certFile"),
        key: text("tls.key", "keyFile"),
    };
    Tls::from_pem(&format!("the Secret {name}"), pem)
}

fn proxy(name: &str, data: &BTreeMap<String, ByteString>) -> Proxy {
    let text = |key: &str| data.get(key).map(|value| std::str::from_utf8(&value.0)).transpose();
    match (text("address"), text("username"), text("password")) {
        (Ok(address), Ok(username), Ok(password)) => Proxy::new(
            &format!("the Secret {name}"),
            address.unwrap_or_default(),
            username,
            password.map(Into::into).as_ref(),
        ),
        _ => Proxy::unusable(format!(
            "the Secret {name} names no usable proxy: its `address`, `username` or `password` is no UTF-8 text; \
             write it anew"
        )),
    }
}

/// The keys of a Secret, or why there are none.
async fn read(
    reader: &Reader<'_>,
    name: &str,
    types: [&str; 2],
    key: &str,
) -> Result<BTreeMap<String, ByteString>, String> {
    let namespace = reader.namespace();
    let secret = reader.secret(name).await.map_err(|why| match why {
        Unreadable::Absent => format!(
            "the Secret {name} does not exist in {namespace}; create it with `kubectl create secret generic {name}` and \
             the key `{key}`"
        ),
        Unreadable::Refused(error) => format!(
            "the Secret {name} cannot be read: {error}; check that the controller may get Secrets in {namespace}"
        ),
    })?;
    let kind = secret.type_.as_deref().unwrap_or("Opaque");
    if !types.contains(&kind) {
        let types = types.join(" or ");
        return Err(format!("the Secret {name} has type {kind}, not {types}; create it anew with that type"));
    }
    Ok(secret.data.clone().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(pairs: &[(&str, &[u8])]) -> BTreeMap<String, ByteString> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.to_vec()))).collect()
    }

    #[test]
    fn keys_of_older_flux_stand_in_where_the_others_are_absent() {
        let shown = |pairs: &[(&str, &[u8])]| format!("{:?}", tls("ca", &data(pairs)));
        let wrong = b"no certificate".as_slice();
        assert_eq!(shown(&[("caFile", wrong)]), shown(&[("ca.crt", wrong)]));
        assert_eq!(shown(&[("ca.crt", wrong), ("caFile", b"")]), shown(&[("ca.crt", wrong)]));
        assert_ne!(shown(&[("caFile", wrong)]), shown(&[]));
    }

    #[test]
    fn a_proxy_secret_is_read_by_fluxs_keys_and_never_shown() {
        let good =
            data(&[("address", b"http://proxy.corp:3128\n"), ("username", b"u"), ("password", b"hunter2")]);
        assert_eq!(format!("{:?}", proxy("egress", &good)), r#"Proxy("proxy.corp:3128")"#);
        for (pairs, words) in [
            (data(&[("username", b"u")]), "its `address` is absent"),
            (data(&[("address", b"socks5://hunter2:1080")]), "no http or https address"),
            (data(&[("address", b"http://u:hunter2@proxy")]), "holds a user name"),
            (data(&[("address", b"\xff")]), "no UTF-8"),
        ] {
            let shown = format!("{:?}", proxy("egress", &pairs));
            assert!(shown.contains(words) && shown.contains("the Secret egress"), "{shown}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn an_image_has_its_own_way_or_the_sets() {
        let spec: ReleaseSetSpec = serde_json::from_value(serde_json::json!({
            "images": [
                {"name": "app", "repository": "r.io/app"},
                {"name": "own", "repository": "r.io/own", "registry": {"proxySecretRef": {"name": "egress"}}},
            ],
            "registry": {"certSecretRef": {"name": "ca"}},
            "candidates": {"policy": {"alphabetical": {}}},
        }))
        .unwrap();
        let found: Vec<Wanted> =
            wanted(&spec, &References::default()).into_iter().map(|(_, wanted)| wanted).collect();
        assert_eq!(found[0], Wanted { certificates: Some("ca".into()), proxy: None });
        assert_eq!(found[1], Wanted { certificates: None, proxy: Some("egress".into()) });
    }
}
