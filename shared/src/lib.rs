//! What the nodes and the dashboard must agree on, and nothing else. A change here is news to both sides.
//!
//! ```text
//! id.rs         NodeName, NetworkName, Epoch, MessageId, UnixMillis: how they parse and print
//! path.rs       FilePath: where a file stands in the shared folder, safe to open everywhere
//! ring.rs       Ring: which nodes hold a key; a pure value
//! view.rs       ViewDigest: "who do you believe alive?" in twelve bytes
//! wire.rs       the envelope around every datagram and frame; wire/ has one file per protocol
//! telemetry.rs  what a node reports about itself; the gateway hands it on unchanged
//! fault.rs      what can be wrong between nodes: cut, loss, delay; one vocabulary for node, verbs and dashboard
//! amount.rs     amounts of bytes as people write them
//! api.rs        bodies of a node's HTTP surface
//! client.rs     typed client for that surface
//! ```
//! Types only: no socket, clock, file or task lives here except in `client.rs`, which makes HTTP requests.

pub mod amount;
pub mod api;
pub mod client;
pub mod fault;
pub mod id;
pub mod path;
pub mod ring;
pub mod telemetry;
pub mod view;
pub mod wire;

pub use id::{Epoch, Key, MessageId, NetworkName, NodeName, UnixMillis};
pub use path::{COMPONENT_MAX_BYTES, FilePath, PATH_MAX_BYTES};
pub use view::ViewDigest;
