//! The peer alone: `cargo run -p p2pnet-node -- --help`.

use clap::Parser;

#[derive(Parser)]
#[command(version, about = "One p2pnet peer, in the foreground")]
struct Arguments {
    #[command(flatten)]
    node: p2pnet_node::config::NodeOptions,
}

fn main() -> std::process::ExitCode {
    p2pnet_node::log_to_stderr();
    p2pnet_node::runtime::run(Arguments::parse().node)
}
