//! Completions and manual pages, loaded by the programs that they are for.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;

use super::fixture::{BINARY, Folder, call};
use crate::cluster::tools::{Tools, say_once};

/// Sources the script in bash and asks it as readline does.
const ASK: &str = r#"
source "$1" || exit 1
COMP_WORDS=(tidegate "${@:2}") COMP_CWORD=$(($# - 1))
complete -p tidegate >/dev/null || exit 1
_tidegate tidegate "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
"#;

#[test]
fn bash_completes_commands_and_options() {
    let folder = Folder::new("completions");
    let script = folder.0.join("tidegate.bash");
    std::fs::write(&script, call(&["completions", "bash"]).stdout).unwrap();
    for (words, expected) in [
        (&["ex"][..], "explain"),
        (&["pin", "--dr"], "--dry-run"),
        (&["registry", "p"], "ping"),
        (&["check", "--output", "mark"], "markdown"),
    ] {
        let asked = Command::new("bash").args(["-c", ASK, "ask"]).arg(&script).args(words).output().unwrap();
        let said = String::from_utf8_lossy(&asked.stdout);
        assert!(
            asked.status.success() && asked.stderr.is_empty(),
            "{}",
            String::from_utf8_lossy(&asked.stderr)
        );
        assert_eq!(said.trim(), expected, "{words:?}");
    }
}

#[test]
fn every_shell_has_a_script_that_names_every_command() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let answer = call(&["completions", shell]);
        assert_eq!((answer.code, answer.stderr.as_str()), (0, ""), "{shell}");
        for command in ["check", "explain", "suspend", "completions", "man", "controller"] {
            assert!(answer.stdout.contains(command), "{shell} does not know {command}");
        }
    }
}

/// kubectl itself asks the script, as `kubectl tidegate <TAB>` does.
#[test]
fn kubectl_completes_the_plugin() {
    let Some(tools) = Tools::require("kubectl completions", &["kubectl"]) else { return };
    let folder = Folder::new("kubectl-completions");
    let script = folder.0.join("kubectl_complete-tidegate");
    std::fs::write(&script, call(&["completions", "kubectl"]).stdout).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    symlink(BINARY, folder.0.join("kubectl-tidegate")).unwrap();
    let path = format!("{}:{}", folder.0.display(), std::env::var_os("PATH").unwrap().display());
    for (words, expected) in [(&["sus"][..], "suspend\n"), (&["pin", "--dr"], "--dry-run\n")] {
        let asked = Command::new(tools.path("kubectl"))
            .args(["__complete", "tidegate"])
            .args(words)
            .env("PATH", &path)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&asked.stdout);
        assert!(said.starts_with(expected), "{words:?}: {said}{}", String::from_utf8_lossy(&asked.stderr));
    }
}

#[test]
fn the_manual_has_a_page_for_each_command_that_man_can_show() {
    use clap::CommandFactory as _;
    let folder = Folder::new("man");
    let answer = call(&["man", &folder.0.display().to_string()]);
    assert_eq!((answer.code, answer.stdout.as_str(), answer.stderr.as_str()), (0, "", ""));
    let mut pages: Vec<_> =
        std::fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    for command in tidegate::cli::args::Cli::command().get_subcommands() {
        let name = format!("tidegate-{}.1", command.get_name());
        assert!(pages.iter().any(|page| page.ends_with(&name)), "{name} is missing");
    }
    let groff = Command::new("groff").arg("--version").output().is_ok();
    if !groff {
        say_once("groff is not installed: manual pages are checked for their sections only".to_owned());
    }
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        for section in [".TH ", ".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION"] {
            assert!(text.lines().any(|line| line.starts_with(section)), "{}: no {section}", page.display());
        }
        if groff {
            let checked =
                Command::new("groff").args(["-man", "-Tutf8", "-ww", "-z"]).arg(&page).output().unwrap();
            let said = String::from_utf8_lossy(&checked.stderr);
            assert!(checked.status.success() && said.is_empty(), "{}: {said}", page.display());
        }
    }
    assert_eq!(call(&["man"]).stdout, std::fs::read_to_string(folder.0.join("tidegate.1")).unwrap());
    let nowhere = call(&["man", &folder.0.join("nowhere").display().to_string()]);
    assert_eq!(nowhere.code, 1);
    assert!(nowhere.stderr.contains("hint: name a folder that exists"), "{}", nowhere.stderr);
}
