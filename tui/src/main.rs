//! p2pnet: a verb, the dashboard, or one node.

fn main() {}
