//! Names and numbers that follow one thing through the whole house.
//!
//! A value of one of these types is valid: it was checked where it was parsed, also when it came in from a frame or a
//! JSON body, so nobody checks it again.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// Longest node or network name, bytes: what a DNS label may hold, because in Docker the name is the host name.
pub const NAME_MAX_BYTES: usize = 63;

/// Why a name, an id or a number was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} `{given}` {why}")]
pub struct ParseIdError {
    what: &'static str,
    given: String,
    why: &'static str,
}

fn refuse(what: &'static str, given: &str, why: &'static str) -> ParseIdError {
    // A refused value may be megabytes of somebody's garbage: show its beginning.
    ParseIdError { what, given: given.chars().take(80).collect(), why }
}

fn check_name(what: &'static str, name: &str) -> Result<(), ParseIdError> {
    if name.is_empty() {
        return Err(refuse(what, name, "is empty"));
    }
    if name.len() > NAME_MAX_BYTES {
        return Err(refuse(what, name, "is longer than 63 bytes"));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !name.chars().all(allowed) || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(refuse(
            what,
            name,
            "may hold letters, digits, `-`, `_` and `.`, and starts with a letter or digit",
        ));
    }
    Ok(())
}

macro_rules! name_type {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl FromStr for $type {
            type Err = ParseIdError;
            fn from_str(name: &str) -> Result<Self, ParseIdError> {
                check_name($what, name)?;
                Ok(Self(name.into()))
            }
        }
        impl TryFrom<String> for $type {
            type Error = ParseIdError;
            fn try_from(name: String) -> Result<Self, ParseIdError> {
                name.parse()
            }
        }
        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0.as_ref().to_owned()
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type! {
    /// A node's name, unique in its network and kept over restarts: `node7`, `bootstrap`. 1 to 63 bytes of letters,
    /// digits, `-`, `_`, `.`. Ordered as text; [`NodeName::display_order`] is the order people expect.
    NodeName, "node name"
}
name_type! {
    /// A network's name: what `--network` takes and containers are labelled with. Same alphabet as a node name.
    NetworkName, "network name"
}

impl NodeName {
    /// The name of peer number `number`: `node7`.
    #[must_use]
    pub fn numbered(number: u32) -> Self {
        Self(format!("node{number}").into())
    }

    /// The first node of a network, to which the others come first.
    #[must_use]
    pub fn bootstrap() -> Self {
        Self("bootstrap".into())
    }

    /// `Some(7)` for `node7`.
    #[must_use]
    pub fn number(&self) -> Option<u32> {
        self.0.strip_prefix("node")?.parse().ok()
    }

    /// Sorts as people count: the bootstrap, `node2` before `node10`, then every other name as text.
    #[must_use]
    pub fn display_order(&self) -> (u8, u32, &str) {
        match self.number() {
            _ if self.as_str() == "bootstrap" => (0, 0, ""),
            Some(number) => (1, number, ""),
            None => (2, 0, self.as_str()),
        }
    }

    /// The name as a sentence has it, `Node 4` for `node4`: the form of the course projects' output.
    #[must_use]
    pub fn spoken(&self) -> String {
        match self.number() {
            Some(number) => format!("Node {number}"),
            None => {
                let mut letters = self.as_str().chars();
                letters
                    .next()
                    .map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
            }
        }
    }
}

/// Longest key of the store, bytes of UTF-8 (contract §2).
pub const KEY_MAX_BYTES: usize = 1024;

/// A key of the store: 1 to 1,024 bytes of UTF-8, any characters. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(Arc<str>);

impl Key {
    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Key {
    type Err = ParseIdError;

    fn from_str(key: &str) -> Result<Self, ParseIdError> {
        match key.len() {
            0 => Err(refuse("key", key, "is empty")),
            1..=KEY_MAX_BYTES => Ok(Self(key.into())),
            _ => Err(refuse("key", key, "is longer than 1024 bytes")),
        }
    }
}

impl TryFrom<String> for Key {
    type Error = ParseIdError;

    fn try_from(key: String) -> Result<Self, ParseIdError> {
        key.parse()
    }
}

impl From<Key> for String {
    fn from(key: Key) -> String {
        key.0.as_ref().to_owned()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// Milliseconds since 1970, as the host's wall clock had it. For display and for comparing with the container engine's
/// own stamps on one host; no protocol decides anything by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// Milliseconds from `earlier` to `self`; 0 if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: UnixMillis) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Which life of a node this is: its boot time in milliseconds since 1970, raised where needed so that a later boot of
/// the same name always has the larger epoch, also when the clock went back (the node keeps its last one on disk).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// When this life began.
    #[must_use]
    pub fn booted_at(self) -> UnixMillis {
        UnixMillis(self.0)
    }
}

/// One broadcast, the same in the frame, the trace, the log, the API and the pane: who sent it first, in which life,
/// and the how-manieth it was (from 1). Prints as `node4-19a1b2c3d4e-7`, safe in a URL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// The node that accepted the message from its user.
    pub origin: NodeName,
    /// The origin's life.
    pub epoch: Epoch,
    /// Counts the origin's messages in that life, from 1.
    pub seq: u64,
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:x}-{}", self.origin, self.epoch.0, self.seq)
    }
}

impl FromStr for MessageId {
    type Err = ParseIdError;
    fn from_str(id: &str) -> Result<Self, ParseIdError> {
        let wrong = || refuse("message id", id, "is not of the form NAME-EPOCH-SEQ");
        let mut parts = id.rsplitn(3, '-');
        let (Some(seq), Some(epoch), Some(origin)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(wrong());
        };
        Ok(Self {
            origin: origin.parse()?,
            epoch: Epoch(u64::from_str_radix(epoch, 16).map_err(|_| wrong())?),
            seq: seq.parse().map_err(|_| wrong())?,
        })
    }
}

impl Serialize for MessageId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.collect_str(self);
        }
        (&self.origin, self.epoch, self.seq).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for MessageId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom);
        }
        let (origin, epoch, seq) = Deserialize::deserialize(deserializer)?;
        Ok(Self { origin, epoch, seq })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_outside_are_checked() {
        for good in ["node7", "a", "NODE-1_x.y", &"n".repeat(63)] {
            assert_eq!(good.parse::<NodeName>().unwrap().as_str(), good);
        }
        for bad in ["", "-a", ".", "a b", "a/b", "ä", "a\n", &"n".repeat(64)] {
            assert!(bad.parse::<NodeName>().is_err(), "{bad:?}");
            assert!(serde_json::from_value::<NodeName>(bad.into()).is_err(), "{bad:?} in JSON");
        }
        let bytes = postcard::to_allocvec("a b").unwrap();
        assert!(postcard::from_bytes::<NodeName>(&bytes).is_err(), "in a frame");
    }

    #[test]
    fn names_sort_as_people_count() {
        let mut names: Vec<NodeName> =
            ["x", "node10", "node2", "bootstrap"].iter().map(|n| n.parse().unwrap()).collect();
        names.sort_by(|a, b| a.display_order().cmp(&b.display_order()));
        assert_eq!(names.iter().map(NodeName::as_str).collect::<Vec<_>>(), ["bootstrap", "node2", "node10", "x"]);
    }

    #[test]
    fn spoken_names_read_like_the_course_projects() {
        assert_eq!(NodeName::numbered(4).spoken(), "Node 4");
        assert_eq!(NodeName::bootstrap().spoken(), "Bootstrap");
    }

    #[test]
    fn message_ids_round_trip_as_text_and_in_frames() {
        let id = MessageId { origin: "my-node".parse().unwrap(), epoch: Epoch(1_763_700_000_123), seq: 42 };
        assert_eq!(id.to_string().parse::<MessageId>().unwrap(), id);
        let bytes = postcard::to_allocvec(&id).unwrap();
        assert_eq!(postcard::from_bytes::<MessageId>(&bytes).unwrap(), id);
        for bad in ["", "node4", "node4-1", "node4-zz-1", "node4-1-x", "-1-1", "node4-1-99999999999999999999"] {
            assert!(bad.parse::<MessageId>().is_err(), "{bad}");
        }
    }
}
