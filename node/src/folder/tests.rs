//! Tests of the folder's parts, and of all of it on a pretend network with pretend disks.

mod chance;
mod circles;
mod differences;
mod disk;
mod hostile;
mod neighbours;
mod network;
mod requests;
mod scan;
mod union;

use p2pnet_shared::{FilePath, NodeName};

fn node(number: u32) -> NodeName {
    NodeName::numbered(number)
}

fn path(text: &str) -> FilePath {
    text.parse().unwrap()
}
