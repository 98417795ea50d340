//! The `tidegate` binary: everything it does lives in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    // kube and reqwest find the provider at run time. An error says that one is installed already: good too.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    ExitCode::from(tidegate::cli::run(std::env::args_os()))
}
