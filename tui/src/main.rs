//! p2pnet: a verb, the dashboard, or one node.

use std::process::ExitCode;

use p2pnet::{
    cli::{self, Parsed, StartOptions},
    failure::Failure,
};

fn main() -> ExitCode {
    match cli::parse(std::env::args_os()) {
        Parsed::Do(cli) => cli::dispatch::run(*cli, dashboard),
        Parsed::Print(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Parsed::Wrong(failure) => {
            eprintln!("{failure}");
            ExitCode::from(2)
        }
    }
}

/// Opens the dashboard, starting a network if none runs.
fn dashboard(start: StartOptions) -> Result<(), Failure> {
    let network = start.which.network;
    Err(Failure::new(format!("the dashboard of `{network}` cannot be opened")).hint("use the verbs: `p2pnet --help`"))
}
