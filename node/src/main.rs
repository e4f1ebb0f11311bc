//! The peer alone: `cargo run -p p2pnet-node`.

use clap::Parser;

/// One peer of a p2pnet network.
#[derive(Parser)]
#[command(name = "p2pnet-node", version)]
struct Arguments {
    #[command(flatten)]
    node: p2pnet_node::NodeOptions,
}

fn main() -> std::process::ExitCode {
    p2pnet_node::run(Arguments::parse().node)
}
