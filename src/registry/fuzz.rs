//! What must hold for every text that a registry or a Secret may hold: bodies for cargo-fuzz and for the tests that
//! replay its corpora. The product never calls them.

use jiff::Timestamp;
use serde_json::Value;

use crate::model::sighting::{Defect, Doubt};
use crate::registry::evidence::link::next_link;
use crate::registry::evidence::manifest::{
    self, DOCKER_LIST, DOCKER_MANIFEST, Manifest, OCI_INDEX, OCI_MANIFEST,
};
use crate::registry::identity::challenge::{Challenge, strongest};
use crate::registry::identity::credentials::{CANDIDATES_MAX, Credential};
use crate::registry::identity::keyring::Keyring;
use crate::registry::verdict::{Absence, RETRY_AFTER_MAX_SECS, retry_after};

use secrecy::ExposeSecret as _;

/// Longest message about a manifest that is named by one letter: a sentence, and nothing of the body.
const MESSAGE_MAX_BYTES: usize = 400;
/// Shortest run of letters and digits that may not come back in a message: longer than any word of ours.
const SECRET_MIN_BYTES: usize = 12;

macro_rules! hold {
    ($condition:expr, $($what:tt)+) => {
        if !$condition {
            return Err(format!($($what)+));
        }
    };
}

/// The text of a header value; others never reach a parser.
fn header(data: &[u8]) -> Option<&str> {
    let is_sound = data.iter().all(|&byte| byte == b'\t' || (0x20..0x7f).contains(&byte));
    std::str::from_utf8(data).ok().filter(|_| is_sound)
}

/// `WWW-Authenticate`.
///
/// # Errors
/// What did not hold.
pub fn www_authenticate(data: &[u8]) -> Result<(), String> {
    let Some(text) = header(data) else { return Ok(()) };
    let read = |values: &[&str]| strongest(values.iter().copied());
    let found = read(&[text]);
    hold!(found == read(&["Negotiate", text]), "a challenge that we do not speak hides another");
    let Some(Challenge::Bearer { realm, .. }) = found else { return Ok(()) };
    hold!(realm.len() <= text.len(), "the realm {realm:?} is longer than the header");
    let quoted = realm.replace('\\', "\\\\").replace('"', "\\\"");
    let again = read(&[&format!("Bearer realm=\"{quoted}\"")]);
    let expected = Challenge::Bearer { realm: realm.clone(), service: None };
    // A printed header may pass the length that is looked at.
    hold!(again.is_none_or(|again| again == expected), "the realm {realm:?} does not come back");
    for appended in [", realm=\"https://other.example/\"", ", Bearer realm=\"https://other.example/\""] {
        match read(&[&format!("{text}{appended}"), "Bearer realm=\"https://other.example/\""]) {
            Some(Challenge::Bearer { realm: then, .. }) => {
                let too_long = text.len() + appended.len() > 4_096;
                hold!(then == realm || too_long, "what is appended redirects {realm:?} to {then:?}");
            }
            other => return Err(format!("what is appended turns Bearer into {other:?}")),
        }
    }
    Ok(())
}

/// `Link`.
///
/// # Errors
/// What did not hold.
pub fn link(data: &[u8]) -> Result<(), String> {
    let Some(text) = header(data) else { return Ok(()) };
    let found = next_link(text);
    let behind = format!("</v2/a/tags/list>; rel=\"prev\", {text}");
    hold!(next_link(&behind) == found, "another link in front changes {found:?}");
    let inside = text.replace(['"', '\\'], "");
    let title = format!("</v2/a/tags/list>; title=\"{inside}\"");
    hold!(next_link(&title).is_none(), "a title is taken for a relation: {title:?}");
    let Some(target) = found else { return Ok(()) };
    hold!(text.to_ascii_lowercase().contains("next"), "{target:?} is next, and nothing says so");
    hold!(text.contains(&format!("<{target}>")), "{target:?} does not stand in the header");
    let printed = format!("<{target}>; rel=\"next\"");
    hold!(next_link(&printed) == Some(target), "{target:?} does not come back");
    Ok(())
}

/// `Retry-After`.
///
/// # Errors
/// What did not hold.
pub fn retry_after_header(data: &[u8]) -> Result<(), String> {
    let Some(text) = header(data) else { return Ok(()) };
    let Ok(now) = "2026-11-21T10:00:00Z".parse::<Timestamp>() else { return Ok(()) };
    let trimmed = text.trim();
    let is_number = !trimmed.is_empty() && trimmed.bytes().all(|byte| byte.is_ascii_digit());
    let Some(secs) = retry_after(text, now) else {
        hold!(!is_number, "a number of seconds is not read");
        return Ok(());
    };
    hold!(secs <= RETRY_AFTER_MAX_SECS, "{secs} s is longer than any pause");
    hold!(retry_after(&secs.to_string(), now) == Some(secs), "{secs} does not come back");
    let exact = trimmed.parse::<u32>().ok().filter(|_| is_number);
    let expected = exact.unwrap_or(secs).min(RETRY_AFTER_MAX_SECS);
    hold!(secs == expected, "{trimmed:?} is read as {secs}");
    // A date is an instant: an hour later it is an hour nearer.
    if let (false, Some(later)) = (is_number, retry_after(text, Timestamp::MAX)) {
        hold!(later == 0, "a date is still {later} s away at the end of time");
    }
    Ok(())
}

/// Index, manifest and config JSON, under each Content-Type that is asked for.
///
/// # Errors
/// What did not hold.
pub fn manifest(data: &[u8]) -> Result<(), String> {
    let read = |content_type| manifest::parse(data, content_type, "x");
    let (index, image) = (read(OCI_INDEX), read(OCI_MANIFEST));
    hold!(index.is_err() || image.is_err(), "one body is an index and also an image");
    hold!(matches!(index, Err(_) | Ok(Manifest::Index(_))), "an image under the type of an index");
    hold!(matches!(image, Err(_) | Ok(Manifest::Image(_))), "an index under the type of an image");
    for content_type in ["", "text/html", "application/json", "application/octet-stream"] {
        hold!(read(content_type).is_err(), "{content_type:?} is taken for a manifest");
    }
    let answers = [index, image, read(DOCKER_LIST), read(DOCKER_MANIFEST)];
    let config = manifest::parse_config(data, "x").err();
    for absence in answers.iter().filter_map(|answer| answer.as_ref().err()).chain(&config) {
        sound(absence)?;
    }
    let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok();
    hold!(is_json || answers.iter().all(Result::is_err), "what is no JSON is taken for a manifest");
    // What we skip unread may hold what this reader refuses: a number past all bounds, half a surrogate.
    let Ok(body) = serde_json::from_slice::<Value>(data) else { return Ok(()) };
    answers.iter().flatten().try_for_each(|answer| agrees(answer, &body))
}

/// A body that cannot be read is never Missing, and is told in few plain words.
fn sound(absence: &Absence) -> Result<(), String> {
    match absence {
        Absence::Missing => Err("a body that is there is Missing".to_owned()),
        Absence::Broken(Defect { message, .. }) | Absence::Unknown(Doubt { message, .. }) => {
            hold!(message.len() <= MESSAGE_MAX_BYTES, "{} bytes of message", message.len());
            hold!(!message.chars().any(char::is_control), "control characters in {message:?}");
            Ok(())
        }
    }
}

/// Another reader of the same JSON, one for which the last of equal names counts, sees the same.
fn agrees(answer: &Manifest, body: &Value) -> Result<(), String> {
    let has = |name: &str| body.get(name).is_some_and(|value| !value.is_null());
    match answer {
        Manifest::Index(index) => {
            let entries = body.get("manifests").and_then(Value::as_array).map(Vec::as_slice);
            let digests = entries.unwrap_or_default().iter().map(|entry| entry["digest"].as_str());
            let ours = index.entries.iter().map(|entry| Some(entry.digest.as_str()));
            hold!(digests.eq(ours), "the children are not those of the JSON");
            hold!(!has("config") && !has("layers"), "an index with the parts of an image");
        }
        Manifest::Image(image) => {
            let digest = body["config"]["digest"].as_str();
            hold!(digest == Some(image.config.as_str()), "the config is not that of the JSON");
            hold!(!has("manifests"), "an image with the parts of an index");
        }
    }
    Ok(())
}

/// `.dockerconfigjson`.
///
/// # Errors
/// What did not hold.
pub fn docker_config(data: &[u8]) -> Result<(), String> {
    // Absent when this reader refuses what we skip unread.
    let keys: Option<Vec<String>> = serde_json::from_slice::<Value>(data)
        .ok()
        .and_then(|config| Some(config.get("auths")?.as_object()?.keys().cloned().collect()));
    let mut keyring = Keyring::default();
    if let Err(why) = keyring.add_docker_config_json("x", data) {
        hold!(why.len() <= MESSAGE_MAX_BYTES, "{} bytes of message", why.len());
        return tells_nothing(&why, data, &[]);
    }
    for host in ["ghcr.io", "docker.io", "127.0.0.1:5000"] {
        let Ok(repository) = format!("{host}/acme/app").parse() else { continue };
        let credentials = keyring.credentials(&repository);
        hold!(credentials.candidates().len() <= CANDIDATES_MAX, "too many credentials");
        for candidate in credentials.candidates() {
            let names_it = |key: &String| key.to_ascii_lowercase().contains(host) || key.contains(['*', '[']);
            let is_named = keys.as_ref().is_none_or(|keys| keys.iter().any(names_it));
            hold!(is_named, "{host} gets a credential that no key gives it");
            let (name, secret) = match &candidate.credential {
                Credential::Basic { username, password } => (username.as_str(), password),
                Credential::IdentityToken { username, token } => {
                    (username.as_deref().unwrap_or_default(), token)
                }
                Credential::RegistryToken { token } => ("", token),
            };
            let secret = secret.expose_secret();
            let is_apart = secret.len() >= SECRET_MIN_BYTES
                && !name.contains(secret)
                && !candidate.source.contains(secret);
            hold!(!is_apart || !format!("{candidate:?}").contains(secret), "Debug shows the password");
        }
        for why in credentials.problems() {
            tells_nothing(why, data, keys.as_deref().unwrap_or_default())?;
        }
    }
    Ok(())
}

/// A message holds nothing of a config but its `keys`, which name hosts.
fn tells_nothing(why: &str, data: &[u8], keys: &[String]) -> Result<(), String> {
    let text = String::from_utf8_lossy(data);
    let runs = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|run| run.len() >= SECRET_MIN_BYTES);
    let mut secret = runs.filter(|run| !keys.iter().any(|key| key.contains(*run)));
    let leaked = secret.find(|run| why.contains(*run));
    hold!(leaked.is_none(), "{leaked:?} of the config stands in {why:?}");
    Ok(())
}
