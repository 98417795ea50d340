//! What our definition holds by CEL, for an embedded API that evaluates none: the same rules as `lint` has them.
//!
//! Which of them an API server holds is told by the bad files of `tests/corpus`: the contract of the embedded API
//! sends each to both.

use serde_json::Value;

use crate::api::validate;
use crate::api::{ReleaseSetSpec, rules};
use crate::model::Problem;

/// What only `lint` and the controller say of a spec: parts of the field or of the message.
const LEFT_TO_LINT: [&str; 5] = [
    ".semver.range",
    "is not required of image `",
    ", which is no required image of this set",
    "has the placeholder {",
    "is written in any case: give it another name",
];

/// Path and message of everything that the definition's CEL rules refuse in an object. Empty for a spec that the
/// schema refuses.
pub fn refusals(object: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let [named] = rules::OBJECT else { return found };
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    if name.len() > NAME_MAX_BYTES {
        found.push(("<nil>".to_owned(), named.message.to_owned()));
    }
    let Ok(spec) = serde_json::from_value::<ReleaseSetSpec>(object["spec"].clone()) else { return found };
    let problems = validate::policy(&spec, 1).err().unwrap_or_default();
    let held = problems.into_iter().filter(|problem| !is_left_to_lint(object, problem));
    found.extend(held.map(|problem| (problem.field, problem.message)));
    found
}

/// Of `metadata.name`, as the rule says it.
const NAME_MAX_BYTES: usize = 63;

fn is_left_to_lint(object: &Value, problem: &Problem) -> bool {
    let is_named_twice =
        problem.message.starts_with("names ") && problem.message.ends_with(" twice: remove one");
    LEFT_TO_LINT.iter().any(|part| problem.field.ends_with(part) || problem.message.contains(part))
        || (is_named_twice && !has_equal_texts(object, &problem.field))
}

/// CEL compares texts: two spellings of one platform are two.
fn has_equal_texts(object: &Value, field: &str) -> bool {
    let pointer: String =
        field.replace(']', "").split(['.', '[']).flat_map(|segment| ["/", segment]).collect();
    let items = object.pointer(&pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    items.iter().enumerate().any(|(index, item)| items[..index].contains(item))
}
