//! One entry as the files keep it.
//!
//! ```text
//! key: its text     value: ┌──────────────────────────────┬────────────────────────┐
//!                          │ begin of BLAKE3(key, body)   │ body: versions,        │
//!                          │ 8 B                          │ postcard               │
//!                          └──────────────────────────────┴────────────────────────┘
//! ```
//! redb checks its pages when a file is opened, but not while it copies them later; this checksum is older than any page,
//! and goes with the row from the log to there.

use std::collections::BTreeMap;

use p2pnet_shared::{
    Key,
    wire::dht::{Entry, Version},
};

const SUM_BYTES: usize = 8;

/// What is to be under some keys: a row, or nothing.
pub(super) type Rows<'a> = BTreeMap<&'a str, Option<&'a [u8]>>;

/// Appends the row of an entry.
pub(super) fn encode(entry: &Entry, mut out: Vec<u8>) -> Vec<u8> {
    let start = out.len();
    out.extend([0; SUM_BYTES]);
    let mut out = postcard::to_extend(&entry.versions, out).expect("versions have a length");
    let sum = sum(entry.key.as_str(), &out[start + SUM_BYTES..]);
    out[start..][..SUM_BYTES].copy_from_slice(&sum);
    out
}

/// The entry of a row, or what is wrong with it.
pub(super) fn decode(key: &str, row: &[u8]) -> Result<Entry, String> {
    let (kept, body) = row.split_first_chunk::<SUM_BYTES>().ok_or("an entry is too short")?;
    if *kept != sum(key, body) {
        return Err("an entry does not match its checksum".to_owned());
    }
    let key: Key = key.parse().map_err(|error| format!("an entry's key: {error}"))?;
    match postcard::take_from_bytes::<Vec<Version>>(body) {
        Ok((versions, [])) => Ok(Entry { key, versions }),
        _ => Err("an entry is written in another way".to_owned()),
    }
}

fn sum(key: &str, body: &[u8]) -> [u8; SUM_BYTES] {
    let mut hash = blake3::Hasher::new();
    hash.update(&(key.len() as u64).to_le_bytes()).update(key.as_bytes()).update(body);
    let mut sum = [0; SUM_BYTES];
    sum.copy_from_slice(&hash.finalize().as_bytes()[..SUM_BYTES]);
    sum
}
