//! Which nodes a verb is about: `9`, `node9`, `20-30`, `bootstrap`, `30% seed 7`.

use std::{fmt, str::FromStr};

use p2pnet_shared::NodeName;

use crate::failure::Failure;

/// A choice of nodes, resolved against those there are.
#[derive(Debug, Clone, PartialEq)]
pub struct Selector {
    text: String,
    parts: Vec<(NodeName, NodeName)>,
    percent: Option<(u32, u64)>,
}

impl FromStr for Selector {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let refused =
            || Failure::new(format!("`{text}` names no nodes")).hint("9, node9, 20-30, bootstrap or 30% seed 7");
        let words: Vec<&str> = text.split_whitespace().collect();
        if let [percent, rest @ ..] = words.as_slice()
            && let Some(percent) = percent.strip_suffix('%')
        {
            let percent = percent.parse().ok().filter(|percent| (1..=100).contains(percent)).ok_or_else(refused)?;
            let seed = match rest {
                [] => 1,
                ["seed", seed] => seed.parse().map_err(|_| refused())?,
                _ => return Err(refused()),
            };
            return Ok(Self { text: text.into(), parts: Vec::new(), percent: Some((percent, seed)) });
        }
        let one = |word: &str| match word.parse::<u32>() {
            Ok(number) => Ok(NodeName::numbered(number)),
            Err(_) => word.parse::<NodeName>().map_err(|_| refused()),
        };
        let mut parts = Vec::new();
        for word in words {
            parts.push(match word.split_once('-') {
                Some((from, to)) if to.parse::<u32>().is_ok() => (one(from)?, one(to)?),
                _ => (one(word)?, one(word)?),
            });
        }
        if parts.is_empty() { Err(refused()) } else { Ok(Self { text: text.into(), parts, percent: None }) }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Selector {
    /// The nodes chosen among `nodes`.
    ///
    /// # Errors
    /// A part that names none of them.
    pub fn resolve(&self, nodes: &[NodeName]) -> Result<Vec<NodeName>, Failure> {
        if let Some((percent, seed)) = self.percent {
            let count = (nodes.len() * percent as usize).div_ceil(100);
            return Ok(nodes.iter().cycle().skip(seed as usize % nodes.len().max(1)).take(count).cloned().collect());
        }
        let mut chosen = Vec::new();
        for (from, to) in &self.parts {
            let inside = |name: &&NodeName| {
                from.display_order() <= name.display_order() && name.display_order() <= to.display_order()
            };
            let before = chosen.len();
            chosen.extend(nodes.iter().filter(inside).cloned());
            if chosen.len() == before {
                return Err(Failure::new(format!("there is no node `{from}`")));
            }
        }
        Ok(chosen)
    }
}
