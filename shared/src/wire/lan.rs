//! How nodes on one local network find each other when nobody told them of one another: a beacon, over UDP.
//!
//! To everybody at once (multicast, else broadcast), now and then, and as an answer to one that has just come. When to send
//! and what to make of one is in `node/src/discovery/lan.rs`. A beacon says where to knock and nothing more: its sender's IP is
//! the datagram's, and whoever does not answer a membership ping there is never a member.

use serde::{Deserialize, Serialize};

use crate::id::{Epoch, NodeName};

/// Longest beacon in its envelope, bytes: a name, two numbers, a nonce and a tag take half of it.
pub const BEACON_MAX_BYTES: usize = 256;

/// Somebody of this network is here.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Beacon {
    /// Who.
    pub name: NodeName,
    /// Which life: a node that was restarted is news again.
    pub epoch: Epoch,
    /// Where it listens, UDP and TCP, at the address the datagram comes from. Never 0.
    pub port: u16,
    /// It is an answer to a beacon, and not to be answered.
    pub answer: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Codec;

    #[test]
    fn the_longest_beacon_fits() {
        let name: NodeName = "n".repeat(crate::id::NAME_MAX_BYTES).parse().unwrap();
        let beacon = Beacon { name, epoch: Epoch(u64::MAX), port: u16::MAX, answer: true };
        for secret in [None, Some("s3cret")] {
            let codec = Codec::new(&"lab".parse().unwrap(), secret);
            let bytes = codec.encode(&beacon);
            assert!(bytes.len() <= BEACON_MAX_BYTES, "{} bytes", bytes.len());
            assert_eq!(codec.decode::<Beacon>(&bytes).unwrap(), beacon);
        }
    }
}
