//! Tests of the store's parts, and of all of it on a pretend network.

mod hostile;
mod network;
mod operations;
mod register;
mod store;
mod version;

use p2pnet_shared::{
    NodeName, UnixMillis,
    wire::dht::{Actor, Dot, Entry, Value, Version},
};

fn node(number: u32) -> NodeName {
    NodeName::numbered(number)
}

fn actor(number: u32, era: u64) -> Actor {
    Actor { node: node(number), era }
}

fn value(text: &str) -> Value {
    Value::new(&serde_json::Value::from(text)).unwrap()
}

/// A version by node `number` in its first era; `text` of `None` is a tombstone.
fn version_of(number: u32, count: u64, context: &[(u32, u64)], text: Option<&str>) -> Version {
    let context = context.iter().map(|(number, count)| (actor(*number, 1), *count)).collect();
    let dot = Dot { actor: actor(number, 1), count };
    Version { dot, context, at: UnixMillis(count), value: text.map(value) }
}

fn entry(key: &str, versions: &[Version]) -> Entry {
    Entry { key: key.parse().unwrap(), versions: versions.to_vec() }
}
