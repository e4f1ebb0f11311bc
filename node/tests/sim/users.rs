//! Those who use the store, and the history of what they were told.

use std::collections::BTreeMap;

use p2pnet_node::dht::{self, Answer, Request, RequestId};
use p2pnet_shared::{
    Key,
    wire::dht::{Operation, Value},
};

use crate::{
    ledger::{History, Kind, Op, Outcome},
    network::{Arrival, Network},
    wire::NodeId,
};

/// How much later than its deadline an answer may come, microseconds: what is under way is looked over now and then.
const SLACK_US: u64 = 100_000;
/// How long after an uncertain answer a write may still happen, microseconds: a forward is valid for less than a second,
/// and whoever took it then has a deadline for reading before it writes.
const LATENESS_US: u64 = 6_000_000;

/// What a client may want of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    Put,
    Get,
    Delete,
}

/// What was asked and answered.
#[derive(Debug)]
pub(crate) struct Users {
    pub(crate) history: History,
    /// What each was told, by its number in the history.
    pub(crate) answers: Vec<Option<Answer>>,
    open: BTreeMap<RequestId, (NodeId, usize)>,
    asked: RequestId,
}

impl Default for Users {
    fn default() -> Self {
        let history = History { lateness: LATENESS_US, ..History::default() };
        Self { history, answers: Vec::new(), open: BTreeMap::new(), asked: 0 }
    }
}

impl Users {
    /// How many wait for an answer.
    pub(crate) fn waiting(&self) -> usize {
        self.open.len()
    }

    /// Of what a request is that has waited longer than it may, at a node that has been well meanwhile.
    fn overdue(&self, clock: u64, deadline_us: u64, well_since: impl Fn(NodeId) -> u64) -> Option<&Op> {
        self.open.values().find_map(|(node, op)| {
            let op = &self.history.ops[*op];
            let since = op.invoked.max(well_since(*node));
            (clock - since.min(clock) > deadline_us + SLACK_US).then_some(op)
        })
    }
}

impl Network {
    /// Client `client` asks `node` something about `key`. Returns the request's number in the history.
    pub(crate) fn ask(&mut self, client: usize, node: NodeId, key: &str, kind: Kind) -> usize {
        let op = self.users.history.ops.len();
        let runs = self.nodes[node].peer.is_some();
        self.users.history.ops.push(Op {
            client,
            node: self.nodes[node].name.to_string(),
            key: key.to_owned(),
            kind: kind.clone(),
            outcome: if runs { Outcome::Unknown } else { Outcome::Failed },
            invoked: self.clock,
            completed: (!runs).then_some(self.clock),
        });
        self.users.answers.push(None);
        if !runs {
            return op;
        }
        let key: Key = key.parse().expect("a key");
        let request = match kind {
            Kind::Put(value) => Request::Write(Operation::Put { key, value: json(&value) }),
            Kind::Delete => Request::Write(Operation::Delete { key }),
            Kind::Get => Request::Read(key),
        };
        self.users.asked += 1;
        let id = self.users.asked;
        self.users.open.insert(id, (node, op));
        self.keeper.counts.asked += 1;
        self.tell(node, 0, Arrival::Store(dht::Input::Asked { id, request }));
        op
    }

    /// Puts a value that nobody else puts, through `node`.
    pub(crate) fn put(&mut self, client: usize, node: NodeId, key: &str) -> usize {
        let value = format!("v{}", self.users.history.ops.len());
        self.ask(client, node, key, Kind::Put(value))
    }

    /// A client wants something of the key with that number, through a node or, if that does not run, another.
    pub(crate) fn wish(&mut self, client: usize, node: NodeId, number: usize, wish: Wish) {
        let running = self.running();
        let Some(next) = running.iter().find(|id| **id >= node).or(running.first()) else { return };
        let (node, key) = (*next, format!("key {number}"));
        match wish {
            Wish::Put => self.put(client, node, &key),
            Wish::Get => self.ask(client, node, &key, Kind::Get),
            Wish::Delete => self.ask(client, node, &key, Kind::Delete),
        };
    }

    /// Asks and waits for the answer.
    pub(crate) fn ask_and_wait(&mut self, node: NodeId, key: &str, kind: Kind) -> Answer {
        let op = self.ask(0, node, key, kind);
        let limit = self.now() + 10_000;
        while self.users.answers[op].is_none() {
            assert!(self.now() < limit, "no answer: {}", self.users.history.ops[op]);
            self.run_for(1);
        }
        self.users.answers[op].clone().expect("there is one")
    }

    /// Runs until nobody waits for an answer any more.
    pub(crate) fn finish_requests(&mut self) {
        let limit = self.now() + 10_000;
        while self.users.waiting() > 0 {
            let first = self.users.open.values().next().map(|(_, op)| self.users.history.ops[*op].to_string());
            assert!(self.now() < limit, "no answer: {first:?}");
            self.run_for(10);
        }
    }

    pub(crate) fn answered(&mut self, id: NodeId, request: RequestId, answer: Answer) {
        let Some((node, op)) = self.users.open.remove(&request) else {
            panic!("node {id} answers request {request} that nobody waits for, or twice: {answer:?}");
        };
        assert_eq!(node, id, "whoever was asked answers");
        let counts = &mut self.keeper.counts;
        let outcome = match &answer {
            Answer::Stored { .. } | Answer::Deleted { .. } => {
                counts.acknowledged += 1;
                Outcome::Acknowledged
            }
            Answer::Found { value, siblings } => {
                counts.found += 1;
                counts.siblings_shown += u64::from(!siblings.is_empty());
                assert!(
                    siblings.is_empty() || siblings.first() == Some(value),
                    "the value is the first of the siblings"
                );
                let shown = if siblings.is_empty() { std::slice::from_ref(value) } else { siblings };
                Outcome::Seen(shown.iter().map(text).collect())
            }
            Answer::Missing => {
                counts.missing += 1;
                Outcome::Missing
            }
            Answer::TooFew { .. } => {
                counts.too_few += 1;
                Outcome::Unknown
            }
            Answer::Refused { .. } => {
                counts.refused += 1;
                Outcome::Unknown
            }
        };
        let record = &mut self.users.history.ops[op];
        (record.outcome, record.completed) = (outcome, Some(self.clock));
        self.users.answers[op] = Some(answer.clone());
        self.story(|| format!("ANSWER {}", self.users.history.ops[op]));
        let record = self.users.history.ops[op].clone();
        let deadline = self.store_config.as_ref().map_or(0, |config| config.deadline.0 * 1_000);
        let since = record.invoked.max(self.keeper.well_since(id));
        assert!(self.clock <= since + deadline + SLACK_US, "answered after its deadline: {record}");
        self.acknowledged(op, &record, &answer);
    }

    /// Nobody answers what a dead node was asked.
    pub(crate) fn abandon(&mut self, id: NodeId) {
        let clock = self.clock;
        let Self { users, keeper, .. } = self;
        users.open.retain(|_, (node, op)| {
            if *node == id {
                keeper.counts.abandoned += 1;
                users.history.ops[*op].completed = Some(clock);
            }
            *node != id
        });
    }

    /// Every request is answered by its deadline, but for those at nodes that were stopped.
    pub(crate) fn check_deadlines(&self) {
        let Some(config) = &self.store_config else { return };
        let well_since = |id: NodeId| {
            if self.nodes[id].pauses > 0 { u64::MAX } else { self.keeper.well_since(id) }
        };
        if let Some(op) = self.users.overdue(self.clock, config.deadline.0 * 1_000, well_since) {
            panic!("not answered by its deadline: {op}");
        }
    }
}

/// A text as the store keeps it.
pub(crate) fn json(text: &str) -> Value {
    Value::new(&serde_json::Value::from(text)).expect("a short value")
}

/// The text of a value that [`json`] made.
pub(crate) fn text(value: &Value) -> String {
    value.as_json().trim_matches('"').to_owned()
}
