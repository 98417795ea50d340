//! The command line as a person or a script meets it: the built binary, its exit code and both its streams.

mod audit;
mod check;
mod cluster;
mod completions;
mod demo;
mod doctor;
mod explain;
pub mod fixture;
pub mod hands;
pub mod init;
mod lint;
mod ping;
mod retry;
mod smoke_exec;

use fixture::{Call, call};

#[test]
fn help_says_what_it_does_and_every_exit_code() {
    insta::assert_snapshot!("help", call(&["--help"]).whole());
    insta::assert_snapshot!("help_check", call(&["check", "--help"]).whole());
    insta::assert_snapshot!("help_wait", call(&["wait", "--help"]).whole());
    insta::assert_snapshot!("help_registry", call(&["registry", "--help"]).whole());
    insta::assert_snapshot!("help_registry_ping", call(&["registry", "ping", "--help"]).whole());
    insta::assert_snapshot!("help_init", call(&["init", "--help"]).whole());
    insta::assert_snapshot!("help_audit", call(&["audit", "--help"]).whole());
    insta::assert_snapshot!("help_lint", call(&["lint", "--help"]).whole());
    insta::assert_snapshot!("help_explain", call(&["explain", "--help"]).whole());
    for command in ["doctor", "suspend", "resume", "pin", "unpin", "skip"] {
        insta::assert_snapshot!(format!("help_{command}"), call(&[command, "--help"]).whole());
    }
    for command in ["completions", "man"] {
        insta::assert_snapshot!(format!("help_{command}"), call(&[command, "--help"]).whole());
    }
    insta::assert_snapshot!("help_retry", call(&["retry", "--help"]).whole());
    insta::assert_snapshot!("help_controller", call(&["controller", "--help"]).whole());
    insta::assert_snapshot!("help_demo", call(&["demo", "--help"]).whole());
}

#[test]
fn usage_errors_name_the_mistake() {
    insta::assert_snapshot!("usage_none", call(&[]).whole());
    insta::assert_snapshot!("usage_unknown_command", call(&["chekc"]).whole());
    insta::assert_snapshot!("usage_check_without_file", call(&["check"]).whole());
    insta::assert_snapshot!("usage_bad_tag", call(&["check", "-f", "-", "--tag", "a b"]).whole());
    insta::assert_snapshot!("usage_bad_timeout", call(&["check", "-f", "-", "--timeout", "10"]).whole());
    insta::assert_snapshot!("usage_bad_format", call(&["check", "-f", "-", "-o", "xml"]).whole());
}

#[test]
fn as_a_kubectl_plugin_usage_says_what_was_typed() {
    let answer = Call::new(&["check"]).named("kubectl-tidegate").answer();
    assert_eq!(answer.code, 2);
    assert!(answer.stderr.contains("Usage: kubectl tidegate check --file <FILE>"), "{}", answer.stderr);
    let version = Call::new(&["--version"]).named("kubectl-tidegate").answer();
    assert_eq!((version.code, version.stderr.as_str()), (0, ""));
}

#[test]
fn crd_prints_the_definition_and_nothing_else() {
    let answer = call(&["crd"]);
    assert_eq!((answer.code, answer.stderr.as_str()), (0, ""));
    let crd = tidegate::api::crd::crd_yaml().unwrap();
    assert_eq!(answer.stdout, crd);
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    // `true` ends without reading; the definition is larger than a pipe's buffer may be.
    let script = "\"$0\" crd | true; echo \"code ${PIPESTATUS[0]}\"";
    let output =
        std::process::Command::new("bash").args(["-c", script, fixture::BINARY]).output().expect("bash runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "code 0\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    let full = std::fs::File::options().write(true).open("/dev/full").expect("Linux has /dev/full");
    let output = std::process::Command::new(fixture::BINARY)
        .arg("crd")
        .stdout(full)
        .output()
        .expect("the binary runs");
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.starts_with("error: failed to write to standard output\n  No space left"), "{stderr}");
}
