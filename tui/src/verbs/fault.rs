//! `cut`, `loss`, `delay`, `heal`, and what is wrong now: one request to each node concerned, through the gateway.
//!
//! A fault is a value; every node concerned gets the same one and works out its own part. Who took it and who could not
//! be reached is always said. A paused or dead node cannot be told: a cut holds without it, because its peers keep to it
//! too, and what it would lose or delay by itself it does once it is told again.

use futures_util::{StreamExt, stream};
use p2pnet_shared::{
    NodeName,
    api::FaultsReply,
    client::{Client, ClientError},
    fault::{Cut, Delay, Fault, Loss, NodeSet},
};

use super::{Outcome, list, members, said};
use crate::{
    cluster::{Cluster, Unit, UnitState},
    failure::Failure,
    observe::unix_now,
    select::Selector,
    verb::FaultOrder,
};

/// Requests on their way at once.
const AT_ONCE: usize = 64;

/// What a node is told.
#[derive(Debug, Clone)]
enum Word {
    Obey(Fault),
    /// Those who are healed obey nothing any more, the others spare them.
    Heal(NodeSet),
    Say,
}

impl Word {
    async fn to(self, client: Client, node: NodeName) -> (NodeName, Result<FaultsReply, ClientError>) {
        let answer = match self {
            Word::Obey(fault) => client.set_fault(&fault).await,
            Word::Heal(healed) if healed.contains(&node) => client.heal(None).await,
            Word::Heal(healed) => client.heal(Some(&healed)).await,
            Word::Say => client.faults().await,
        };
        (node, answer)
    }
}

/// What came of telling some nodes something.
#[derive(Debug, Default)]
struct Told {
    /// Who answered, in the order people count.
    replies: Vec<FaultsReply>,
    /// Who is up and did not take it, and why.
    failed: Vec<(NodeName, String)>,
    /// Who cannot be told now, and in which state that is.
    away: Vec<(NodeName, &'static str)>,
}

/// `cut`, `loss`, `delay`.
pub(super) async fn set(cluster: &Cluster, order: FaultOrder) -> Result<Outcome, Failure> {
    let units = members(cluster).await?;
    let fault = fault(&order, &units)?;
    let concerned: Vec<&Unit> = units.iter().filter(|unit| fault.concerns(&unit.name)).collect();
    let told = tell(cluster, &concerned, &Word::Obey(fault.clone())).await?;
    let nodes = count(told.replies.len());
    if !told.failed.is_empty() {
        let undo = "`heal` undoes it on those that obey";
        return Err(failed(&format!("obey `{fault}`"), &told, undo));
    }
    if told.replies.is_empty() {
        return Err(Failure::new(format!("nobody is up to obey `{fault}`")).hint("`p2pnet status` shows who is"));
    }
    let verb = if told.replies.len() == 1 { "obeys" } else { "obey" };
    Ok(Outcome { lines: std::iter::once(format!("{fault}: {nodes} {verb} it")).chain(away(&told)).collect() })
}

/// `heal`, `heal 7`.
pub(super) async fn heal(cluster: &Cluster, who: Option<&Selector>) -> Result<Outcome, Failure> {
    let units = members(cluster).await?;
    let chosen = match who {
        Some(who) => who.resolve(&units)?,
        None => units.iter().map(|unit| unit.name.clone()).collect(),
    };
    let is_frozen = |unit: &&Unit| unit.state == UnitState::Paused && chosen.contains(&unit.name);
    let frozen: Vec<NodeName> = units.iter().filter(is_frozen).map(|unit| unit.name.clone()).collect();
    let mut lines = Vec::new();
    if !frozen.is_empty() {
        cluster.resume_nodes(&frozen).await?;
        lines.extend(said("resumed", &frozen).lines);
    }
    let units = members(cluster).await?;
    let healed: NodeSet = chosen.iter().collect();
    let everybody: Vec<&Unit> = units.iter().collect();
    let told = tell(cluster, &everybody, &Word::Heal(healed.clone())).await?;
    if !told.failed.is_empty() {
        return Err(failed("take the healing", &told, "say `heal` again"));
    }
    let well = told.replies.iter().filter(|reply| healed.contains(&reply.node)).count();
    let verb = if well == 1 { "has" } else { "have" };
    lines.push(format!("healed: {} {verb} no fault any more", count(well)));
    // Whoever is dead forgets its faults by itself.
    lines.extend(away(&Told { away: told.away.into_iter().filter(|(_, why)| *why == "paused").collect(), ..told }));
    Ok(Outcome { lines })
}

/// `fault` alone: what every node says it obeys, and who is paused.
pub(super) async fn faults(cluster: &Cluster) -> Result<Outcome, Failure> {
    let units = members(cluster).await?;
    let everybody: Vec<&Unit> = units.iter().collect();
    let told = tell(cluster, &everybody, &Word::Say).await?;
    let now = unix_now();
    let mut known: Vec<(String, p2pnet_shared::UnixMillis, Vec<NodeName>)> = Vec::new();
    for reply in &told.replies {
        for row in &reply.faults {
            match known.iter_mut().find(|(text, ..)| *text == row.text) {
                Some((_, since, nodes)) => {
                    *since = row.since.min(*since);
                    nodes.push(reply.node.clone());
                }
                None => known.push((row.text.clone(), row.since, vec![reply.node.clone()])),
            }
        }
    }
    let mut lines: Vec<String> = Vec::new();
    for (text, since, nodes) in &known {
        lines.push(format!("{text}   {} for {} s", count(nodes.len()), now.since(*since) / 1_000));
    }
    let frozen: Vec<&NodeName> = told.away.iter().filter(|(_, why)| *why == "paused").map(|(name, _)| name).collect();
    if !frozen.is_empty() {
        lines.push(format!("pause {}   {}", NodeSet::from_iter(frozen.iter().copied()), count(frozen.len())));
    }
    if lines.is_empty() {
        lines.push("no faults".to_owned());
    }
    if !told.failed.is_empty() {
        lines.push(format!("not known of {}", list(told.failed.iter().map(|(name, why)| format!("{name} ({why})")))));
    }
    Ok(Outcome { lines })
}

/// What was asked for, for the nodes there are.
fn fault(order: &FaultOrder, units: &[Unit]) -> Result<Fault, Failure> {
    let set = |who: &Selector| Ok::<NodeSet, Failure>(who.resolve(units)?.iter().collect());
    let some = |who: &Option<Selector>| who.as_ref().map(set).transpose();
    Ok(match order {
        FaultOrder::Cut { from, to, one_way } => {
            let from = set(from)?;
            if to.is_none() && units.iter().all(|unit| from.contains(&unit.name)) {
                let hint = "name fewer nodes, or two sides: `cut 1-50 | 51-100`";
                return Err(Failure::new("nobody is left to be cut off from").hint(hint));
            }
            let cut = Cut::new(from, some(to)?, *one_way);
            Fault::Cut(cut.map_err(|error| Failure::new(error.to_string()).hint("for example `cut 1-50 | 51-100`"))?)
        }
        FaultOrder::Loss { percent, nodes } => Fault::Loss(Loss { percent: *percent, nodes: some(nodes)? }),
        FaultOrder::Delay { ms, jitter, nodes } => {
            Fault::Delay(Delay { ms: *ms, jitter_ms: *jitter, nodes: some(nodes)? })
        }
    })
}

async fn tell(cluster: &Cluster, units: &[&Unit], word: &Word) -> Result<Told, Failure> {
    let gateway = cluster.gateway().await?;
    let url = format!("http://{}", gateway.addr);
    let client = Client::through(&url, &gateway.token, &NodeName::bootstrap())
        .map_err(|error| Failure::new(error.to_string()).hint("try again"))?;
    let mut told = Told::default();
    let mut up = Vec::new();
    for unit in units {
        match unit.state {
            UnitState::Up => up.push(&unit.name),
            UnitState::Created => told.away.push((unit.name.clone(), "not started yet")),
            UnitState::Paused => told.away.push((unit.name.clone(), "paused")),
            UnitState::Dead => told.away.push((unit.name.clone(), "dead")),
            UnitState::Left => told.away.push((unit.name.clone(), "gone")),
        }
    }
    let asked: Vec<_> = up.into_iter().map(|name| word.clone().to(client.beside(&url, name), name.clone())).collect();
    // In order, so that what is printed is; a slow one holds up the others' words, not their requests.
    let answers: Vec<_> = stream::iter(asked).buffered(AT_ONCE).collect().await;
    for (name, answer) in answers {
        match answer {
            Ok(answer) => told.replies.push(answer),
            Err(error) => told.failed.push((name, error.to_string())),
        }
    }
    Ok(told)
}

fn failed(what: &str, told: &Told, hint: &str) -> Failure {
    let all = told.replies.len() + told.failed.len();
    let names = list(told.failed.iter().map(|(name, why)| format!("{name} ({why})")));
    let error = format!("{} of {all} nodes did not {what}: {names}", told.failed.len());
    Failure::new(error).hint(format!("the other {} did; {hint}", told.replies.len()))
}

fn away(told: &Told) -> Option<String> {
    let names = list(told.away.iter().map(|(name, why)| format!("{name} ({why})")));
    (!told.away.is_empty()).then(|| format!("not told: {names}"))
}

fn count(nodes: usize) -> String {
    if nodes == 1 { "1 node".to_owned() } else { format!("{nodes} nodes") }
}

/// Whom an order is about, for a dashboard that checks before it asks.
///
/// # Errors
/// It names a node that is not there.
pub fn check(order: &FaultOrder, units: &[Unit]) -> Result<(), Failure> {
    fault(order, units).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Role;

    fn units(count: u32) -> Vec<Unit> {
        let unit = |name, role| Unit { name, role, state: UnitState::Up, address: None, since: None };
        let peers = (1..=count).map(|number| unit(NodeName::numbered(number), Role::Node));
        std::iter::once(unit(NodeName::bootstrap(), Role::Bootstrap)).chain(peers).collect()
    }

    fn made(line: &str) -> Result<String, Failure> {
        match crate::fault::read(&[line], false)? {
            crate::verb::Verb::Fault(order) => fault(&order, &units(10)).map(|fault| fault.to_string()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn selectors_become_sets_of_the_nodes_there_are() {
        assert_eq!(made("cut 1-5 | 6-10 bootstrap").unwrap(), "cut 1-5 | bootstrap 6-10");
        assert_eq!(made("cut 7 oneway").unwrap(), "cut 7 oneway");
        assert_eq!(made("loss 30% *").unwrap(), "loss 30% bootstrap 1-10");
        assert_eq!(made("delay 100ms±30ms 3").unwrap(), "delay 100±30ms 3");
    }

    #[test]
    fn a_cut_that_cuts_nobody_is_refused() {
        for (line, says) in [
            ("cut *", "nobody is left to be cut off from"),
            ("cut 1-5 | 5-9", "share `5`"),
            ("cut 11", "there is no `node11`"),
        ] {
            let failure = made(line).unwrap_err();
            assert!(failure.error.contains(says) && failure.hint.is_some(), "{line}: {failure}");
        }
    }
}
