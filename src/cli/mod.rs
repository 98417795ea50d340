//! The command line: arguments in, exit code out. Data goes to standard output, talk to standard error.
//!
//! ```text
//!   args ─▶ check ─▶ input (file ─▶ spec, policy) ─▶ controller::look (the controller's eyes)
//!      │             credential_helper (the user's docker config file)
//!      │             judge (decision ─▶ contract::Report, exit code, hint) ─▶ render ─▶ printer
//!      ├──▶ lint, crd, completions, man, ping (registry::Client::probe)
//!      ├──▶ cluster ─▶ explain, doctor (read), hands (a person's changes of a set; managed: who set what)
//!      └──▶ controller, demo
//! ```
//!
//! Must never decide anything: what becomes of a release is the engine's answer, put into words here.

pub mod args;
pub mod check;
pub mod cluster;
pub mod completions;
pub mod contract;
pub mod controller;
pub mod crd;
mod credential_helper;
pub mod demo;
pub mod doctor;
pub mod env;
pub mod error;
pub mod exit;
pub mod explain;
pub mod hands;
mod hint;
pub mod input;
mod judge;
pub mod lint;
pub mod man;
pub mod managed;
pub mod markers;
pub mod ping;
pub mod printer;
mod render;
pub mod screen;
pub mod smoke_exec;
pub mod wait;

use std::ffi::OsString;
use std::path::Path;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches};

use args::{Cli, Command, RegistryCommand};
use env::Environment;
use error::Result;
use printer::Printer;

/// Name of the binary as kubectl looks for plugins.
const PLUGIN: &str = "kubectl-tidegate";

/// What every command is given.
#[derive(Debug)]
pub struct Context {
    /// How this program was called, for hints that name a command: `tidegate` or `kubectl tidegate`.
    pub program: &'static str,
    /// Both output streams.
    pub printer: Printer,
    /// What the environment says.
    pub environment: Environment,
}

/// Runs the command that `args` (the program's name first) ask for, and returns the exit code. Prints everything
/// there is to say.
pub fn run(args: impl IntoIterator<Item = OsString>) -> u8 {
    let environment = Environment::read();
    let args: Vec<OsString> = args.into_iter().collect();
    let program = program(args.first());
    let cli = match parse(program, args) {
        Ok(cli) => cli,
        Err(error) => {
            Printer::new(&environment, printer::ColorChoice::Auto, false).usage(&error);
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => exit::OK,
                _ => exit::USAGE,
            };
        }
    };
    let printer = Printer::new(&environment, cli.color, cli.quiet);
    let context = Context { program, printer, environment };
    dispatch(cli.command, &context).unwrap_or_else(|error| {
        context.printer.error(&error);
        error.code()
    })
}

fn dispatch(command: Command, context: &Context) -> Result<u8> {
    match command {
        Command::Check(args) => check::run(&args, context),
        Command::Wait(args) => wait::run(&args, context),
        Command::Explain(args) => explain::run(&args, context),
        Command::Doctor(args) => doctor::run(&args, context),
        Command::Suspend(args) => hands::suspend::suspend(&args, context),
        Command::Resume(args) => hands::suspend::resume(&args, context),
        Command::Pin(args) => hands::pin::pin(&args, context),
        Command::Unpin(args) => hands::pin::unpin(&args, context),
        Command::Skip(args) => hands::skip::skip(&args, context),
        Command::Retry(args) => hands::retry::retry(&args, context),
        Command::Registry(RegistryCommand::Ping(args)) => ping::run(&args, context),
        Command::Lint(args) => lint::run(&args, context),
        Command::Crd => crd::run(context),
        Command::Completions(args) => completions::run(args.shell, context),
        Command::Man(args) => man::run(&args, context),
        Command::Controller(args) => controller::run(&args, context),
        Command::Demo(args) => demo::run(&args, context),
    }
}

/// kubectl calls plugins by their file name; usage then says what the person typed.
fn program(first: Option<&OsString>) -> &'static str {
    let called = first.map(Path::new).and_then(Path::file_stem);
    if called.is_some_and(|name| name == PLUGIN) { "kubectl tidegate" } else { "tidegate" }
}

fn parse(program: &'static str, args: Vec<OsString>) -> std::result::Result<Cli, clap::Error> {
    let mut command = Cli::command().bin_name(program);
    let mut matches = command.try_get_matches_from_mut(args)?;
    Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubectl_plugin_is_told_by_its_file_name() {
        for (first, expected) in [
            (Some("/usr/local/bin/kubectl-tidegate"), "kubectl tidegate"),
            (Some("kubectl-tidegate.exe"), "kubectl tidegate"),
            (Some("./tidegate"), "tidegate"),
            (None, "tidegate"),
        ] {
            assert_eq!(program(first.map(OsString::from).as_ref()), expected);
        }
    }
}
