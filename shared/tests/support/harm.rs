//! Bytes and texts that are almost right: a valid encoding, hurt in the ways that break decoders.

use proptest::{collection::vec, prelude::*, sample::Index};

/// One thing that goes wrong with bytes.
#[derive(Debug, Clone)]
pub enum Harm {
    /// One bit is another.
    Flip(Index, u8),
    /// One byte is another.
    Set(Index, u8),
    /// The end is missing.
    Cut(Index),
    /// A piece is missing.
    Drop(Index, u8),
    /// Something came in between.
    Insert(Index, Vec<u8>),
    /// A piece stands a second time somewhere else, as when two packets are spliced.
    Splice(Index, Index, u8),
    /// A number, perhaps a length, is enormous.
    Blow(Index, Huge),
    /// A piece stands there many times: depth, or length, that was not announced.
    Repeat(Index, u8, u16),
}

/// Numbers that lengths should not be.
#[derive(Debug, Clone, Copy)]
pub enum Huge {
    /// The largest that fits the type, as postcard writes it.
    U16,
    U32,
    U63,
    U64,
    /// Longer than any number may be written.
    Endless,
    /// Zero, written in ten bytes.
    LongZero,
}

impl Huge {
    fn bytes(self) -> Vec<u8> {
        let varint = |mut number: u64| {
            let mut bytes = Vec::new();
            while number >= 0x80 {
                bytes.push((number & 0x7f) as u8 | 0x80);
                number >>= 7;
            }
            bytes.push(number as u8);
            bytes
        };
        match self {
            Huge::U16 => varint(u64::from(u16::MAX)),
            Huge::U32 => varint(u64::from(u32::MAX)),
            Huge::U63 => varint(i64::MAX as u64),
            Huge::U64 => varint(u64::MAX),
            Huge::Endless => vec![0xff; 12],
            Huge::LongZero => [vec![0x80; 9], vec![0]].concat(),
        }
    }
}

pub fn huge() -> impl Strategy<Value = Huge> {
    prop_oneof![
        Just(Huge::U16),
        Just(Huge::U32),
        Just(Huge::U63),
        Just(Huge::U64),
        Just(Huge::Endless),
        Just(Huge::LongZero)
    ]
}

pub fn harm() -> BoxedStrategy<Harm> {
    prop_oneof![
        3 => (any::<Index>(), 0_u8..8).prop_map(|(at, bit)| Harm::Flip(at, bit)),
        3 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Harm::Set(at, byte)),
        1 => any::<Index>().prop_map(Harm::Cut),
        1 => (any::<Index>(), any::<u8>()).prop_map(|(at, length)| Harm::Drop(at, length)),
        1 => (any::<Index>(), vec(any::<u8>(), 1..16)).prop_map(|(at, bytes)| Harm::Insert(at, bytes)),
        1 => (any::<Index>(), any::<Index>(), any::<u8>()).prop_map(|(from, to, n)| Harm::Splice(from, to, n)),
        3 => (any::<Index>(), huge()).prop_map(|(at, huge)| Harm::Blow(at, huge)),
        1 => (any::<Index>(), 1_u8..16, 2_u16..2_000).prop_map(|(at, length, times)| Harm::Repeat(at, length, times)),
    ]
    .boxed()
}

impl Harm {
    /// Does it; empty bytes stay as they are unless something is inserted.
    pub fn to(&self, bytes: &mut Vec<u8>) {
        let place = |index: &Index, bytes: &[u8]| if bytes.is_empty() { 0 } else { index.index(bytes.len()) };
        let piece = |at: usize, length: u8, bytes: &[u8]| at..(at + usize::from(length)).min(bytes.len());
        match self {
            Harm::Insert(at, new) => {
                let at = place(at, bytes);
                bytes.splice(at..at, new.iter().copied());
            }
            _ if bytes.is_empty() => {}
            Harm::Flip(at, bit) => {
                let at = place(at, bytes);
                bytes[at] ^= 1 << bit;
            }
            Harm::Set(at, byte) => {
                let at = place(at, bytes);
                bytes[at] = *byte;
            }
            Harm::Cut(at) => bytes.truncate(place(at, bytes)),
            Harm::Drop(at, length) => {
                let at = place(at, bytes);
                bytes.drain(piece(at, *length, bytes));
            }
            Harm::Splice(from, to, length) => {
                let from = place(from, bytes);
                let copy = bytes[piece(from, *length, bytes)].to_vec();
                let to = place(to, bytes);
                bytes.splice(to..to, copy);
            }
            Harm::Blow(at, huge) => {
                let at = place(at, bytes);
                bytes.splice(at..=at, huge.bytes());
            }
            Harm::Repeat(at, length, times) => {
                let at = place(at, bytes);
                let copy = bytes[piece(at, *length, bytes)].repeat(usize::from(*times));
                bytes.splice(at..at, copy);
            }
        }
    }
}

/// `valid` as it is, or with up to eight things wrong with it; now and then something that never was valid.
pub fn harmed(valid: impl Strategy<Value = Vec<u8>> + 'static) -> BoxedStrategy<Vec<u8>> {
    let hurt = (valid, vec(harm(), 0..8)).prop_map(|(mut bytes, harms)| {
        harms.iter().for_each(|harm| harm.to(&mut bytes));
        bytes
    });
    prop_oneof![6 => hurt, 1 => vec(any::<u8>(), 0..2_000)].boxed()
}

/// The same for text: after the harm, what is no UTF-8 is replaced.
pub fn harmed_text(valid: impl Strategy<Value = String> + 'static) -> BoxedStrategy<String> {
    let bytes = harmed(valid.prop_map(String::into_bytes));
    let nested =
        (prop_oneof![Just("["), Just("{\"a\":"), Just("(")], 1_usize..5_000).prop_map(|(open, n)| open.repeat(n));
    prop_oneof![
        8 => bytes.prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        1 => any::<String>(),
        1 => nested,
    ]
    .boxed()
}
