//! `kv`: what the store carries, what it loses (nothing), and how long it takes to be whole again.
//!
//! ```text
//! part      runtime   what
//! others    process   an empty axum server and three etcd members, without ours: only when asked for
//! alone     process   one node alone, no replication: puts and gets at 64 connections; an empty axum server beside it
//! ten       process   ten nodes: puts and gets at 64 connections
//! etcd      process   three etcd members and our ten nodes in turn: puts at 64 connections
//! hundred   docker    a hundred: puts and gets at 16 and 64 connections; memory; balance; owners; what a join and a
//!                     leave move
//! repair    docker    10,000 keys on a hundred: one killed → all copies are back; two killed at once while all is read
//! thirty    docker    10,000 keys on a hundred: thirty killed one by one, each when the last is repaired
//! ```
//! Every disk write is synced, by us and by etcd, and all data lies on the same disk. Requests go through all nodes alike,
//! over connections that are kept. Values are 100 bytes; every get is checked for the very value that was acknowledged.
//!
//! The first three are measured with local processes: a container's published port leads through `docker-proxy`, which
//! copies every byte in user space and takes more processor time than the node behind it. What that makes of a hundred
//! nodes is told beside their figures, as `_published`; without it requests go to the containers' own addresses, which
//! this host reaches over the bridge.
//!
//! ```text
//! load.rs   the generator        http.rs, grpc.rs  its two tongues      keys.rs    keys, values, what was acknowledged
//! empty.rs  the empty server     etcd.rs           its three members    speed.rs   alone, ten, etcd, hundred
//! copies.rs who holds what       repair.rs         repair, thirty       balance.rs balance, moves, memory, owners
//! doors.rs  where requests go
//! ```

mod balance;
mod copies;
mod doors;
mod empty;
mod etcd;
mod grpc;
mod http;
mod keys;
mod load;
mod repair;
mod speed;

use clap::ValueEnum;

pub(crate) use empty::serve_if_asked;

use crate::bench::Bench;

/// What `kv` measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// What the generator sees of others: the empty server and etcd, without ours. Only when asked for.
    Others,
    /// One node alone, and an empty server.
    Alone,
    /// Ten nodes.
    Ten,
    /// Three etcd members, and ten nodes of ours.
    Etcd,
    /// A hundred nodes.
    Hundred,
    /// One killed, then two at once.
    Repair,
    /// Thirty killed one by one.
    Thirty,
}

/// `kv`: the parts that were asked for, or all.
pub(crate) fn measure(bench: &Bench) {
    let wants = |part| bench.options.part.is_empty() || bench.options.part.contains(&part);
    if bench.options.part.contains(&Part::Others) {
        speed::measure_others(bench);
    }
    if wants(Part::Alone) {
        speed::measure_alone(bench);
    }
    if wants(Part::Ten) && !wants(Part::Etcd) {
        speed::measure_ten(bench);
    }
    if wants(Part::Etcd) {
        speed::measure_etcd(bench);
    }
    if wants(Part::Hundred) {
        speed::measure_hundred(bench);
    }
    if wants(Part::Repair) {
        repair::measure(bench);
    }
    if wants(Part::Thirty) {
        repair::measure_thirty(bench);
    }
}
