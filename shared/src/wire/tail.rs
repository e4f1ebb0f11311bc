//! Packets that end in many bytes of contents: those are neither copied into the frame nor out of it.
//!
//! ```text
//! ┌────────────┬───────────────────────────────────┬──────────────────────────┐
//! │ u32 length │ envelope, packet up to its bytes  │ the bytes                │
//! └────────────┴───────────────────────────────────┴──────────────────────────┘
//!   written from the line's own buffer               written from where they were read; on the other side a view of the frame
//! ```
//! On the wire it is the frame that [`Codec::encode_frame`] makes. A sealed frame has to be copied anyway, and is.

use serde::{Serialize, de::DeserializeOwned};

use super::{Codec, DecodeError, folder::Bytes};

/// What goes over a connection of its own between any two nodes.
pub trait Packet: Serialize + DeserializeOwned {
    /// The packet without the bytes it ends in, and those bytes, if they are worth being sent by themselves. They have to be the very
    /// last field, so that without them the encoding ends in the length of nothing.
    fn split(&self) -> Option<(Self, Bytes)> {
        None
    }

    /// The packet in this body, if it is one that ends in many bytes: they are a view of the body.
    fn view(_body: &Bytes) -> Option<Self> {
        None
    }
}

impl Codec {
    /// [`Codec::encode_frame_onto`], but for the bytes that are handed back: they are to be sent right behind it.
    ///
    /// # Panics
    /// As [`Codec::encode_frame`].
    pub fn encode_head_onto<T: Packet>(&self, value: &T, bytes: &mut Vec<u8>) -> Option<Bytes> {
        let Some((head, tail)) = (if self.is_sealed() { None } else { value.split() }) else {
            self.encode_frame_onto(value, bytes);
            return None;
        };
        let start = bytes.len();
        self.encode_frame_onto(&head, bytes);
        let nothing = bytes.pop();
        debug_assert_eq!(nothing, Some(0), "its encoding ends in the length of nothing");
        *bytes = postcard::to_extend(&tail.len(), std::mem::take(bytes)).expect("a number can be written");
        let length = u32::try_from(bytes.len() - start - 4 + tail.len()).expect("frames are far below 4 GiB");
        bytes[start..start + 4].copy_from_slice(&length.to_be_bytes());
        Some(tail)
    }

    /// [`Codec::decode`] of a large envelope: what it ends in stays where it is.
    ///
    /// # Errors
    /// As [`Codec::decode`].
    pub fn decode_large<T: Packet>(&self, envelope: &Bytes) -> Result<T, DecodeError> {
        let body = self.body(envelope)?;
        match (self.is_sealed(), T::view(&envelope.slice_ref(body))) {
            (false, Some(value)) => Ok(value),
            _ => self.decode(envelope),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::folder::{Message, Root, Transfer};

    fn chunk(length: usize) -> Message {
        let bytes = (0..length).map(|at| (at % 251) as u8).collect::<Vec<u8>>().into();
        Message::Transfer(Transfer::Chunk { root: Root([7; 32]), chunk: 300, bytes })
    }

    fn codecs() -> [Codec; 2] {
        [None, Some("s3cret")].map(|secret| Codec::new(&"lab".parse().unwrap(), secret))
    }

    #[test]
    fn a_frame_in_two_pieces_is_the_same_frame() {
        let codec = &codecs()[0];
        for length in [0, 1, 1_000, 32 * 1024, 128 * 1024, 1024 * 1024] {
            let message = chunk(length);
            let mut bytes = b"before".to_vec();
            let tail = codec.encode_head_onto(&message, &mut bytes);
            assert_eq!(tail.is_some(), length >= 32 * 1024, "{length}");
            bytes.extend_from_slice(&tail.unwrap_or_default());
            assert_eq!(bytes[6..], codec.encode_frame(&message), "{length}");
        }
    }

    #[test]
    fn what_comes_in_one_envelope_is_a_view_of_it() {
        for codec in codecs() {
            for message in [chunk(64 * 1024), chunk(3), Message::Confirmed { call: 5 }] {
                let envelope = Bytes::from(codec.encode(&message));
                let found: Message = codec.decode_large(&envelope).unwrap();
                assert_eq!(found, message);
                if let Message::Transfer(Transfer::Chunk { bytes, .. }) = found
                    && !codec.is_sealed()
                {
                    assert!(envelope.as_ptr_range().contains(&bytes.as_ptr()));
                }
            }
        }
    }

    #[test]
    fn a_large_envelope_that_is_not_right_is_refused_like_any_other() {
        for codec in codecs() {
            let good = codec.encode(&chunk(40_000));
            let wrong = [
                good[..good.len() - 1].to_vec(),
                [&good[..], &[0]].concat(),
                good[1..].to_vec(),
                good[..5].to_vec(),
                Codec::new(&"other".parse().unwrap(), None).encode(&chunk(40_000)),
            ];
            for wrong in wrong {
                let one = codec.decode::<Message>(&wrong);
                assert!(one.is_err());
                assert_eq!(codec.decode_large::<Message>(&wrong.into()), one);
            }
        }
    }
}
