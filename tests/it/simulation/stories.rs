//! The stories: the small worlds in which every crash point is tried.

use serde_json::{Value, json};

use super::story::Act::{
    Blocked, Condition, DeleteTag, Edit, Note, Outage, Pass, Promoted, Push, PushBad, Recreate, Repush,
    Restore, Rotate, Verdicts,
};
use super::story::{Act, Story};
use super::trouble::Lock;
use super::world::HOST;

const BOTH: &[&str] = &["app", "worker"];

/// Every story, in order of name.
pub fn all() -> Vec<Story> {
    let mut stories = vec![first_promotion(), smoke_fails()];
    stories.extend(pushes());
    stories.extend(hands());
    stories.extend(lost_status());
    stories.extend(trouble());
    stories.sort_by_key(|story| story.name);
    stories
}

/// The story of that name.
pub fn named(name: &str) -> Option<Story> {
    all().into_iter().find(|story| story.name == name)
}

/// Two siblings, one ConfigMap; changed by `with`.
pub fn spec(with: Value) -> Value {
    let mut spec = json!({
        "interval": "10s",
        "driftInterval": "10s",
        "images": [
            {"name": "app", "repository": format!("{HOST}/acme/app")},
            {"name": "worker", "repository": format!("{HOST}/acme/worker")},
        ],
        "candidates": {
            "filterTags": {"pattern": "^main-(?P<n>[0-9]+)$", "extract": "$n"},
            "policy": {"numerical": {"order": "asc"}},
            "settle": "5s",
        },
        "targets": [{"name": "config", "configMap": {"name": "acme-release"}}],
    });
    if let (Some(spec), Value::Object(with)) = (spec.as_object_mut(), with) {
        spec.extend(with);
    }
    spec
}

fn story(name: &'static str, with: Value, acts: Vec<Act>) -> Story {
    Story { name, spec: spec(with), acts, lock: Lock::Open }
}

fn smoke() -> Value {
    json!([{"name": "worker-boots", "smoke": {"image": "worker", "command": ["/app", "--self-check"]}}])
}

fn two_targets() -> Value {
    json!([
        {"name": "config", "configMap": {"name": "acme-release"}},
        {"name": "more", "configMap": {"name": "acme-more"}},
    ])
}

fn first_promotion() -> Story {
    let acts = vec![Push("main-1", BOTH), Promoted("main-1", 1)];
    story("first-promotion", json!({"gates": smoke(), "targets": two_targets()}), acts)
}

fn smoke_fails() -> Story {
    let acts = vec![
        Push("main-1", &["app"]),
        PushBad("worker", "main-1"),
        Condition("SmokePassed", "False"),
        Push("main-2", BOTH),
        Promoted("main-2", 1),
    ];
    story("smoke-fails", json!({"gates": smoke()}), acts)
}

fn pushes() -> Vec<Story> {
    vec![
        story(
            "sibling-late",
            json!({}),
            vec![
                Push("main-1", &["app"]),
                Blocked("worker"),
                Push("main-1", &["worker"]),
                Promoted("main-1", 1),
            ],
        ),
        story(
            "two-releases",
            json!({}),
            vec![
                Push("main-1", BOTH),
                Promoted("main-1", 1),
                Push("main-3", &["app"]),
                Push("main-2", BOTH),
                Promoted("main-2", 2),
                Push("main-3", &["worker"]),
                Promoted("main-3", 3),
            ],
        ),
        story(
            "re-push",
            json!({"gates": smoke()}),
            vec![
                Push("main-1", &["worker"]),
                Verdicts(1),
                Repush("worker", "main-1", 1),
                Push("main-1", &["app"]),
                Promoted("main-1", 1),
            ],
        ),
        story(
            "tag-moved",
            json!({}),
            vec![
                Push("main-1", BOTH),
                Promoted("main-1", 1),
                Repush("worker", "main-1", 1),
                Condition("TagMoved", "True"),
            ],
        ),
        story(
            "tag-moves",
            json!({"onTagMoved": "Repromote", "gates": smoke()}),
            vec![Push("main-1", BOTH), Promoted("main-1", 1), Pass(5)],
        ),
        story(
            "tag-moved-repromote",
            json!({"onTagMoved": "Repromote"}),
            vec![
                Push("main-1", BOTH),
                Promoted("main-1", 1),
                Repush("worker", "main-1", 1),
                Promoted("main-1", 2),
            ],
        ),
    ]
}

fn hands() -> Vec<Story> {
    vec![
        story(
            "rollback",
            json!({}),
            vec![
                Push("main-1", BOTH),
                Promoted("main-1", 1),
                Push("main-2", BOTH),
                Promoted("main-2", 2),
                Edit(json!({"pin": "main-1"})),
                Promoted("main-1", 3),
                Edit(json!({"pin": null})),
                Promoted("main-1", 4),
            ],
        ),
        story(
            "spec-edit",
            json!({}),
            vec![
                Push("main-1", BOTH),
                Promoted("main-1", 1),
                Edit(json!({"targets": two_targets()})),
                Promoted("main-1", 2),
                Edit(json!({"targets": [{"name": "more", "configMap": {"name": "acme-more"}}]})),
                Promoted("main-1", 3),
            ],
        ),
        story(
            "suspended",
            json!({}),
            vec![
                Push("main-1", BOTH),
                Promoted("main-1", 1),
                Edit(json!({"suspend": true})),
                Push("main-2", BOTH),
                Pass(20),
                Edit(json!({"suspend": null})),
                Promoted("main-2", 2),
            ],
        ),
    ]
}

/// After a backup of the first release's status the second one was promoted.
fn with_backup(then: impl IntoIterator<Item = Act>) -> Vec<Act> {
    let before =
        [Push("main-1", BOTH), Promoted("main-1", 1), Note, Push("main-2", BOTH), Promoted("main-2", 2)];
    before.into_iter().chain(then).collect()
}

fn lost_status() -> Vec<Story> {
    vec![
        story(
            "recreated",
            json!({}),
            vec![
                Push("main-1", BOTH),
                Promoted("main-1", 1),
                Push("main-2", BOTH),
                Promoted("main-2", 2),
                Recreate,
                Promoted("main-2", 3),
            ],
        ),
        story(
            "deleted-with-targets",
            json!({"deletionPolicy": "Delete"}),
            vec![Push("main-1", BOTH), Promoted("main-1", 1), Recreate, Promoted("main-1", 1)],
        ),
        story("restored-older", json!({}), with_backup([Recreate, Restore(0), Promoted("main-2", 3)])),
        // Found by a random schedule: the status came back after targets were read for a set without one.
        story(
            "restored-late",
            json!({}),
            with_backup([Outage(true), Recreate, Pass(12), Restore(0), Outage(false), Promoted("main-2", 3)]),
        ),
        story(
            "restored-gone",
            json!({}),
            with_backup([
                DeleteTag("worker", "main-2"),
                Recreate,
                Restore(0),
                Pass(15),
                Push("main-3", BOTH),
                Promoted("main-3", 3),
            ]),
        ),
    ]
}

fn trouble() -> Vec<Story> {
    let rotated = vec![
        Push("main-1", BOTH),
        Promoted("main-1", 1),
        Rotate("second"),
        Push("main-2", BOTH),
        Promoted("main-2", 2),
    ];
    let mut rotated = story("secret-rotated", json!({}), rotated);
    rotated.lock = Lock::Password;
    let tokens = vec![
        Push("main-1", &["app"]),
        Blocked("worker"),
        Pass(20),
        Push("main-1", &["worker"]),
        Promoted("main-1", 1),
        Rotate("second"),
        Push("main-2", BOTH),
        Promoted("main-2", 2),
    ];
    let mut tokens = story("tokens-expire", json!({}), tokens);
    tokens.lock = Lock::Token;
    vec![
        rotated,
        tokens,
        story(
            "registry-outage",
            json!({}),
            vec![
                Push("main-1", BOTH),
                Promoted("main-1", 1),
                Push("main-2", &["app"]),
                Outage(true),
                Push("main-2", &["worker"]),
                Pass(15),
                Outage(false),
                Promoted("main-2", 2),
            ],
        ),
    ]
}
