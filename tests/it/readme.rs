//! What the front page shows is what the commands print.

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

#[test]
fn files_that_the_readme_links_to_exist() {
    let links = README.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    let files: Vec<&str> = links.map(|(link, _)| link).filter(|link| !link.contains("://")).collect();
    assert!(files.len() >= 5, "only {files:?}");
    for file in files {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        assert!(path.exists(), "README.md links to {file}");
    }
}
