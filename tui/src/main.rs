//! p2pnet: a verb, the dashboard, or one node.

use std::process::ExitCode;

use p2pnet::{
    cli::{self, Cli, Parsed},
    failure::Failure,
    runtime::DashboardOptions,
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
fn dashboard(cli: Cli) -> Result<(), Failure> {
    let (start, ascii, no_color) = (cli.start, cli.ascii, cli.no_color);
    let options = DashboardOptions {
        settings: start.settings()?,
        nodes: start.nodes,
        runtime: start.which.runtime.into(),
        ascii,
        no_color,
    };
    let tasks = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let tasks = tasks.map_err(|error| Failure::new(format!("could not start: {error}")))?;
    let ended = tasks.block_on(p2pnet::runtime::run(options));
    // A verb that is still at work in the background must not keep a closed dashboard waiting.
    tasks.shutdown_timeout(std::time::Duration::from_millis(200));
    ended
}
