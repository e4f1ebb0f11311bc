//! The keys of a measurement: which they are, what each was last acknowledged to hold, and their requests.

use std::sync::atomic::{AtomicU32, Ordering};

use p2pnet_shared::ring::Place;

/// Bytes of a value.
pub(crate) const VALUE_BYTES: usize = 100;
/// What fills a value up.
const FILLER: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

/// `count` keys. Each has one writer at a time.
#[derive(Debug)]
pub(crate) struct Keys {
    /// In each key's name.
    prefix: String,
    /// The round in which each was last acknowledged; 0: never.
    held: Vec<AtomicU32>,
}

impl Keys {
    /// `prefix00000` and so on.
    pub(crate) fn new(prefix: &str, count: usize) -> Self {
        Self { prefix: prefix.to_owned(), held: (0..count).map(|_| AtomicU32::new(0)).collect() }
    }

    /// How many.
    pub(crate) fn count(&self) -> usize {
        self.held.len()
    }

    /// Key number `number`.
    pub(crate) fn name(&self, number: usize) -> String {
        format!("{}{number:05}", self.prefix)
    }

    /// Where each stands on the ring.
    pub(crate) fn places(&self) -> Vec<Place> {
        (0..self.count()).map(|number| Place::of(&self.name(number))).collect()
    }

    /// What key `number` is put to in `round`: 100 letters that no other key and no other round has.
    pub(crate) fn value(number: usize, round: u32) -> [u8; VALUE_BYTES] {
        let mut value = [0; VALUE_BYTES];
        for (at, byte) in value.iter_mut().enumerate() {
            *byte = FILLER[(at + number) % FILLER.len()];
        }
        digits(&mut value[..8], number as u64);
        digits(&mut value[9..17], u64::from(round));
        value
    }

    /// `POST /kv`.
    pub(crate) fn write_put(&self, number: usize, round: u32, out: &mut Vec<u8>) {
        let length = br#"{"key":"","value":""}"#.len() + self.prefix.len() + 5 + VALUE_BYTES;
        out.extend_from_slice(
            b"POST /kv HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: ",
        );
        let mut length_digits = [0; 3];
        digits(&mut length_digits, length as u64);
        out.extend_from_slice(&length_digits);
        out.extend_from_slice(b"\r\n\r\n{\"key\":\"");
        self.write_name(number, out);
        out.extend_from_slice(b"\",\"value\":\"");
        out.extend_from_slice(&Self::value(number, round));
        out.extend_from_slice(b"\"}");
    }

    /// `GET /kv/<key>`.
    pub(crate) fn write_get(&self, number: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(b"GET /kv/");
        self.write_name(number, out);
        out.extend_from_slice(b" HTTP/1.1\r\nHost: bench\r\n\r\n");
    }

    /// The name alone.
    pub(crate) fn write_name(&self, number: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(self.prefix.as_bytes());
        let mut name = [0; 5];
        digits(&mut name, number as u64);
        out.extend_from_slice(&name);
    }

    /// Key `number` holds what `round` put there.
    pub(crate) fn acknowledged(&self, number: usize, round: u32) {
        self.held[number].store(round, Ordering::Relaxed);
    }

    /// Whether the answer to a get has the value that was acknowledged, and no other.
    pub(crate) fn check(&self, number: usize, body: &[u8]) -> Result<(), String> {
        const FIELD: &[u8] = b"\"value\":\"";
        let held = Self::value(number, self.held[number].load(Ordering::Relaxed));
        let value = body.windows(FIELD.len()).position(|bytes| bytes == FIELD).map(|at| &body[at + FIELD.len()..]);
        let siblings = body.windows(11).any(|bytes| bytes == b"\"siblings\":");
        if !siblings && value.is_some_and(|value| value.starts_with(&held) && value.get(VALUE_BYTES) == Some(&b'"')) {
            return Ok(());
        }
        let (held, body) = (String::from_utf8_lossy(&held[..17]).into_owned(), String::from_utf8_lossy(body));
        Err(format!("{}: not the acknowledged {held}… but {body}", self.name(number)))
    }
}

/// Writes `number` in as many decimal digits as there is room for.
fn digits(out: &mut [u8], mut number: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).expect("one digit");
        number /= 10;
    }
}
