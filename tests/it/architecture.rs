//! Keeps the arrows between modules, the purity of the core and the size of files (ARCHITECTURE.md says why).
//!
//! Reads source text, not syntax trees: comments and literals are blanked first, then words are compared. The checker is
//! itself checked on planted violations at the end.

mod rules;
mod source;

use std::path::{Path, PathBuf};
use std::process::Command;

use rules::{check_file, check_machine_paths};

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file that git tracks or would take, relative to the root.
fn files() -> Vec<PathBuf> {
    let output = Command::new("git")
        // A clone made by another user, as in containers, is still this repository.
        .args(["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git runs");
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).expect("file names are UTF-8");
    // A file removed but not yet committed is listed and absent.
    names.split_terminator('\0').map(PathBuf::from).filter(|path| root().join(path).is_file()).collect()
}

/// Path and text of every Rust file below one of `folders`.
pub fn rust_sources(folders: &[&str]) -> Vec<(PathBuf, String)> {
    let is_source = |path: &PathBuf| {
        path.extension() == Some("rs".as_ref()) && folders.iter().any(|folder| path.starts_with(folder))
    };
    let text = |path: &Path| std::fs::read_to_string(root().join(path)).expect("sources are UTF-8");
    files().into_iter().filter(is_source).map(|path| (path.clone(), text(&path))).collect()
}

#[test]
fn modules_keep_their_arrows_purity_and_size() {
    let mut sources = 0;
    let mut found = Vec::new();
    for (path, text) in rust_sources(&["src"]) {
        found.extend(check_file(&path, &text));
        sources += 1;
    }
    assert!(sources >= 10, "only {sources} source files were found");
    assert!(found.is_empty(), "\n{}\n\nThe rules and their reasons: ARCHITECTURE.md\n", found.join("\n"));
}

#[test]
fn nothing_tracked_names_a_path_of_one_machine() {
    let mut found = Vec::new();
    for path in files() {
        let bytes = std::fs::read(root().join(&path)).expect("tracked files can be read");
        found.extend(check_machine_paths(&path, &String::from_utf8_lossy(&bytes)));
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

/// Each line: where a file lies, what it says, and a part of the complaint that is due.
const PLANTED: [(&str, &str, &str); 16] = [
    (
        "src/engine/gates.rs",
        "use crate::registry::Registry;",
        "src/engine/gates.rs:1: engine must not use crate::registry",
    ),
    ("src/model/tag.rs", "\n\nuse crate::engine;", "src/model/tag.rs:3: model must not use crate::engine"),
    (
        "src/api/mod.rs",
        "use crate::{model::Tag, controller::{act}};",
        "api must not use crate::controller::act",
    ),
    ("src/registry/mod.rs", "fn f() { crate::smoke::run() }", "registry must not use crate::smoke"),
    ("src/smoke/job.rs", "use super::super::targets::Target;", "targets"),
    ("src/targets/mod.rs", "use super::api::v1alpha1;", "write crate::"),
    ("src/targets/flux.rs", "use crate::engine::decide;", "targets must not use crate::engine::decide"),
    ("src/targets/flux.rs", "use crate::engine::{clearance::Clearance, policy};", "crate::engine::policy"),
    ("src/targets/flux.rs", "use crate::engine::*;", "crate::engine::*"),
    ("src/embedded/api.rs", "use crate::model::Tag;", "embedded must not use crate::model"),
    ("src/telemetry/log.rs", "use crate::cli::exit;", "telemetry must not use crate::cli"),
    ("src/engine/mod.rs", "use serde::Serialize;", "engine must not know serde"),
    ("src/model/time.rs", "type T = std::time::SystemTime;", "model must not know std::time::SystemTime"),
    ("src/web/mod.rs", "fn f() { println!(\"x\") }", "src/cli/printer.rs"),
    ("src/helpers/mod.rs", "", "helpers is no module of ARCHITECTURE.md"),
    ("src/cli/mod.rs", "use crate::surprise::X;", "cli must not use crate::surprise"),
];

#[test]
fn planted_violations_are_found() {
    for (path, text, complaint) in PLANTED {
        let found = check_file(Path::new(path), text);
        assert!(
            found.iter().any(|line| line.contains(complaint)),
            "{path}: {text:?} gave {found:?}, not {complaint:?}"
        );
        assert_eq!(found.len(), 1, "{path}: {text:?} gave {found:?}");
    }
}

#[test]
fn what_is_allowed_is_let_through() {
    let allowed = [
        ("src/targets/flux.rs", "use crate::engine::clearance::{self, Clearance};\nuse crate::model::Tag;"),
        (
            "src/controller/act.rs",
            "use crate::{api, engine::{self, decide}, registry, smoke, targets, telemetry, web};",
        ),
        (
            "src/engine/mod.rs",
            "// use crate::registry\n/* crate::api /* crate::cli */ crate::web */\nconst A: &str = \"crate::api\";",
        ),
        (
            "src/engine/mod.rs",
            "const A: &str = r#\"use \"kube::Client\" here\"#; const B: char = '\"'; use crate::model;",
        ),
        ("src/model/tag.rs", "fn kube<'a>(serde: &'a str) -> &'a str { serde }"),
        (
            "src/model/tag.rs",
            "use super::digest; #[cfg(test)]\nmod tests { use super::*; use super::super::digest::D; fn f() { println!() } }",
        ),
        ("src/cli/printer.rs", "fn f() { println!(\"x\") }"),
        ("src/cli/demo/mod.rs", "use crate::embedded::image::Image; use crate::controller;"),
    ];
    for (path, text) in allowed {
        assert_eq!(check_file(Path::new(path), text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn only_product_lines_count_for_the_size() {
    let lines = |count: usize| "fn f() {}\n".repeat(count);
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", lines(900));
    let check = |path: &str, text: &str| check_file(Path::new(path), text);
    assert!(check("src/model/a.rs", &(lines(500) + &tests)).is_empty());
    assert!(check("src/model/a/tests.rs", &lines(900)).is_empty());
    let long = check("src/model/a.rs", &(lines(501) + &tests));
    assert_eq!(long.len(), 1, "{long:?}");
    assert!(long[0].contains("501 lines"), "{long:?}");
}

#[test]
fn paths_of_one_machine_are_found_and_others_are_not() {
    // Put together here, so that this file does not fail its own check.
    let (work, home) = (["/wo", "rk/"].concat(), ["/ro", "ot/"].concat());
    let path = Path::new("docs/a.md");
    for text in
        [format!("see {work}main"), format!("\"{home}.docker\""), work.clone(), format!("a\nfile://{work}x")]
    {
        assert_eq!(check_machine_paths(path, &text).len(), 1, "{text}");
    }
    for text in [format!("target{work}x"), format!("./x{home}y"), "/working/".to_owned()] {
        assert_eq!(check_machine_paths(path, &text), Vec::<String>::new(), "{text}");
    }
}
