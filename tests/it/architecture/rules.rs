//! The rules themselves: one table of arrows and a few words that some places must not say.

use std::path::Path;

use super::source::Source;

/// Lines that a file may have before its tests: past that it holds more than one thing.
const LINE_LIMIT: usize = 500;

/// Who may use whom: module, and the paths below `crate` that it may name (its own are always allowed).
const ARROWS: [(&str, &[&str]); 15] = [
    ("model", &[]),
    ("engine", &["model"]),
    ("telemetry", &[]),
    ("invariants", &["model", "engine"]),
    ("api", &["model", "engine", "telemetry"]),
    ("registry", &["model", "telemetry"]),
    ("smoke", &["model", "telemetry"]),
    ("flux", &["model", "telemetry"]),
    ("targets", &["model", "engine::clearance", "telemetry"]),
    ("guard", &["model", "telemetry"]),
    ("web", &["engine", "model", "telemetry"]),
    (
        "controller",
        &["model", "engine", "telemetry", "api", "registry", "smoke", "targets", "flux", "guard", "web"],
    ),
    ("embedded", &["telemetry"]),
    ("fuzz", &["model", "engine::semver", "api::duration", "registry::fuzz"]),
    (
        "cli",
        &[
            "model",
            "engine",
            "telemetry",
            "api",
            "registry",
            "smoke",
            "targets",
            "flux",
            "guard",
            "web",
            "controller",
            "embedded",
            "invariants",
        ],
    ),
];

/// Modules without input, output, clock or wire format.
const PURE: [&str; 3] = ["model", "engine", "invariants"];

/// What a pure module must not know: crates of the borders, and the parts of std that reach outside.
const IMPURE: [&str; 24] = [
    "axum",
    "http",
    "k8s_openapi",
    "kube",
    "oci_client",
    "reqwest",
    "schemars",
    "serde",
    "serde_json",
    "serde_saphyr",
    "tokio",
    "tower",
    "tracing",
    "std::env",
    "std::fs",
    "std::io",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::ToSocketAddrs",
    "std::net::UdpSocket",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
];

/// Macros that write to standard output or error, which belongs to one file.
const PRINTS: [&str; 4] = ["print", "println", "eprint", "eprintln"];
const PRINTER: &str = "src/cli/printer.rs";

/// Everything wrong with one file below `src/`, a line each: `path:line: what, and what to do`.
pub fn check_file(path: &Path, text: &str) -> Vec<String> {
    let source = Source::read(path, text);
    let mut found = Vec::new();
    check_size(&source, &mut found);
    check_prints(&source, &mut found);
    // lib.rs lists the modules and main.rs calls the command line; neither is part of the map.
    if let Some(module) = &source.module {
        check_arrows(&source, module, &mut found);
        if PURE.contains(&module.as_str()) {
            check_purity(&source, module, &mut found);
        }
    }
    found
}

/// Lines that name a folder which exists on one machine only.
pub fn check_machine_paths(path: &Path, text: &str) -> Vec<String> {
    let folders = [["/wo", "rk/"].concat(), ["/ro", "ot/"].concat()];
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for folder in &folders {
            let absolute = line.match_indices(folder.as_str()).any(|(at, _)| {
                let before = line[..at].chars().next_back();
                !before.is_some_and(|letter| letter.is_alphanumeric() || "._-".contains(letter))
            });
            if absolute {
                found.push(format!(
                    "{}:{}: names {folder}, a folder of one machine",
                    path.display(),
                    number + 1
                ));
            }
        }
    }
    found
}

fn check_size(source: &Source, found: &mut Vec<String>) {
    let lines = source.product_lines();
    if lines > LINE_LIMIT {
        found.push(format!(
            "{}: {lines} lines without tests, at most {LINE_LIMIT}: split it by what it is about",
            source.path
        ));
    }
}

fn check_prints(source: &Source, found: &mut Vec<String>) {
    if source.path == PRINTER {
        return;
    }
    for (line, word) in source.product_macros().filter(|(_, word)| PRINTS.contains(word)) {
        found.push(format!("{}:{line}: {word}! outside {PRINTER}: print through it", source.path));
    }
}

fn check_arrows(source: &Source, module: &str, found: &mut Vec<String>) {
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == module) else {
        found.push(format!(
            "{}: {module} is no module of ARCHITECTURE.md: put this where the map says, or add an arrow to the map and to \
             tests/it/architecture/rules.rs",
            source.path
        ));
        return;
    };
    for (line, target) in source.paths_below("crate") {
        if !within(&target, module) && !allowed.iter().any(|arrow| within(&target, arrow)) {
            let may = if allowed.is_empty() { "nothing".to_owned() } else { allowed.join(", ") };
            found.push(format!(
                "{}:{line}: {module} must not use crate::{target} (it may use: {may})",
                source.path
            ));
        }
    }
    for (line, written) in source.escapes_through_super() {
        found.push(format!(
            "{}:{line}: {written} leaves the module: write crate::… so that the arrow shows",
            source.path
        ));
    }
}

fn check_purity(source: &Source, module: &str, found: &mut Vec<String>) {
    for name in IMPURE {
        let (first, rest) = name.split_once("::").unwrap_or((name, ""));
        let named = source.paths_below(first).into_iter().find(|(_, target)| within(target, rest));
        if let Some((line, _)) = named {
            found.push(format!(
                "{}:{line}: {module} must not know {name}: it decides on values alone",
                source.path
            ));
        }
    }
}

/// Whether `path` is `prefix` or lies below it; everything lies below the empty prefix.
fn within(path: &str, prefix: &str) -> bool {
    let Some(rest) = path.strip_prefix(prefix) else { return false };
    prefix.is_empty() || rest.is_empty() || rest.starts_with("::")
}
