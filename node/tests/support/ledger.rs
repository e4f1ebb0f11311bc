//! The ledger: what users asked of the store, what they were told, and whether all of that can be true at once.
//!
//! In the manner of Jepsen's register and set checks (Kingsbury, <https://jepsen.io/analyses>): nothing of the store is
//! looked at but requests and answers with the times between which each was under way, so the same check judges the
//! simulator and real containers. It differs in that a key is no single register: concurrent writes may both survive, as
//! *siblings*.
//!
//! ```text
//!   time ───────────────────────────────────────────────────────────▶
//!   put a   ├────────┤ acknowledged
//!   put b                 ├───────┤ acknowledged: it could see a, so it replaces it
//!   put c                       ├─────┤ unknown: it may have happened, at any time from its beginning to a while after
//!   get                                      ├───┤ b; or c; or b and c. Not a (stale), not nothing (lost), not d
//! ```
//! A write *could replace* another unless it was over before the other began, or a cut lay between the two from the
//! beginning of the one to the end of the other. A get that was answered must then show
//! - nothing that nobody wrote ([`Wrong::NeverWritten`]);
//! - of each acknowledged write before it that write, or one that could have replaced it: else the write is lost
//!   ([`Wrong::Lost`]), or was dropped as a sibling ([`Wrong::SiblingDropped`]);
//! - no acknowledged write that a later acknowledged one, which began after it was over, has replaced
//!   ([`Wrong::Stale`], [`Wrong::CameBack`] when it was deleted; [`Wrong::FalseSibling`] when the later one is shown too).
//!
//! The promise has [`Gap`]s: while a network is cut reads may miss what the other side wrote, and where `w` holders of a
//! key were destroyed within one repair window what they held may be lost. At the end, after a calm, [`check_end`] is the
//! set check: every key that was ever written is readable through every node, and they all say the same;
//! and [`check_copies`] looks at what lies where.

#![allow(dead_code, reason = "the simulator and the test with containers each use their part")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// Microseconds since any common beginning.
pub(crate) type Time = u64;

/// What was asked. No two puts of a key have the same value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Put(String),
    Delete,
    Get,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A put or delete was acknowledged.
    Acknowledged,
    /// A get showed these: the value, then its siblings.
    Seen(Vec<String>),
    /// A get or delete found no value.
    Missing,
    /// It had no effect for sure: refused before anything was done.
    Failed,
    /// No answer, or one that leaves open whether it has happened.
    Unknown,
}

/// One request, from its beginning to its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Op {
    pub(crate) client: usize,
    /// Through which node.
    pub(crate) node: String,
    pub(crate) key: String,
    pub(crate) kind: Kind,
    pub(crate) outcome: Outcome,
    pub(crate) invoked: Time,
    /// `None` while there is no answer, and for ever if none came.
    pub(crate) completed: Option<Time>,
}

/// Where the promise does not hold, or not wholly. `None` means all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Gap {
    /// What goes through these nodes while it lasts may not see what others wrote: for instance a cut, from its beginning
    /// until its two sides have found together again.
    Blind { nodes: Option<BTreeSet<String>>, key: Option<String>, from: Time, to: Time },
    /// What was acknowledged up to then may be lost: `w` or more holders were destroyed within one repair window.
    Loss { key: Option<String>, at: Time },
}

/// Nothing passed between these nodes and all others. From when it was whole until it began to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) side: BTreeSet<String>,
    pub(crate) from: Time,
    pub(crate) to: Time,
}

/// All there is to judge.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    pub(crate) ops: Vec<Op>,
    pub(crate) gaps: Vec<Gap>,
    pub(crate) cuts: Vec<Cut>,
    /// How long after its user was told nothing certain a write may still happen.
    pub(crate) lateness: Time,
}

/// What kind of wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Wrong {
    NeverWritten,
    Lost,
    SiblingDropped,
    Stale,
    CameBack,
    FalseSibling,
    Unanswered,
    Disagreement,
    TooFewCopies,
    Outdated,
    Misplaced,
}

/// Something that cannot be, or must not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) wrong: Wrong,
    pub(crate) key: String,
    /// The requests that show it, by their number in the history: as few as show it.
    pub(crate) ops: Vec<usize>,
    pub(crate) text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: key `{}`: {}", self.wrong, self.key, self.text)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |at: Time| format!("{}.{:06}", at / 1_000_000, at % 1_000_000);
        match &self.kind {
            Kind::Put(value) => write!(f, "put {value}")?,
            Kind::Delete => write!(f, "delete")?,
            Kind::Get => write!(f, "get")?,
        }
        write!(f, " by client {} through {} [{}–", self.client, self.node, seconds(self.invoked))?;
        match self.completed {
            Some(at) => write!(f, "{} s] ", seconds(at))?,
            None => write!(f, "… s] ")?,
        }
        match &self.outcome {
            Outcome::Acknowledged => write!(f, "acknowledged"),
            Outcome::Seen(values) => write!(f, "showed {}", values.join(", ")),
            Outcome::Missing => write!(f, "found nothing"),
            Outcome::Failed => write!(f, "failed"),
            Outcome::Unknown => write!(f, "left open"),
        }
    }
}

impl Op {
    fn is_write(&self) -> bool {
        !matches!(self.kind, Kind::Get)
    }

    fn acknowledged(&self) -> bool {
        self.is_write() && self.outcome == Outcome::Acknowledged
    }

    /// Over, and before that moment.
    fn over_by(&self, at: Time) -> bool {
        self.completed.is_some_and(|completed| completed < at)
    }
}

impl Gap {
    fn blinds(&self, op: &Op) -> bool {
        let Self::Blind { nodes, key, from, to } = self else { return false };
        let concerns = nodes.as_ref().is_none_or(|nodes| nodes.contains(&op.node));
        let of_key = key.as_ref().is_none_or(|key| *key == op.key);
        concerns && of_key && op.invoked <= *to && op.completed.is_none_or(|completed| completed >= *from)
    }

    fn forgives(&self, write: &Op) -> bool {
        let Self::Loss { key, at } = self else { return false };
        key.as_ref().is_none_or(|key| *key == write.key) && write.completed.is_some_and(|completed| completed <= *at)
    }
}

/// The requests for one key.
struct Register<'a> {
    history: &'a History,
    key: &'a str,
    ops: Vec<usize>,
    /// Of those, puts and deletes.
    writes: Vec<usize>,
    by_value: BTreeMap<&'a str, usize>,
}

/// Every answered get of the history against every write, key by key; the first wrong get of each kind and key.
pub(crate) fn check(history: &History) -> Vec<Violation> {
    check_since(history, 0)
}

/// Only of the gets that began then or later.
fn check_since(history: &History, since: Time) -> Vec<Violation> {
    let mut violations = Vec::new();
    for register in registers(history) {
        let mut found: BTreeMap<Wrong, Violation> = BTreeMap::new();
        let mut gets: Vec<usize> = register.ops.clone();
        gets.sort_by_key(|op| history.ops[*op].completed.unwrap_or(Time::MAX));
        for get in gets {
            if let Some(seen) = shown(&history.ops[get]).filter(|_| history.ops[get].invoked >= since) {
                for violation in register.judge(get, seen) {
                    found.entry(violation.wrong).or_insert(violation);
                }
            }
        }
        violations.extend(found.into_values());
    }
    violations
}

/// What an answered get showed.
fn shown(op: &Op) -> Option<&[String]> {
    match (&op.kind, &op.outcome) {
        (Kind::Get, Outcome::Seen(values)) => Some(values),
        (Kind::Get, Outcome::Missing) => Some(&[]),
        _ => None,
    }
}

fn registers(history: &History) -> Vec<Register<'_>> {
    let mut of_key: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, op) in history.ops.iter().enumerate() {
        of_key.entry(&op.key).or_default().push(index);
    }
    of_key.into_iter().map(|(key, ops)| Register::new(history, key, ops)).collect()
}

impl<'a> Register<'a> {
    fn new(history: &'a History, key: &'a str, ops: Vec<usize>) -> Self {
        let writes: Vec<usize> = ops.iter().copied().filter(|op| history.ops[*op].is_write()).collect();
        let mut by_value = BTreeMap::new();
        for &write in &writes {
            if let Kind::Put(value) = &history.ops[write].kind {
                let before = by_value.insert(value.as_str(), write);
                assert!(before.is_none(), "two puts of `{key}` write {value}: the history cannot be judged");
            }
        }
        Self { history, key, ops, writes, by_value }
    }

    fn op(&self, index: usize) -> &'a Op {
        &self.history.ops[index]
    }

    fn violation(&self, wrong: Wrong, ops: &[usize], text: String) -> Violation {
        Violation { wrong, key: self.key.to_owned(), ops: ops.to_vec(), text }
    }

    fn judge(&self, get: usize, seen: &[String]) -> Vec<Violation> {
        let mut violations = Vec::new();
        let mut roots = Vec::new();
        for value in seen {
            match self.writer(get, value) {
                Ok(write) => roots.push(write),
                Err(violation) => violations.push(violation),
            }
        }
        if !violations.is_empty() || self.history.gaps.iter().any(|gap| gap.blinds(self.op(get))) {
            return violations;
        }
        violations.extend(roots.iter().filter_map(|shown| self.stale(get, *shown, &roots)));
        // A delete leaves nothing to see: any that may have happened can be why something is not shown.
        roots.extend(self.writes.iter().copied().filter(|write| {
            let op = self.op(*write);
            op.kind == Kind::Delete && op.outcome != Outcome::Failed && !self.later(op, self.op(get))
        }));
        violations.extend(self.lost(get, &roots));
        violations
    }

    /// The put that wrote a value which `get` showed.
    fn writer(&self, get: usize, value: &str) -> Result<usize, Violation> {
        let reader = self.op(get);
        let Some(&write) = self.by_value.get(value) else {
            let text = format!("{reader}, and nobody ever wrote {value}");
            return Err(self.violation(Wrong::NeverWritten, &[get], text));
        };
        let op = self.op(write);
        if op.outcome == Outcome::Failed || self.later(op, reader) {
            let text = format!("{reader}, but: {op}");
            return Err(self.violation(Wrong::NeverWritten, &[get, write], text));
        }
        Ok(write)
    }

    /// Began when the other was over.
    fn later(&self, op: &Op, than: &Op) -> bool {
        than.over_by(op.invoked)
    }

    /// The latest time at which a write can have happened.
    fn end(&self, write: &Op) -> Time {
        match (&write.outcome, write.completed) {
            (_, None) => Time::MAX,
            (Outcome::Acknowledged, Some(at)) => at,
            (_, Some(at)) => at.saturating_add(self.history.lateness),
        }
    }

    /// Whether `write` may have seen `other` and so have replaced it.
    fn could_replace(&self, write: &Op, other: &Op) -> bool {
        let end = self.end(write);
        let apart = |cut: &Cut| {
            cut.side.contains(&write.node) != cut.side.contains(&other.node)
                && cut.from <= other.invoked
                && end <= cut.to
        };
        end >= other.invoked && !self.history.cuts.iter().any(apart)
    }

    /// An acknowledged write that nothing shown accounts for.
    fn lost(&self, get: usize, roots: &[usize]) -> Option<Violation> {
        let reader = self.op(get);
        let demanded = self.writes.iter().copied().filter(|write| {
            let op = self.op(*write);
            op.acknowledged()
                && matches!(op.kind, Kind::Put(_))
                && op.over_by(reader.invoked)
                && !self.history.gaps.iter().any(|gap| gap.forgives(op))
        });
        // Without cuts the root that can have happened last accounts for whatever any of them accounts for.
        let last = roots.iter().copied().max_by_key(|root| self.end(self.op(*root)));
        let last: Vec<usize> = last.into_iter().collect();
        let decisive = if self.history.cuts.is_empty() { &last } else { roots };
        let mut lost: Vec<usize> = demanded
            .filter(|write| {
                let op = self.op(*write);
                !decisive.iter().any(|root| root == write || self.could_replace(self.op(*root), op))
            })
            .collect();
        // The one written last is the one that should be there.
        lost.sort_by_key(|write| self.op(*write).invoked);
        let write = lost.pop()?;
        let op = self.op(write);
        let apart = |root: &usize| !self.could_replace(op, self.op(*root));
        let beside = roots.iter().copied().find(apart);
        let shown = roots.iter().copied().filter(|root| matches!(self.op(*root).kind, Kind::Put(_))).max();
        Some(match (beside, shown) {
            (Some(other), _) => {
                let text = format!("{reader}; lacks: {op}; it was on the other side of a cut from: {}", self.op(other));
                self.violation(Wrong::SiblingDropped, &[get, write, other], text)
            }
            (None, Some(older)) => {
                let text = format!("{reader}; lacks: {op}; what is shown is older: {}", self.op(older));
                self.violation(Wrong::Lost, &[get, write, older], text)
            }
            (None, None) => {
                let text = format!("{reader}; lacks: {op}; nothing that may have happened since can have removed it");
                self.violation(Wrong::Lost, &[get, write], text)
            }
        })
    }

    /// An acknowledged write that replaced what is shown, before `get` began.
    fn stale(&self, get: usize, shown: usize, roots: &[usize]) -> Option<Violation> {
        let (reader, old) = (self.op(get), self.op(shown));
        if !old.acknowledged() {
            // It may have been on one disk only when it was written over, and turn up later: that is not promised away.
            return None;
        }
        let gaps = &self.history.gaps;
        let replaced = |write: &&usize| {
            let op = self.op(**write);
            op.acknowledged()
                && self.later(op, old)
                && self.could_replace(op, old)
                && op.over_by(reader.invoked)
                && !gaps.iter().any(|gap| gap.blinds(op) || gap.forgives(op))
        };
        let newer = self.writes.iter().filter(replaced).max_by_key(|write| self.op(**write).invoked).copied()?;
        let op = self.op(newer);
        let wrong = match op.kind {
            Kind::Delete => Wrong::CameBack,
            _ if self.writes.iter().filter(replaced).any(|write| roots.contains(write)) => Wrong::FalseSibling,
            _ => Wrong::Stale,
        };
        let text = format!("{reader}; but that of: {old}; was replaced by: {op}");
        Some(self.violation(wrong, &[get, shown, newer], text))
    }
}

/// The requests that were not answered, among those that began in the period: a store that answers wrongly is caught by
/// [`check`], one that does not answer at all by this.
pub(crate) fn check_answered(history: &History, from: Time, to: Time, kinds: impl Fn(&Kind) -> bool) -> Vec<Violation> {
    let open = |op: &Op| matches!(op.outcome, Outcome::Failed | Outcome::Unknown);
    let within = |op: &Op| op.invoked >= from && op.invoked <= to && kinds(&op.kind);
    let ops = history.ops.iter().enumerate().filter(|(_, op)| within(op) && open(op));
    ops.map(|(index, op)| Violation {
        wrong: Wrong::Unanswered,
        key: op.key.clone(),
        ops: vec![index],
        text: op.to_string(),
    })
    .collect()
}

/// The set check, after a calm: in `history` every key that has an acknowledged put was read through every one of `nodes`
/// in a get that began at `calm` or later; each was answered, rightly, and all show the same in the same order.
pub(crate) fn check_end(history: &History, nodes: &[String], calm: Time) -> Vec<Violation> {
    let mut violations = Vec::new();
    for register in registers(history) {
        if !register.writes.iter().any(|write| history.ops[*write].acknowledged()) {
            continue;
        }
        let mut said: BTreeMap<&str, (usize, &[String])> = BTreeMap::new();
        for &index in &register.ops {
            let op = &history.ops[index];
            if let Some(values) = shown(op).filter(|_| op.invoked >= calm) {
                said.insert(&op.node, (index, values));
            }
        }
        let silent = nodes.iter().find(|node| !said.contains_key(node.as_str()));
        if let Some(node) = silent {
            let text = format!("it was not read through {node} at the end, though a write of it was acknowledged");
            violations.push(register.violation(Wrong::Unanswered, &[], text));
        }
        let mut answers = said.values();
        let Some((first, values)) = answers.next() else { continue };
        if let Some((other, _)) = answers.find(|(_, other)| other != values) {
            let text = format!("{}; but: {}", history.ops[*first], history.ops[*other]);
            violations.push(register.violation(Wrong::Disagreement, &[*first, *other], text));
        }
    }
    violations.extend(check_since(history, calm));
    violations
}

/// Whether each key lies with exactly the nodes it should, all with the same versions, and nowhere else. `held` says of
/// each key which nodes hold it in which versions; `wanted` who should.
pub(crate) fn check_copies(
    held: &BTreeMap<String, BTreeMap<String, u64>>,
    wanted: &BTreeMap<String, BTreeSet<String>>,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    let nobody = BTreeMap::new();
    for (key, holders) in wanted {
        let copies = held.get(key).unwrap_or(&nobody);
        let mut say = |wrong, text| violations.push(Violation { wrong, key: key.clone(), ops: Vec::new(), text });
        let lacking: Vec<&str> =
            holders.iter().filter(|node| !copies.contains_key(*node)).map(String::as_str).collect();
        if !lacking.is_empty() {
            let count = holders.len() - lacking.len();
            say(Wrong::TooFewCopies, format!("{count} of {} copies: {} lack it", holders.len(), lacking.join(", ")));
        }
        let mut versions = copies.iter().filter(|(node, _)| holders.contains(*node));
        if let Some((first, version)) = versions.next()
            && let Some((other, different)) = versions.find(|(_, other)| *other != version)
        {
            say(Wrong::Outdated, format!("{first} holds versions {version:016x}, {other} holds {different:016x}"));
        }
    }
    for (key, copies) in held {
        let strays = copies.keys().filter(|node| wanted.get(key).is_none_or(|holders| !holders.contains(*node)));
        let strays: Vec<&str> = strays.map(String::as_str).collect();
        if !strays.is_empty() {
            let text = format!("{} hold it and should not", strays.join(", "));
            violations.push(Violation { wrong: Wrong::Misplaced, key: key.clone(), ops: Vec::new(), text });
        }
    }
    violations
}

/// The first of them in words, and how many there are; to fail with.
pub(crate) fn summary(violations: &[Violation]) -> String {
    // What takes the fewest requests to show is the easiest to understand.
    let mut shortest: Vec<&Violation> = violations.iter().collect();
    shortest.sort_by_key(|violation| violation.ops.len());
    let lines: String = shortest.iter().take(5).map(|violation| format!("\n  {violation}")).collect();
    format!("{} violations{lines}", violations.len())
}
