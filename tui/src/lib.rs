//! p2pnet's dashboard, verbs and cluster control, as a library so that benchmarks and tests drive the very same code.

pub mod cluster;
pub mod doctor;
pub mod failure;
pub mod network;
pub mod select;
pub mod verb;
