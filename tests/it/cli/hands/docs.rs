//! The Role that the how-to gives to people. Its commands are run by `tests/it/docs`.

use serde_json::Value;

const HOW_TO: &str = include_str!("../../../../docs/how-to/steer-a-release-set.md");

/// The rules of the Role that the page gives to people.
pub fn rules() -> Value {
    let (_, rest) = HOW_TO.split_once("```yaml\n").expect("the page has a block of YAML");
    let (role, _) = rest.split_once("```").expect("a block ends");
    let role: Value = serde_saphyr::from_str(role).expect("the Role is YAML");
    role["rules"].clone()
}
