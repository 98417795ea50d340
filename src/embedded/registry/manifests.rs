//! Manifests and indexes: read, pushed, deleted.

use axum::{
    body::Body,
    http::{Method, StatusCode, header},
};
use serde_json::Value;

use super::{
    DOCKER_LIST, DOCKER_MANIFEST, Shared, State,
    error::OciError,
    routes::{Answer, CONTENT_DIGEST, Call, answer},
    store::{self, StoredManifest, child_for},
};
use crate::embedded::image::{MEDIA_TYPE_INDEX, MEDIA_TYPE_MANIFEST, sha256};

/// Largest manifest, the limit of docker-registry.
const MANIFEST_BYTES_MAX: usize = 4 << 20;

/// Any request under `/v2/NAME/manifests/`.
pub(super) fn manifest(shared: &Shared, state: &mut State, call: &Call) -> Answer {
    let name = call.info.repository.as_deref().unwrap_or("");
    let reference = call.info.reference.as_deref().unwrap_or("");
    if !store::is_digest(reference) && !store::is_tag(reference) {
        return Err(OciError::manifest_invalid(format!("neither a tag nor a sha256 digest: {reference}")));
    }
    match call.info.method {
        Method::GET | Method::HEAD => get_manifest(state, call, name, reference),
        Method::PUT => put_manifest(shared, state, call, name, reference),
        Method::DELETE => delete_manifest(state, name, reference),
        _ => Err(OciError::unsupported("manifests know GET, HEAD, PUT and DELETE")),
    }
}

fn get_manifest(state: &State, call: &Call, name: &str, reference: &str) -> Answer {
    let unknown = || OciError::manifest_unknown(format!("manifest unknown: {name} has no {reference}"));
    let (digest, manifest) = state.store.manifest(name, reference).ok_or_else(unknown)?;
    let etag = format!("\"{digest}\"");
    if call
        .headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .any(|sent| sent == etag.as_str() || sent == digest.as_str())
    {
        return Ok(answer(StatusCode::NOT_MODIFIED, &[], Body::empty()));
    }
    let (digest, manifest) = acceptable(state, call, name, (digest, manifest), reference)?;
    let headers = [
        (header::CONTENT_TYPE.as_str(), manifest.media_type.as_str()),
        (CONTENT_DIGEST, &digest),
        (header::ETAG.as_str(), &etag),
    ];
    Ok(answer(StatusCode::OK, &headers, Body::from(manifest.content.clone())))
}

/// docker-registry's reading of `Accept`: four types by name, wildcards count for nothing; a Docker list asked by
/// tag with a weak `Accept` is answered with its linux/amd64 child.
fn acceptable<'a>(
    state: &'a State,
    call: &Call,
    name: &str,
    found: (String, &'a StoredManifest),
    reference: &str,
) -> Result<(String, &'a StoredManifest), OciError> {
    let accepted = call.info.accept.as_deref().unwrap_or("");
    let accepts = |media_type: &str| {
        accepted.split(',').any(|sent| sent.split(';').next().is_some_and(|sent| sent.trim() == media_type))
    };
    let by_tag = !store::is_digest(reference);
    let refused = |what: &str| {
        OciError::manifest_unknown(format!("{what} found, but accept header does not support {what}s"))
    };
    match found.1.media_type.as_str() {
        MEDIA_TYPE_MANIFEST if !accepts(MEDIA_TYPE_MANIFEST) => Err(refused("OCI manifest")),
        MEDIA_TYPE_INDEX if !accepts(MEDIA_TYPE_INDEX) => {
            Err(OciError::manifest_unknown("OCI index found, but accept header does not support OCI indexes"))
        }
        DOCKER_MANIFEST if by_tag && !accepts(DOCKER_MANIFEST) => Err(refused("schema 2 manifest")),
        DOCKER_LIST if by_tag && !accepts(DOCKER_LIST) => {
            let body: Value = serde_json::from_slice(&found.1.content).unwrap_or_default();
            child_for(&body, "linux/amd64")
                .and_then(|digest| state.store.manifest(name, digest))
                .ok_or_else(|| refused("manifest list"))
        }
        _ => Ok(found),
    }
}

fn put_manifest(shared: &Shared, state: &mut State, call: &Call, name: &str, reference: &str) -> Answer {
    if call.body.len() > MANIFEST_BYTES_MAX {
        let message = format!("the manifest is larger than {MANIFEST_BYTES_MAX} bytes");
        return Err(OciError::new(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", message));
    }
    let body: Value = serde_json::from_slice(&call.body)
        .map_err(|error| OciError::manifest_invalid(format!("manifest invalid: {error}")))?;
    let media_type = manifest_media_type(call, &body)?;
    let digest = sha256(&call.body);
    let by_tag = !store::is_digest(reference);
    if !by_tag && digest != reference {
        return Err(OciError::digest_invalid(format!("the manifest's digest is {digest}, not {reference}")));
    }
    let sparse = shared.sparse_indexes;
    if let Some(absent) = absent_part(state, name, &body, &media_type, sparse) {
        let message = format!("blob unknown to registry: {absent}");
        return Err(OciError::new(StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN", message));
    }
    state.store.put_manifest(name, by_tag.then_some(reference), &media_type, call.body.clone());
    let location = format!("/v2/{name}/manifests/{digest}");
    let headers = [(header::LOCATION.as_str(), location.as_str()), (CONTENT_DIGEST, &digest)];
    Ok(answer(StatusCode::CREATED, &headers, Body::empty()))
}

/// The `Content-Type`, which must not contradict the body's own `mediaType`.
fn manifest_media_type(call: &Call, body: &Value) -> Result<String, OciError> {
    let sent = call.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let own = body.get("mediaType").and_then(Value::as_str);
    let media_type = sent.or(own).unwrap_or("").split(';').next().unwrap_or("").trim();
    if ![MEDIA_TYPE_INDEX, MEDIA_TYPE_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST].contains(&media_type) {
        return Err(OciError::manifest_invalid(format!("unsupported manifest type: {media_type:?}")));
    }
    if own.is_some_and(|own| own != media_type) {
        let message = format!("the body's mediaType is {own:?}, the Content-Type {media_type:?}");
        return Err(OciError::manifest_invalid(message));
    }
    Ok(media_type.to_owned())
}

/// The first digest that the manifest names and the repository lacks.
fn absent_part(state: &State, name: &str, body: &Value, media_type: &str, sparse: bool) -> Option<String> {
    let entries =
        |field: &str| body.get(field).and_then(Value::as_array).map_or(&[][..], Vec::as_slice).iter();
    let digest = |entry: &Value| entry.get("digest").and_then(Value::as_str).map(str::to_owned);
    if media_type == MEDIA_TYPE_INDEX || media_type == DOCKER_LIST {
        let absent = |digest: &String| !sparse && state.store.manifest(name, digest).is_none();
        return entries("manifests").filter_map(digest).find(absent);
    }
    // Layers that may not be distributed stay where their `urls` say; Docker calls them foreign.
    let stays_away = |layer: &&Value| {
        let media_type = layer.get("mediaType").and_then(Value::as_str).unwrap_or("");
        media_type.contains(".nondistributable.") || media_type.contains(".foreign.")
    };
    let config = body.pointer("/config/digest").and_then(Value::as_str).map(str::to_owned);
    let layers = entries("layers").filter(|layer| !stays_away(layer)).filter_map(digest);
    config.into_iter().chain(layers).find(|digest| state.store.blob(name, digest).is_none())
}

fn delete_manifest(state: &mut State, name: &str, reference: &str) -> Answer {
    let deleted = if store::is_digest(reference) {
        state.store.delete_manifest(name, reference)
    } else {
        state.store.delete_tag(name, reference)
    };
    if !deleted {
        return Err(OciError::manifest_unknown(format!("manifest unknown: {name} has no {reference}")));
    }
    Ok(answer(StatusCode::ACCEPTED, &[], Body::empty()))
}
