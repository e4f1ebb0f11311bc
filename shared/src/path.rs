//! Where a file stands in the shared folder: a relative path that is safe to open on every node.
//!
//! A [`FilePath`] is valid once it is parsed, also when it came in a frame, so nobody checks it again: it cannot leave the
//! folder, name the folder's own business, or be a name that some node could not create.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// Longest path, bytes of UTF-8.
pub const PATH_MAX_BYTES: usize = 1_024;
/// Longest component, bytes: what ext4, xfs, btrfs and tmpfs allow.
pub const COMPONENT_MAX_BYTES: usize = 255;
/// The folder's own business: marker, index and unfinished files. Nothing in it is ever shared.
pub const OWN_DIR: &str = ".p2pnet";

/// Why a path was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("path `{given}` {why}")]
pub struct PathError {
    given: String,
    why: &'static str,
}

/// A file's path within the folder: components joined by `/`, 1 to 1,024 bytes of UTF-8, each component 1 to 255 bytes, none
/// of them `.` or `..`, the first not [`OWN_DIR`], and no NUL. Bytes are kept as they are: no case folding, no Unicode
/// normalisation. Ordered as bytes. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FilePath(Arc<str>);

impl FilePath {
    /// The path as text, without a leading slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its last component.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The path without its last component; `None` at the top of the folder.
    #[must_use]
    pub fn parent(&self) -> Option<&str> {
        self.0.rsplit_once('/').map(|(parent, _)| parent)
    }

    /// Whether it is in a folder of that name, however deep.
    #[must_use]
    pub fn is_beneath(&self, folder: &Self) -> bool {
        self.0.strip_prefix(folder.as_str()).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Its first eight bytes of BLAKE3, big endian: what stands for the path in digests and telemetry.
    #[must_use]
    pub fn hash64(&self) -> u64 {
        let hash = blake3::hash(self.0.as_bytes());
        u64::from_be_bytes(*hash.as_bytes().first_chunk().expect("a hash has 32 bytes"))
    }
}

impl FromStr for FilePath {
    type Err = PathError;

    fn from_str(path: &str) -> Result<Self, PathError> {
        // A refused path may be megabytes of somebody's garbage: show its beginning.
        let refuse = |why| Err(PathError { given: path.chars().take(80).collect(), why });
        if path.is_empty() {
            return refuse("is empty");
        }
        if path.len() > PATH_MAX_BYTES {
            return refuse("is longer than 1024 bytes");
        }
        if path.contains('\0') {
            return refuse("holds a NUL");
        }
        for (depth, component) in path.split('/').enumerate() {
            match component {
                "" => return refuse("begins or ends with a slash, or has two in a row"),
                "." | ".." => return refuse("has `.` or `..` in it"),
                OWN_DIR if depth == 0 => return refuse("is in `.p2pnet`, which is the folder's own"),
                long if long.len() > COMPONENT_MAX_BYTES => return refuse("has a name longer than 255 bytes"),
                _ => {}
            }
        }
        Ok(Self(path.into()))
    }
}

impl TryFrom<String> for FilePath {
    type Error = PathError;

    fn try_from(path: String) -> Result<Self, PathError> {
        path.parse()
    }
}

impl From<FilePath> for String {
    fn from(path: FilePath) -> String {
        path.0.as_ref().to_owned()
    }
}

impl Borrow<str> for FilePath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_leave_the_folder_or_not_be_created_is_refused() {
        let long = "x".repeat(COMPONENT_MAX_BYTES + 1);
        let longer = "a/".repeat(PATH_MAX_BYTES / 2) + "b";
        for path in [
            "",
            "/",
            "/etc/passwd",
            "a/",
            "a//b",
            ".",
            "..",
            "../a",
            "a/../b",
            "a/.",
            "./a",
            "a\0b",
            ".p2pnet",
            ".p2pnet/index",
            &long,
            &longer,
        ] {
            assert!(path.parse::<FilePath>().is_err(), "{path:?}");
            assert!(serde_json::from_value::<FilePath>(path.into()).is_err(), "{path:?} in JSON");
        }
    }

    #[test]
    fn any_other_name_is_taken_as_it_is() {
        let longest = "ü".repeat(COMPONENT_MAX_BYTES / 2);
        for path in ["a", "a/b c/d", "...", ".hidden", "a/.p2pnet", "x\\y", "-rf *", "new\nline", "\u{1f600}", &longest]
        {
            let parsed: FilePath = path.parse().unwrap();
            assert_eq!(parsed.as_str(), path);
        }
        let path: FilePath = "a/b/c.txt".parse().unwrap();
        assert_eq!((path.name(), path.parent()), ("c.txt", Some("a/b")));
        assert_eq!("top".parse::<FilePath>().unwrap().parent(), None);
        let is_beneath = |folder: &str| path.is_beneath(&folder.parse().unwrap());
        assert!(is_beneath("a") && is_beneath("a/b"));
        assert!(!is_beneath("a/b/c") && !is_beneath("a/b/c.txt") && !is_beneath("b"));
    }
}
