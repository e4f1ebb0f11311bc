//! Which nodes a verb is about: `9`, `node9`, `20-30`, `bootstrap`, `30% seed 7`, `*`, and several of them.
//!
//! A selector is parsed before it is known which nodes there are, so that bad grammar is a usage error; it is resolved
//! against the engine's list, so that a node that is not there is an error and not a silent nothing.
//!
//! A share such as `30%` is drawn from the nodes that are up, never the bootstrap or the gateway, by a shuffle from a seed.
//! Without a seed one is drawn when the selector is parsed; [`Selector`] prints it, so that any run can be repeated.

use std::{collections::BTreeSet, fmt, str::FromStr};

use p2pnet_shared::NodeName;
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};

use crate::{
    cluster::{Role, Unit, UnitState},
    failure::Failure,
};

/// A choice of nodes, resolved against those there are.
#[derive(Debug, Clone, PartialEq)]
pub struct Selector {
    parts: Vec<Part>,
}

/// One of the choices that together make a selector.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// `9`, `node9`, `bootstrap`
    One(NodeName),
    /// `20-30`: both ends belong to it.
    Range(u32, u32),
    /// `30% seed 7`: of the peers that are up, rounded to the nearest, at least one.
    Share { percent: u8, seed: u64 },
    /// `*`: the bootstrap and every peer.
    All,
}

const FORMS: &str = "name nodes like `9`, `node9`, `20-30`, `bootstrap`, `30%`, `30% seed 7` or `*`";

impl Selector {
    /// The one node of that name.
    #[must_use]
    pub fn one(name: NodeName) -> Self {
        Self { parts: vec![Part::One(name)] }
    }

    /// Parses words as a shell gives them: `["9", "20-30"]`, `["30%", "seed", "7"]`.
    ///
    /// # Errors
    /// No word at all, or one that is none of the forms.
    pub fn parse_words<S: AsRef<str>>(words: &[S]) -> Result<Self, Failure> {
        let words: Vec<&str> = words
            .iter()
            .flat_map(|word| word.as_ref().split(|c: char| c.is_whitespace() || c == ','))
            .filter(|word| !word.is_empty())
            .collect();
        let mut parts = Vec::new();
        let mut words = words.into_iter().peekable();
        while let Some(word) = words.next() {
            let seed =
                if word.ends_with('%') && words.next_if_eq(&"seed").is_some() {
                    let seed = words.next().and_then(|seed| seed.parse().ok());
                    Some(seed.ok_or_else(|| {
                        Failure::new("`seed` needs a number after it").hint("for example `30% seed 7`")
                    })?)
                } else {
                    None
                };
            parts.push(parse_part(word, seed)?);
        }
        if parts.is_empty() { Err(Failure::new("no node was named").hint(FORMS)) } else { Ok(Self { parts }) }
    }

    /// The nodes it means, each once, in the order people count.
    ///
    /// # Errors
    /// It names a node that is not there, or a share of no nodes at all.
    pub fn resolve(&self, units: &[Unit]) -> Result<Vec<NodeName>, Failure> {
        let mut chosen = BTreeSet::new();
        for part in &self.parts {
            chosen.extend(resolve_part(part, units)?);
        }
        let mut chosen: Vec<NodeName> = chosen.into_iter().collect();
        chosen.sort_by(|a, b| a.display_order().cmp(&b.display_order()));
        Ok(chosen)
    }
}

impl FromStr for Selector {
    type Err = Failure;
    fn from_str(text: &str) -> Result<Self, Failure> {
        Self::parse_words(&[text])
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, part) in self.parts.iter().enumerate() {
            let space = if i == 0 { "" } else { " " };
            match part {
                Part::One(name) => write!(f, "{space}{name}")?,
                Part::Range(first, last) => write!(f, "{space}{first}-{last}")?,
                Part::Share { percent, seed } => write!(f, "{space}{percent}% seed {seed}")?,
                Part::All => write!(f, "{space}*")?,
            }
        }
        Ok(())
    }
}

fn parse_part(word: &str, seed: Option<u64>) -> Result<Part, Failure> {
    let wrong = |why: &str| Failure::new(format!("`{word}` {why}")).hint(FORMS);
    if word == "*" {
        return Ok(Part::All);
    }
    if let Some(percent) = word.strip_suffix('%') {
        let percent = percent.parse().ok().filter(|percent| (1..=100).contains(percent));
        let percent = percent.ok_or_else(|| wrong("is no share from 1% to 100%"))?;
        // Small, because people read it off the screen and type it again.
        return Ok(Part::Share { percent, seed: seed.unwrap_or_else(|| rand::random_range(1..10_000)) });
    }
    let number = |word: &str| word.strip_prefix("node").unwrap_or(word).parse::<u32>().ok();
    if let Some(number) = number(word) {
        return Ok(Part::One(NodeName::numbered(number)));
    }
    if let Some((first, last)) = word.split_once('-')
        && let (Some(first), Some(last)) = (number(first), number(last))
    {
        return if first <= last { Ok(Part::Range(first, last)) } else { Err(wrong("runs backwards")) };
    }
    word.parse().map(Part::One).map_err(|_| wrong("is no node"))
}

fn resolve_part(part: &Part, units: &[Unit]) -> Result<Vec<NodeName>, Failure> {
    let nodes = || units.iter().filter(|unit| unit.role != Role::Gateway);
    let names = |units: Vec<&Unit>| units.into_iter().map(|unit| unit.name.clone()).collect::<Vec<_>>();
    match part {
        Part::All => Ok(names(nodes().collect())),
        Part::One(name) if nodes().any(|unit| unit.name == *name) => Ok(vec![name.clone()]),
        Part::One(name) if units.iter().any(|unit| unit.name == *name) => {
            Err(Failure::new(format!("`{name}` is no node: it only collects what nodes report"))
                .hint(what_exists(units)))
        }
        Part::One(name) => Err(Failure::new(format!("there is no `{name}`")).hint(what_exists(units))),
        Part::Range(first, last) => {
            let within = |unit: &&Unit| unit.name.number().is_some_and(|number| (*first..=*last).contains(&number));
            let found: Vec<&Unit> = nodes().filter(within).collect();
            // A gap inside is fine, an end that does not exist is a slip of the hand.
            let has = |number: u32| found.iter().any(|unit| unit.name.number() == Some(number));
            match [*first, *last].into_iter().find(|end| !has(*end)) {
                None => Ok(names(found)),
                Some(end) => Err(Failure::new(format!("there is no `node{end}`")).hint(what_exists(units))),
            }
        }
        Part::Share { percent, seed } => {
            let mut up = names(nodes().filter(|unit| unit.role == Role::Node && unit.state == UnitState::Up).collect());
            if up.is_empty() {
                return Err(Failure::new(format!("there is no node up to take {percent}% of")).hint(what_exists(units)));
            }
            up.sort_by(|a, b| a.display_order().cmp(&b.display_order()));
            up.shuffle(&mut StdRng::seed_from_u64(*seed));
            let share = (up.len() * usize::from(*percent) + 50) / 100;
            up.truncate(share.max(1));
            Ok(up)
        }
    }
}

/// `there are bootstrap and node1 to node100`
fn what_exists(units: &[Unit]) -> String {
    let mut numbers: Vec<u32> = units.iter().filter_map(|unit| unit.name.number()).collect();
    numbers.sort_unstable();
    let peers = match (numbers.first(), numbers.last()) {
        (Some(first), Some(last)) if first == last => Some(format!("node{first}")),
        (Some(first), Some(last)) if (last - first) as usize + 1 == numbers.len() => {
            Some(format!("node{first} to node{last}"))
        }
        (Some(first), Some(last)) => Some(format!("{} nodes from node{first} to node{last}", numbers.len())),
        _ => None,
    };
    let bootstrap = units.iter().any(|unit| unit.role == Role::Bootstrap).then(|| "bootstrap".to_owned());
    let all: Vec<String> = bootstrap.into_iter().chain(peers).collect();
    if all.is_empty() { "there are no nodes".to_owned() } else { format!("there are {}", all.join(" and ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(name: NodeName, role: Role, state: UnitState) -> Unit {
        Unit { name, role, state, address: None, since: None }
    }

    /// The bootstrap, the gateway and ten nodes; node 10 is dead.
    fn network() -> Vec<Unit> {
        let mut units = vec![
            unit("gateway".parse().unwrap(), Role::Gateway, UnitState::Up),
            unit(NodeName::bootstrap(), Role::Bootstrap, UnitState::Up),
        ];
        units.extend((1..=10).rev().map(|number| {
            let state = if number == 10 { UnitState::Dead } else { UnitState::Up };
            unit(NodeName::numbered(number), Role::Node, state)
        }));
        units
    }

    fn resolved(text: &str) -> Result<Vec<String>, Failure> {
        let names = text.parse::<Selector>()?.resolve(&network())?;
        Ok(names.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_form_means_what_it_says() {
        for (text, expected) in [
            ("9", vec!["node9"]),
            ("node9", vec!["node9"]),
            ("bootstrap", vec!["bootstrap"]),
            ("8-10", vec!["node8", "node9", "node10"]),
            ("node8-node9", vec!["node8", "node9"]),
            ("9, 2 bootstrap,2", vec!["bootstrap", "node2", "node9"]),
        ] {
            assert_eq!(resolved(text).unwrap(), expected, "{text}");
        }
        assert_eq!(resolved("*").unwrap().len(), 11, "all but the gateway");
    }

    #[test]
    fn a_share_is_drawn_from_nodes_that_are_up_and_can_be_repeated() {
        let drawn = resolved("30% seed 7").unwrap();
        assert_eq!(drawn.len(), 3, "30 % of nine, rounded");
        assert_eq!(drawn, resolved("30% seed 7").unwrap());
        assert_ne!(drawn, resolved("30% seed 8").unwrap());
        let all = resolved("100% seed 1").unwrap();
        assert_eq!(all.len(), 9);
        assert!(!all.iter().any(|name| name == "node10" || name == "bootstrap"));
        assert_eq!(resolved("1% seed 1").unwrap().len(), 1, "never nothing");
    }

    #[test]
    fn a_share_without_a_seed_prints_the_one_it_took() {
        let selector: Selector = "30%".parse().unwrap();
        let again: Selector = selector.to_string().parse().unwrap();
        assert_eq!(selector, again);
    }

    #[test]
    fn what_is_not_there_is_a_failure_that_names_what_is() {
        for text in ["11", "node0", "9-11", "nobody", "gateway"] {
            let failure = resolved(text).unwrap_err();
            assert_eq!(failure.hint.as_deref(), Some("there are bootstrap and node1 to node10"), "{text}");
        }
    }

    #[test]
    fn bad_grammar_is_refused() {
        for text in ["", " , ", "0%", "101%", "-3%", "30% seed", "30% seed x", "9-3", "a/b", "99999999999", "%"] {
            let failure = text.parse::<Selector>().and_then(|selector| selector.resolve(&network()));
            assert!(failure.unwrap_err().hint.is_some(), "{text:?}");
        }
    }
}
