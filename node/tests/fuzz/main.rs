//! Everything a node takes in from outside, hurt in every way there is: no panic, memory within its bound, no belief
//! changed by what is no word of a member.
//!
//! ```text
//! cores.rs    datagrams and frames that decode, into both protocols, for as long as it takes to fill every table
//! keys.rs     packets of the store, from strangers and from members who lie
//! texts.rs    addresses, settings, the identity on disk
//! sockets.rs  bytes into a real node: requests, links, datagrams
//! ```
//! For a longer campaign: `PROPTEST_CASES=100000 cargo test -p p2pnet-node --test fuzz`.

#[path = "../../../shared/tests/support/mod.rs"]
mod hostile;
#[path = "../support/mod.rs"]
mod support;

mod cores;
mod keys;
mod sockets;
mod texts;
