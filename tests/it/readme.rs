//! The demo of the front page is what the command prints, and objects that pages show can be applied.

use std::process::Command;

const README: &str = include_str!("../../README.md");
const BEGIN: &str = "<!-- demo:begin -->\n```text\n";
const END: &str = "```\n<!-- demo:end -->";

#[test]
fn the_demo_prints_what_the_readme_shows() {
    let demo = Command::new(env!("CARGO_BIN_EXE_tidegate")).arg("demo").output().expect("the demo runs");
    assert!(demo.status.success(), "{}", String::from_utf8_lossy(&demo.stderr));
    let printed = String::from_utf8(demo.stdout).expect("the demo prints UTF-8");
    let (_, rest) = README.split_once(BEGIN).expect("README.md has the block that begins the demo's output");
    let (shown, _) = rest.split_once(END).expect("README.md has the mark that ends the demo's output");
    assert!(
        shown == printed,
        "put the output of `cargo run -- demo` between the demo marks of README.md; it prints:\n{printed}"
    );
}

/// The blocks of a page that are YAML.
fn yaml_blocks(page: &str) -> Vec<&str> {
    let blocks = page.split("```yaml\n").skip(1);
    blocks.map(|rest| rest.split_once("```").expect("a block ends").0).collect()
}

/// Documents of a block that are objects of Kubernetes.
fn objects(block: &str) -> Vec<serde_json::Value> {
    let documents: Vec<serde_json::Value> =
        serde_saphyr::from_multiple(block).unwrap_or_else(|error| panic!("{error}\n{block}"));
    documents.into_iter().filter(|document| document["kind"].is_string()).collect()
}

#[test]
fn every_yaml_block_of_the_pages_parses_and_every_release_set_lints() {
    let (mut blocks, mut sets) = (0, 0);
    for path in crate::docs::paths() {
        let page = std::fs::read_to_string(&path).expect("pages are UTF-8");
        for block in yaml_blocks(&page) {
            blocks += 1;
            for object in objects(block).into_iter().filter(|object| object["kind"] == "ReleaseSet") {
                sets += 1;
                let spec = serde_json::from_value(object["spec"].clone())
                    .unwrap_or_else(|error| panic!("{}: {error}\n{block}", path.display()));
                let read = tidegate::api::validate::policy(&spec, 1);
                assert!(read.is_ok(), "{}: {read:?}\n{block}", path.display());
            }
        }
    }
    assert!(blocks >= 10 && sets >= 2, "{blocks} blocks, {sets} sets");
}
