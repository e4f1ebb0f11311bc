//! The envelope around every datagram and every frame.
//!
//! ```text
//! who sends                 to whom             in        at most       file
//! membership::Datagram      a member            UDP       1,200 B       wire/membership.rs
//! broadcast::Frame          overlay neighbour   TCP link  64 KiB        wire/broadcast.rs
//! dht::Packet               any member          TCP link  1 MiB         wire/dht.rs
//! folder::Message           any member          TCP link  1 MiB + 64 K  wire/folder.rs
//! telemetry::Report         the gateway         TCP link  1 MiB         telemetry.rs
//! lan::Beacon               the local network   UDP       256 B         wire/lan.rs
//! wire::Hello               first on a link     TCP link  64 KiB        here (large packets: wire/tail.rs)
//!
//! one envelope   ┌───────┬─────────┬──────────────┬────────────────────────────────────────────┐
//!                │ 0xD2  │ version │ network tag  │ body: postcard, or nonce ‖ sealed postcard │
//!                │ 1 B   │ 1 B     │ 4 B          │ rest                                       │
//!                └───────┴─────────┴──────────────┴────────────────────────────────────────────┘
//! on a TCP link the envelope comes after its length: u32, big endian
//! ```
//! The first byte is no ASCII character, so one TCP port serves both HTTP and links: a link opens with [`LINK_PREFACE`].
//! With a cluster secret the body is sealed with XChaCha20-Poly1305 under a key derived from it (24 B random nonce, 16 B
//! tag), and the header is authenticated too; a node without the secret reads and changes nothing. The tag is the
//! beginning of a hash of the network's name: two networks that share a wire ignore one another. Nodes that would draw the ring
//! differently are two networks as well: a number of vnodes other than the usual one is part of what is hashed.
//!
//! Always holds: a decoder never allocates more than the bytes it was given justify, and never panics.

pub mod broadcast;
pub mod dht;
pub mod folder;
pub mod lan;
pub mod membership;
mod tail;

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use self::tail::Packet;
use crate::{
    id::{Epoch, NetworkName, NodeName},
    ring::VNODES,
};

/// First byte of an envelope and of a link; no HTTP method starts with it.
pub const MAGIC: u8 = 0xD2;
/// Raised when a change of any message makes old and new nodes misunderstand one another.
pub const VERSION: u8 = 1;
/// What whoever opens a TCP link sends first.
pub const LINK_PREFACE: [u8; 8] = [MAGIC, b'p', b'2', b'p', b'l', b'i', b'n', b'k'];
/// What whoever opens a connection for the store's packets sends first: between any two nodes, overlay neighbours or not.
pub const PEER_PREFACE: [u8; 8] = [MAGIC, b'p', b'2', b'p', b'p', b'e', b'e', b'r'];
/// The same for the shared folder's packets, which are large and would hold up the store's.
pub const FILES_PREFACE: [u8; 8] = [MAGIC, b'p', b'2', b'p', b'f', b'i', b'l', b'e'];
/// Largest datagram we send, bytes: below the smallest MTU in common use (IPv6's 1,280 less headers).
pub const DATAGRAM_MAX_BYTES: usize = 1_200;
/// Largest frame between nodes, bytes.
pub const FRAME_MAX_BYTES: usize = 64 * 1024;
/// Largest frame of telemetry, bytes: a snapshot of a thousand members and the recent messages fits.
pub const REPORT_MAX_BYTES: usize = 1024 * 1024;
/// What the envelope adds around a body at most, bytes: header, nonce and tag.
pub const ENVELOPE_MAX_BYTES: usize = HEADER_BYTES + NONCE_BYTES + TAG_BYTES;

const HEADER_BYTES: usize = 6;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;

/// First frame each way on a link: who speaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The speaker's name.
    pub name: NodeName,
    /// The speaker's life; a link to an earlier life of the same name is a dead link.
    pub epoch: Epoch,
}

/// Why bytes from the wire were not understood. State is unchanged; the bytes are dropped and counted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Shorter than the header, or not starting with [`MAGIC`].
    #[error("not a p2pnet envelope")]
    NotOurs,
    /// Another version of the protocol.
    #[error("protocol version {0}, ours is {VERSION}")]
    Version(u8),
    /// A network of another name, or with another number of vnodes, shares the wire.
    #[error("from another network, or a node with another number of vnodes")]
    OtherNetwork,
    /// Sealed with another secret, not sealed where a secret is set, or altered on the way.
    #[error("not sealed with this cluster's secret")]
    Seal,
    /// The body is not what was expected.
    #[error("malformed body")]
    Body,
}

/// Packs and opens envelopes for one network. Cheap to clone.
#[derive(Clone)]
pub struct Codec {
    tag: [u8; 4],
    cipher: Option<XChaCha20Poly1305>,
}

impl std::fmt::Debug for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Codec").field("tag", &self.tag).field("sealed", &self.cipher.is_some()).finish()
    }
}

impl Codec {
    /// For the network `network`; with `secret` every body is sealed.
    #[must_use]
    pub fn new(network: &NetworkName, secret: Option<&str>) -> Self {
        let tag = tag(network.as_str().as_bytes());
        let cipher = secret.map(|secret| {
            let key = blake3::derive_key("p2pnet 2026 cluster secret", secret.as_bytes());
            XChaCha20Poly1305::new(&key.into())
        });
        Self { tag, cipher }
    }

    /// For what nodes of the network `network` say to each other, when its members have `vnodes` places on the ring each.
    /// With the usual number it is the same as [`Codec::new`], which telemetry keeps to: watching does not depend on it.
    #[must_use]
    pub fn between_nodes(network: &NetworkName, secret: Option<&str>, vnodes: u16) -> Self {
        let codec = Self::new(network, secret);
        match vnodes {
            VNODES => codec,
            other => Self { tag: tag(format!("{network}\0{other}").as_bytes()), ..codec },
        }
    }

    /// Whether bodies are sealed.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.cipher.is_some()
    }

    /// `value` in its envelope.
    ///
    /// # Panics
    /// Never for our own message types: postcard refuses only types without a length, and the operating system's
    /// source of chance does not fail once the process runs.
    #[must_use]
    pub fn encode<T: Serialize>(&self, value: &T) -> Vec<u8> {
        let header = [MAGIC, VERSION, self.tag[0], self.tag[1], self.tag[2], self.tag[3]];
        let body = postcard::to_allocvec(value).expect("our messages have a length");
        let mut bytes = header.to_vec();
        match &self.cipher {
            None => bytes.extend_from_slice(&body),
            Some(cipher) => {
                let mut nonce = [0_u8; NONCE_BYTES];
                getrandom::fill(&mut nonce).expect("the operating system gives random bytes");
                let sealed = cipher
                    .encrypt(&XNonce::from(nonce), Payload { msg: &body, aad: &header })
                    .expect("a body is shorter than the cipher's limit");
                bytes.extend_from_slice(&nonce);
                bytes.extend_from_slice(&sealed);
            }
        }
        bytes
    }

    /// Like [`Codec::encode`], after its length: a frame as it goes over a link.
    ///
    /// # Panics
    /// If the frame is longer than 4 GiB, which no message of ours is.
    #[must_use]
    pub fn encode_frame<T: Serialize>(&self, value: &T) -> Vec<u8> {
        let envelope = self.encode(value);
        let length = u32::try_from(envelope.len()).expect("frames are far below 4 GiB");
        let mut frame = Vec::with_capacity(envelope.len() + 4);
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(&envelope);
        frame
    }

    /// [`Codec::encode_frame`] behind what is in `bytes` already: many frames go out in one write.
    ///
    /// # Panics
    /// As [`Codec::encode_frame`].
    pub fn encode_frame_onto<T: Serialize>(&self, value: &T, bytes: &mut Vec<u8>) {
        let start = bytes.len();
        match &self.cipher {
            None => {
                bytes.extend_from_slice(&[0, 0, 0, 0, MAGIC, VERSION]);
                bytes.extend_from_slice(&self.tag);
                *bytes = postcard::to_extend(value, std::mem::take(bytes)).expect("our messages have a length");
            }
            Some(_) => {
                bytes.extend_from_slice(&[0; 4]);
                bytes.extend_from_slice(&self.encode(value));
            }
        }
        let length = u32::try_from(bytes.len() - start - 4).expect("frames are far below 4 GiB");
        bytes[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }

    /// Opens an envelope.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are not a `T` sealed for this network. Bytes left over after the value are an
    /// error too: they would be a second way to write the same message.
    pub fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, DecodeError> {
        let (header, body) = (bytes.get(..HEADER_BYTES).unwrap_or_default(), self.body(bytes)?);
        let opened;
        let plain = match &self.cipher {
            None => body,
            Some(cipher) => {
                let (nonce, sealed) = body.split_first_chunk::<NONCE_BYTES>().ok_or(DecodeError::Seal)?;
                opened = cipher
                    .decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: header })
                    .map_err(|_| DecodeError::Seal)?;
                &opened
            }
        };
        match postcard::take_from_bytes(plain) {
            Ok((value, [])) => Ok(value),
            _ => Err(DecodeError::Body),
        }
    }

    /// What is behind the header of an envelope of ours.
    fn body<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8], DecodeError> {
        let (header, body) = bytes.split_at_checked(HEADER_BYTES).ok_or(DecodeError::NotOurs)?;
        match header {
            [MAGIC, VERSION, tag @ ..] if *tag == self.tag => Ok(body),
            [MAGIC, VERSION, ..] => Err(DecodeError::OtherNetwork),
            [MAGIC, other, ..] => Err(DecodeError::Version(*other)),
            _ => Err(DecodeError::NotOurs),
        }
    }
}

fn tag(name: &[u8]) -> [u8; 4] {
    let hash = blake3::hash(name);
    let [a, b, c, d, ..] = *hash.as_bytes();
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        Hello { name: NodeName::numbered(7), epoch: Epoch(9) }
    }

    fn codec(network: &str, secret: Option<&str>) -> Codec {
        Codec::new(&network.parse().unwrap(), secret)
    }

    #[test]
    fn what_is_encoded_decodes() {
        for secret in [None, Some("s3cret")] {
            let codec = codec("lab", secret);
            assert_eq!(codec.decode::<Hello>(&codec.encode(&hello())).unwrap(), hello());
        }
    }

    #[test]
    fn a_frame_behind_others_is_the_same_frame() {
        for secret in [None, Some("s3cret")] {
            let codec = codec("lab", secret);
            let mut bytes = codec.encode_frame(&hello());
            let first = bytes.len();
            codec.encode_frame_onto(&hello(), &mut bytes);
            assert_eq!(bytes.len(), first * 2);
            assert_eq!(bytes[first..first + 4], bytes[..4], "its length stands before it");
            assert_eq!(codec.decode::<Hello>(&bytes[first + 4..]).unwrap(), hello());
        }
    }

    #[test]
    fn another_network_secret_or_version_is_told_apart() {
        let plain = codec("lab", None).encode(&hello());
        let sealed = codec("lab", Some("a")).encode(&hello());
        assert_eq!(codec("other", None).decode::<Hello>(&plain), Err(DecodeError::OtherNetwork));
        assert_eq!(codec("lab", Some("b")).decode::<Hello>(&sealed), Err(DecodeError::Seal));
        assert_eq!(codec("lab", Some("a")).decode::<Hello>(&plain), Err(DecodeError::Seal));
        let mut newer = plain.clone();
        newer[1] = 9;
        assert_eq!(codec("lab", None).decode::<Hello>(&newer), Err(DecodeError::Version(9)));
        assert_eq!(codec("lab", None).decode::<Hello>(b"GET / HTTP/1.1"), Err(DecodeError::NotOurs));
    }

    #[test]
    fn nodes_with_another_number_of_vnodes_are_another_network() {
        let network = "lab".parse().unwrap();
        for secret in [None, Some("a")] {
            let nodes = |vnodes| Codec::between_nodes(&network, secret, vnodes);
            let bytes = nodes(32).encode(&hello());
            assert_eq!(nodes(32).decode::<Hello>(&bytes).unwrap(), hello());
            for other in [nodes(VNODES), nodes(31), Codec::new(&network, secret)] {
                assert_eq!(other.decode::<Hello>(&bytes), Err(DecodeError::OtherNetwork));
            }
            let usual = nodes(VNODES).encode(&hello());
            assert_eq!(Codec::new(&network, secret).decode::<Hello>(&usual).unwrap(), hello());
        }
    }

    #[test]
    fn a_flipped_bit_in_a_sealed_envelope_is_refused() {
        let codec = codec("lab", Some("a"));
        let good = codec.encode(&hello());
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(codec.decode::<Hello>(&bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn trailing_bytes_are_refused() {
        let codec = codec("lab", None);
        let mut bytes = codec.encode(&hello());
        bytes.push(0);
        assert_eq!(codec.decode::<Hello>(&bytes), Err(DecodeError::Body));
    }
}
