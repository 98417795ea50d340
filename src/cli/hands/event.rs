//! Who did what to a set and why, kept as an Event of it (events.k8s.io/v1, reporting controller `tidegate-cli`).
//!
//! An Event never decides anything: when it cannot be written, that is said and the change stays.

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Api;
use kube::api::{DynamicObject, PostParams};

use crate::cli::cluster::{Cluster, FIELD_MANAGER};
use crate::cli::render::one_line;
use crate::telemetry::clock::Clock;
use crate::telemetry::kube_call::{CallError, call, clip};

/// Longest note that the API server takes is 1 kB; `clip` counts bytes.
const NOTE_MAX_BYTES: usize = 1000;
/// Longest user name that is kept: names of cloud roles are shorter.
const USER_MAX_BYTES: usize = 256;
/// Longest `reportingInstance` that the API server takes.
const INSTANCE_MAX_BYTES: usize = 128;

/// What was done to a set, for its Event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed {
    /// The Event's reason and action: `Suspended`, `Resumed`, `Pinned`, `Unpinned`, `Skipped`, `Unskipped` or `Retried`.
    pub reason: &'static str,
    /// What was done, as the beginning of a sentence: `pinned main-5`.
    pub what: String,
}

/// The name by which the API server knows the person, where it tells.
pub async fn user(cluster: &Cluster) -> Option<String> {
    let api: Api<SelfSubjectReview> = Api::all(cluster.client());
    let review = call(api.create(&PostParams::default(), &SelfSubjectReview::default())).await.ok()?;
    let name = review.status?.user_info?.username.filter(|name| !name.is_empty())?;
    Some(clip(&one_line(&name), USER_MAX_BYTES))
}

/// Writes the Event of `deed` on `set`.
///
/// # Errors
/// When the API server refuses it or does not answer.
pub async fn write(
    cluster: &Cluster,
    set: &DynamicObject,
    deed: &Deed,
    user: Option<&str>,
    reason: Option<&str>,
) -> Result<(), CallError> {
    let api: Api<Event> = Api::namespaced(cluster.client(), cluster.namespace());
    let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    let event = event(set, deed, user, reason, cluster.namespace());
    call(api.create(&params, &event)).await.map(drop)
}

fn event(
    set: &DynamicObject,
    deed: &Deed,
    user: Option<&str>,
    reason: Option<&str>,
    namespace: &str,
) -> Event {
    let types = set.types.clone().unwrap_or_default();
    let name = set.metadata.name.clone().unwrap_or_default();
    Event {
        metadata: ObjectMeta {
            namespace: Some(namespace.to_owned()),
            generate_name: Some(format!("{}-", prefix(&name))),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(Clock::system().now())),
        type_: Some("Normal".to_owned()),
        reason: Some(deed.reason.to_owned()),
        action: Some(deed.reason.to_owned()),
        note: Some(note(deed, user, reason)),
        regarding: Some(ObjectReference {
            api_version: Some(types.api_version),
            kind: Some(types.kind),
            namespace: Some(namespace.to_owned()),
            name: Some(name),
            uid: set.metadata.uid.clone(),
            resource_version: set.metadata.resource_version.clone(),
            field_path: None,
        }),
        reporting_controller: Some(FIELD_MANAGER.to_owned()),
        reporting_instance: Some(clip(user.unwrap_or(FIELD_MANAGER), INSTANCE_MAX_BYTES)),
        ..Event::default()
    }
}

/// What the Event's name begins with: the API server refuses a prefix that is no name or longer than one (253).
fn prefix(name: &str) -> &str {
    const PREFIX_MAX_BYTES: usize = 200;
    // Names of objects are ASCII.
    name.get(..PREFIX_MAX_BYTES).unwrap_or(name).trim_end_matches(['.', '-'])
}

/// `pinned main-5 by alice: the queue of main-6 stands`.
fn note(deed: &Deed, user: Option<&str>, reason: Option<&str>) -> String {
    let by = user.map(|user| format!(" by {user}")).unwrap_or_default();
    let why = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    // The reason comes whole before anything else does.
    let room = NOTE_MAX_BYTES.saturating_sub(by.len() + why.len());
    format!("{}{by}{why}", clip(&deed.what, room))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_of_a_name_is_a_name() {
        assert_eq!(prefix("shop"), "shop");
        assert_eq!(prefix(&format!("{}.{}", "a".repeat(199), "b".repeat(53))), "a".repeat(199));
    }

    #[test]
    fn a_note_keeps_the_reason_and_its_limit() {
        let deed = Deed { reason: "Pinned", what: "pinned main-5".to_owned() };
        assert_eq!(note(&deed, None, None), "pinned main-5");
        assert_eq!(note(&deed, Some("alice"), Some("main-6 leaks")), "pinned main-5 by alice: main-6 leaks");
        let long = Deed { reason: "Skipped", what: "x".repeat(4_000) };
        let (user, why) = ("u".repeat(USER_MAX_BYTES), "w".repeat(super::super::args::REASON_MAX_BYTES));
        let text = note(&long, Some(&user), Some(&why));
        assert!(text.len() <= NOTE_MAX_BYTES && text.ends_with(&why), "{}", text.len());
    }
}
