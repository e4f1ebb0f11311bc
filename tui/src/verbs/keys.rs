//! `put`, `get`, `delete`, `owner`: one request to any node that is up, which finds those the key belongs to.
//!
//! Which node is asked does not matter to what comes of it, so without `--via` it is drawn, and a question (not a write)
//! that node could not be asked at all goes to another one. What a shell reads on stdout is the value, or the nodes; what a
//! person would want to know besides is a remark and goes to stderr, or below it at the prompt.

use p2pnet_shared::{
    Key, NodeName,
    api::{DeleteReply, GetReply, OwnerReply, PutReply},
    client::{Client, ClientError},
    wire::dht::Value,
};

use super::{Outcome, list, members, one_line, reach, refused};
use crate::{
    cluster::{Cluster, UnitState},
    failure::Failure,
    verb::{KeyAct, KeyOrder},
};

/// Nodes a question is put to, one after the other, before it is given up.
const TRIES: usize = 3;

/// What came of an order.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Stored.
    Put(PutReply),
    /// The value.
    Value(GetReply),
    /// Deleted.
    Deleted(DeleteReply),
    /// Whose it is.
    Owner(OwnerReply),
}

/// Reads what was typed as a value: a number, `true`, `null`, an object, an array or a string in double quotes if it is one
/// of those as JSON has them, otherwise the text itself. `as_text`: the text itself, whatever it looks like. A whole number
/// that JSON's numbers cannot hold exactly stays text: nobody wants another number back.
///
/// # Errors
/// When it is longer than a value may be.
pub fn read_value(typed: &str, as_text: bool) -> Result<serde_json::Value, Failure> {
    let parsed = if as_text { None } else { serde_json::from_str::<serde_json::Value>(typed).ok() };
    let is_exact = |value: &serde_json::Value| {
        let is_whole = typed.trim().trim_start_matches('-').bytes().all(|byte| byte.is_ascii_digit());
        !value.is_number() || !is_whole || value.is_i64() || value.is_u64()
    };
    let value = parsed.filter(is_exact).unwrap_or_else(|| serde_json::Value::String(typed.to_owned()));
    match Value::new(&value) {
        Ok(_) => Ok(value),
        Err(error) => Err(Failure::new(error.to_string()).hint("store it in parts, under several keys")),
    }
}

/// Carries an order out and says what came of it.
///
/// # Errors
/// As [`super::run`]; a key without a value is one.
pub async fn answer(cluster: &Cluster, order: &KeyOrder) -> Result<Answer, Failure> {
    let mut vias = match &order.via {
        Some(via) => vec![via.clone()],
        None => drawn(cluster).await?,
    };
    // Whether a write that got no answer was carried out is not known: only who gave it may give it again.
    let is_question = matches!(order.act, KeyAct::Get | KeyAct::Owner);
    vias.truncate(if is_question { TRIES } else { 1 });
    let mut failed = None;
    for via in vias {
        let node = reach(cluster, &via).await?;
        match ask(&node, order).await {
            Ok(answer) => return Ok(answer),
            Err(error) => {
                let unheard = matches!(error, ClientError::Unreachable { .. } | ClientError::Deadline { .. })
                    || matches!(error, ClientError::Refused { status: 502, .. });
                let failure = explain(order, &via, &error);
                if !unheard {
                    return Err(failure);
                }
                failed.get_or_insert(failure);
            }
        }
    }
    Err(failed.unwrap_or_else(|| Failure::new("no node is up").hint("`p2pnet restart-node 1` brings one back")))
}

/// The nodes that are up, in an order of chance.
pub(super) async fn drawn(cluster: &Cluster) -> Result<Vec<NodeName>, Failure> {
    let mut up: Vec<NodeName> =
        members(cluster).await?.into_iter().filter(|unit| unit.state == UnitState::Up).map(|unit| unit.name).collect();
    for at in 1..up.len() {
        up.swap(at, rand::random_range(0..=at));
    }
    Ok(up)
}

async fn ask(node: &Client, order: &KeyOrder) -> Result<Answer, ClientError> {
    let key = order.key.as_str();
    match &order.act {
        KeyAct::Put(value) => node.put(key, value.clone()).await.map(Answer::Put),
        KeyAct::Get => node.value(key).await.map(Answer::Value),
        KeyAct::Delete => node.delete(key).await.map(Answer::Deleted),
        KeyAct::Owner => node.owner(key).await.map(Answer::Owner),
    }
}

fn explain(order: &KeyOrder, via: &NodeName, error: &ClientError) -> Failure {
    let KeyOrder { key, act, .. } = order;
    let status = if let ClientError::Refused { status, .. } = error { *status } else { 0 };
    let is_write = matches!(act, KeyAct::Put(_) | KeyAct::Delete);
    match status {
        404 if *act == KeyAct::Owner => refused(via, error),
        404 => Failure::new(format!("there is no key `{}`", one_line(key.as_str())))
            .hint(format!("`p2pnet put {} VALUE` stores one", quoted(key))),
        503 if is_write => refused(via, error).hint(
            "some nodes may have it all the same; `p2pnet status` shows who is up, and the same again is harmless",
        ),
        503 => refused(via, error).hint("`p2pnet status` shows which nodes are up and which keys are out of reach"),
        507 => refused(via, error).hint("make room on the disks, or delete keys; `p2pnet status` names the nodes"),
        0 | 502 if is_write => {
            refused(via, error).hint(format!("it may have been done all the same: `p2pnet get {}` tells", quoted(key)))
        }
        _ => refused(via, error),
    }
}

/// A key as a shell would need it.
fn quoted(key: &Key) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:".contains(c);
    let key = one_line(key.as_str());
    if key.chars().all(plain) { key } else { format!("'{}'", key.replace('\'', r"'\''")) }
}

impl Answer {
    /// What was asked for.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        match self {
            Answer::Put(reply) => vec![format!("stored, {} copies on disk", reply.acks)],
            Answer::Value(reply) => vec![shown(&reply.value)],
            Answer::Deleted(reply) if reply.acks > 0 => vec![format!("deleted, {} copies know", reply.acks)],
            Answer::Deleted(_) => vec!["deleted".to_owned()],
            Answer::Owner(reply) => vec![reply.replicas.iter().map(NodeName::as_str).collect::<Vec<_>>().join(" ")],
        }
    }

    /// What there is to know besides.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        match self {
            Answer::Put(reply) => vec![holders(&reply.owner, &reply.replicas)],
            Answer::Value(reply) if reply.siblings.len() > 1 => {
                let mut lines = vec![format!(
                    "{} values were written at once and none replaced another; the next put replaces them all:",
                    reply.siblings.len()
                )];
                lines.extend(reply.siblings.iter().map(|value| format!("  {}", one_line(&shown(value)))));
                lines
            }
            Answer::Value(_) | Answer::Deleted(_) => Vec::new(),
            Answer::Owner(reply) => {
                vec![format!("{}; SHA-1 {}", holders(&reply.owner, &reply.replicas), one_line(&reply.hash))]
            }
        }
    }

    /// All of it, as the node said it.
    #[must_use]
    pub fn document(&self) -> serde_json::Value {
        let document = match self {
            Answer::Put(reply) => serde_json::to_value(reply),
            Answer::Value(reply) => serde_json::to_value(reply),
            Answer::Deleted(reply) => serde_json::to_value(reply),
            Answer::Owner(reply) => serde_json::to_value(reply),
        };
        document.unwrap_or_default()
    }
}

impl From<Answer> for Outcome {
    /// As the prompt shows it: nothing that would move a cursor, and no line twice.
    fn from(answer: Answer) -> Self {
        let lines = match &answer {
            Answer::Owner(_) => answer.remarks(),
            Answer::Put(_) => vec![format!("{}; {}", answer.lines().join(", "), answer.remarks().join(", "))],
            Answer::Value(_) | Answer::Deleted(_) => answer.lines().into_iter().chain(answer.remarks()).collect(),
        };
        Self { lines: lines.iter().map(|line| one_line(line)).collect() }
    }
}

fn holders(owner: &NodeName, replicas: &[NodeName]) -> String {
    let others: Vec<String> = replicas.iter().filter(|name| *name != owner).map(NodeName::to_string).collect();
    if others.is_empty() {
        return format!("{owner} owns it and has the only copy");
    }
    format!("{owner} owns it, {} hold it too", list(others.into_iter()))
}

/// A string as it is, anything else as JSON.
fn shown(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_json_if_it_is_and_text_otherwise() {
        let table = [
            ("5", json!(5)),
            ("-5.5", json!(-5.5)),
            ("18446744073709551615", json!(u64::MAX)),
            ("123456789012345678901234567890", json!("123456789012345678901234567890")),
            ("1e999", json!("1e999")),
            ("007", json!("007")),
            ("true", json!(true)),
            ("null", json!(null)),
            ("{\"a\": [1, 2]}", json!({"a": [1, 2]})),
            ("[1", json!("[1")),
            ("\"5\"", json!("5")),
            ("apple pie", json!("apple pie")),
            ("", json!("")),
        ];
        for (typed, value) in table {
            assert_eq!(read_value(typed, false), Ok(value), "{typed}");
            assert_eq!(read_value(typed, true), Ok(json!(typed)), "{typed}");
        }
        assert_eq!(read_value(&"x".repeat(65_536), false).map(|_| ()), Ok(()));
        let failure = read_value(&"x".repeat(65_537), false).unwrap_err();
        assert_eq!(failure.error, "the value is 65537 bytes long, more than the limit of 65536");
    }

    fn order(act: KeyAct) -> KeyOrder {
        KeyOrder { key: "a b".parse().unwrap(), via: None, act }
    }

    #[test]
    fn every_refusal_says_what_to_do() {
        let node = NodeName::numbered(7);
        let refusal = |status| ClientError::Refused { status, error: "1 of 2 copies".into() };
        let put = || order(KeyAct::Put(json!(1)));
        let missing = explain(&order(KeyAct::Get), &node, &refusal(404));
        assert_eq!(missing.to_string(), "error: there is no key `a b`\nhint: `p2pnet put 'a b' VALUE` stores one");
        for order in [put(), order(KeyAct::Get), order(KeyAct::Delete)] {
            for status in [503, 507] {
                let failure = explain(&order, &node, &refusal(status));
                assert_eq!(failure.error, format!("node `node7`: 1 of 2 copies (status {status})"));
                assert!(failure.hint.is_some(), "{order:?} {status}");
            }
        }
        let unheard = ClientError::Unreachable { url: "http://x".into(), cause: "refused".into() };
        assert!(explain(&put(), &node, &unheard).hint.unwrap().contains("`p2pnet get 'a b'` tells"));
    }

    #[test]
    fn answers_have_data_and_remarks() {
        let (owner, replicas) = (NodeName::numbered(7), [7, 3, 9].map(NodeName::numbered).to_vec());
        let (key, hash) = ("k".to_owned(), "d0be".to_owned());
        let reply = OwnerReply { key: key.clone(), hash, owner: owner.clone(), replicas: replicas.clone() };
        let answer = Answer::Owner(reply);
        assert_eq!(answer.lines(), ["node7 node3 node9"]);
        assert_eq!(Outcome::from(answer).lines, ["node7 owns it, node3, node9 hold it too; SHA-1 d0be"]);
        let siblings = vec![json!("a\u{1b}[2J"), json!({"b": 1})];
        let reply = GetReply { key: key.clone(), value: siblings[0].clone(), owner: owner.clone(), siblings };
        let answer = Answer::Value(reply);
        assert_eq!((answer.lines(), answer.remarks().len()), (vec!["a\u{1b}[2J".to_owned()], 3), "raw for a shell");
        assert_eq!(Outcome::from(answer).lines[0], "a [2J", "and harmless on the screen");
        let reply = PutReply { status: "stored".into(), key, value: json!(1), owner, replicas, acks: 2 };
        let put = Answer::Put(reply);
        assert_eq!(put.document()["acks"], 2);
        assert_eq!(Outcome::from(put).lines, ["stored, 2 copies on disk; node7 owns it, node3, node9 hold it too"]);
    }
}
