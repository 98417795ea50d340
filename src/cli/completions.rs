//! `tidegate completions`: prints the script by which a shell completes this command line.

use clap::{CommandFactory, ValueEnum};
use clap_complete::{Shell, generate};

use crate::cli::Context;
use crate::cli::args::Cli;
use crate::cli::error::Result;
use crate::cli::exit;

/// Name under which shells complete the program.
const NAME: &str = "tidegate";

/// What `kubectl` runs to complete `kubectl tidegate …`: an executable `kubectl_complete-tidegate` on the PATH. It is given the
/// words after `kubectl tidegate`, and prints one candidate a line and then a directive; `:0` lets the shell fall back to files.
/// Source: <https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/>.
const KUBECTL: &str = r#"#!/usr/bin/env bash
# Completes `kubectl tidegate`. Name this file kubectl_complete-tidegate and put it on the PATH, beside kubectl-tidegate.
source <(kubectl-tidegate completions bash)
COMP_WORDS=(tidegate "$@")
COMP_CWORD=$#
COMPREPLY=()
_tidegate tidegate "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}" 2>/dev/null
((${#COMPREPLY[@]} == 0)) || printf '%s\n' "${COMPREPLY[@]}"
echo :0
"#;

/// Who completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CompletionsFor {
    /// Bash
    Bash,
    /// Zsh
    Zsh,
    /// Fish
    Fish,
    /// PowerShell
    #[value(name = "powershell")]
    PowerShell,
    /// Elvish
    Elvish,
    /// kubectl: the file kubectl_complete-tidegate, for `kubectl tidegate`
    Kubectl,
}

// === impl CompletionsFor ===

impl CompletionsFor {
    fn shell(self) -> Option<Shell> {
        match self {
            Self::Bash => Some(Shell::Bash),
            Self::Zsh => Some(Shell::Zsh),
            Self::Fish => Some(Shell::Fish),
            Self::PowerShell => Some(Shell::PowerShell),
            Self::Elvish => Some(Shell::Elvish),
            Self::Kubectl => None,
        }
    }
}

/// Prints the script.
///
/// # Errors
/// When it cannot be written.
pub fn run(shell: CompletionsFor, context: &Context) -> Result<u8> {
    let script = match shell.shell() {
        Some(shell) => {
            let mut script = Vec::new();
            generate(shell, &mut Cli::command(), NAME, &mut script);
            String::from_utf8_lossy(&script).into_owned()
        }
        None => KUBECTL.to_owned(),
    };
    context.printer.data(&script)?;
    Ok(exit::OK)
}
