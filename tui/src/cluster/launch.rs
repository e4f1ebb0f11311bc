//! Starting, completing, growing and removing a network, written once for every engine.
//!
//! ```text
//! list ─▶ what is missing ─▶ preflight ─▶ folders ─▶ prepare ─▶ create all ─▶ bootstrap, gateway ─▶ nodes
//!                            (changes nothing)                  8 in flight                         8 in flight
//! ```
//! Every step keeps what is there and makes what is not, so a start that was interrupted anywhere, also by `kill -9`, is
//! completed by starting again, and removed by [`remove_all`]. Creating is apart from starting because only starting
//! takes the engine's lock on the network.

use std::{future::Future, path::Path, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use p2pnet_shared::NodeName;

use super::{
    Progress, Reporter, Role, Settings, UnitState,
    engine::{Action, Draft, Engine, Held, Plan},
    folders,
    limits::MOST_NODES,
    vnodes_for,
};
use crate::failure::Failure;

/// Requests in flight. Measured for create and start of 101 containers on two cores: 23.1 s with one, 13.0 s with four,
/// 12.5 s with eight; more only makes the machine sluggish, because engines set up one network endpoint at a time.
const IN_FLIGHT: usize = 8;

/// How often a removal that was refused is tried again, and the pause before it.
const REMOVAL_TRIES: u32 = 4;
const REMOVAL_PAUSE: Duration = Duration::from_millis(300);

/// Which engine a unit goes to: each takes the next number in turn, the first also the bootstrap and the gateway.
fn placed<'a>(engines: &'a [Arc<dyn Engine>], draft: &Draft) -> &'a Arc<dyn Engine> {
    let number = draft.name.number().unwrap_or(0) as usize;
    &engines[number % engines.len()]
}

/// A step whose pieces are counted as they get done.
struct Tally<'a> {
    reporter: &'a Reporter,
    progress: Progress,
}

impl<'a> Tally<'a> {
    fn begin(reporter: &'a Reporter, step: &'static str, total: usize) -> Self {
        let total = u32::try_from(total).unwrap_or(u32::MAX);
        let tally = Self { reporter, progress: Progress { step, done: 0, total } };
        tally.report();
        tally
    }

    fn one_more(&mut self) {
        self.progress.done += 1;
        self.report();
    }

    /// Progress is news, not work: when nobody reads, or reads too slowly, it is dropped.
    fn report(&self) {
        let _ = self.reporter.try_send(self.progress.clone());
    }
}

/// Does `work` to every item, [`IN_FLIGHT`] at a time, to the end also when some fail; returns who failed.
async fn each<T, F>(items: Vec<T>, mut tally: Option<Tally<'_>>, work: impl FnMut(T) -> F) -> Vec<(NodeName, Failure)>
where
    F: Future<Output = Result<(), (NodeName, Failure)>>,
{
    let mut failed = Vec::new();
    let mut done = stream::iter(items).map(work).buffer_unordered(IN_FLIGHT);
    while let Some(result) = done.next().await {
        match result {
            Ok(()) => {
                if let Some(tally) = &mut tally {
                    tally.one_more();
                }
            }
            Err(failure) => failed.push(failure),
        }
    }
    failed
}

/// One failure that tells of all: whoever asked for fifty must learn which three did not happen.
fn sum_up(verb: &str, mut failed: Vec<(NodeName, Failure)>) -> Result<(), Failure> {
    failed.sort_by(|(a, _), (b, _)| a.display_order().cmp(&b.display_order()));
    let names: Vec<_> = failed.iter().map(|(name, _)| name.to_string()).collect();
    match failed.into_iter().next() {
        None => Ok(()),
        Some((name, first)) if names.len() == 1 => {
            Err(Failure { error: format!("could not {verb} `{name}`: {}", first.error), hint: first.hint })
        }
        Some((name, first)) => {
            let more = if names.len() > 12 { ", …" } else { "" };
            let shown = names.iter().take(12).map(String::as_str).collect::<Vec<_>>().join(", ");
            let error = format!("could not {verb} {} units ({shown}{more}); `{name}`: {}", names.len(), first.error);
            Err(Failure { error, hint: first.hint })
        }
    }
}

/// Everything there is of the network on all engines, in the order people count.
pub(crate) async fn list(engines: &[Arc<dyn Engine>], plan: &Plan) -> Result<Vec<Held>, Failure> {
    let mut held = Vec::new();
    for engine in engines {
        held.extend(engine.list(plan).await?);
    }
    held.sort_by(|a, b| {
        (a.unit.role == Role::Gateway, a.unit.name.display_order())
            .cmp(&(b.unit.role == Role::Gateway, b.unit.name.display_order()))
    });
    Ok(held)
}

/// Which engine holds `held`: the one it would have been placed on.
fn holder<'a>(engines: &'a [Arc<dyn Engine>], held: &Held) -> &'a Arc<dyn Engine> {
    placed(engines, &Draft { name: held.unit.name.clone(), role: held.unit.role })
}

/// Whether a network of this size can exist at all. Says no before anything is made.
pub(crate) fn check_size(settings: &Settings, nodes: u32) -> Result<(), Failure> {
    if nodes == 0 {
        return Err(Failure::new("a network needs at least one node beside the bootstrap, and 0 were asked for")
            .hint("choose a number with `--nodes N`, for example `--nodes 10`"));
    }
    if nodes > MOST_NODES {
        return Err(Failure::new(format!("{nodes} nodes are more than one machine's network can carry"))
            .hint(format!("a Linux bridge holds 1,023 ports; start up to {MOST_NODES} with `--nodes {MOST_NODES}`")));
    }
    if settings.base_port == 0 || u32::from(settings.base_port) + nodes > u32::from(u16::MAX) {
        let error = format!("ports {0} to {0}+{nodes} are not all between 1 and 65535", settings.base_port);
        return Err(Failure::new(error).hint("choose a lower first port with `--base-port 5000`"));
    }
    Ok(())
}

/// Makes a network, or makes an existing one whole.
pub(crate) async fn start(
    engines: &[Arc<dyn Engine>],
    settings: Settings,
    nodes: u32,
    binary: &Path,
    reporter: &Reporter,
) -> Result<Plan, Failure> {
    let mut found = None;
    for engine in engines {
        found = found.or(engine.find(&settings.network).await?);
    }
    let found = found.filter(|found| !found.is_empty);
    let mut plan = match found {
        Some(found) => same_settings(found.plan, &settings)?,
        None => {
            let settings = Settings { vnodes: settings.vnodes.or(Some(vnodes_for(nodes))), ..settings };
            Plan { settings, token: uuid::Uuid::new_v4().simple().to_string(), program: String::new() }
        }
    };
    let there = list(engines, &plan).await?;
    let wanted = [Draft::bootstrap(), Draft::gateway()].into_iter().chain((1..=nodes).map(Draft::node));
    let drafts: Vec<Draft> = wanted.filter(|draft| !there.iter().any(|held| held.unit.name == draft.name)).collect();

    make(engines, &mut plan, &drafts, binary, reporter).await?;
    run(engines, &plan, |_| true, reporter).await?;
    Ok(plan)
}

/// The plan of a network that exists, if it is what the caller wants.
fn same_settings(plan: Plan, wanted: &Settings) -> Result<Plan, Failure> {
    let has = &plan.settings;
    let differs = [
        (has.base_port != wanted.base_port).then(|| format!("base port {}", has.base_port)),
        (has.bind != wanted.bind).then(|| format!("bind address {}", has.bind)),
        (has.data != wanted.data).then(|| format!("data folder {}", has.data.display())),
        (has.secret != wanted.secret).then(|| "another secret".to_owned()),
        wanted.vnodes.is_some_and(|vnodes| vnodes != has.vnodes()).then(|| format!("{} vnodes", has.vnodes())),
        (wanted.egress.is_some() && has.egress != wanted.egress).then(|| match has.egress {
            Some(bytes) => format!("`--egress {bytes}`"),
            None => "no `--egress`".to_owned(),
        }),
        (has.push != wanted.push).then(|| format!("`--push {}`", has.push.as_str())),
    ];
    let differs: Vec<String> = differs.into_iter().flatten().collect();
    if differs.is_empty() {
        return Ok(plan);
    }
    Err(Failure::new(format!("network `{}` exists already, with {}", has.network, differs.join(", ")))
        .hint("stop it first with `p2pnet stop-network`, or choose another `--network NAME`"))
}

/// Checks and makes `drafts`, without starting them.
async fn make(
    engines: &[Arc<dyn Engine>],
    plan: &mut Plan,
    drafts: &[Draft],
    binary: &Path,
    reporter: &Reporter,
) -> Result<(), Failure> {
    if drafts.is_empty() {
        return Ok(());
    }
    let share = |engine: &Arc<dyn Engine>| -> Vec<Draft> {
        drafts.iter().filter(|draft| Arc::ptr_eq(placed(engines, draft), engine)).cloned().collect()
    };
    folders::check(&plan.settings)?;
    for engine in engines {
        engine.preflight(plan, &share(engine)).await?;
    }
    let is_new = !folders::network_dir(&plan.settings).exists();
    folders::make_network(&plan.settings)?;
    let mut tally = Tally::begin(reporter, "preparing", engines.len());
    // Numbers are given without gaps, so the highest is how many nodes there will be.
    let nodes = drafts.iter().filter_map(|draft| draft.name.number()).max().unwrap_or(0);
    for engine in engines {
        if let Err(failure) = prepare(engine.as_ref(), plan, nodes, binary).await {
            // Nothing runs yet: leave the place as it was found.
            if is_new {
                let _ = engine.release(plan).await;
                folders::remove(&plan.settings)?;
            }
            return Err(failure);
        }
        tally.one_more();
    }
    let tally = Tally::begin(reporter, "creating nodes", drafts.len());
    let plan = &*plan;
    let failed = each(drafts.to_vec(), Some(tally), |draft| async move {
        let made = match draft.role {
            Role::Gateway => Ok(()),
            Role::Bootstrap | Role::Node => folders::make_node(&plan.settings, &draft.name),
        };
        let made = match made {
            Ok(()) => placed(engines, &draft).create(plan, &draft).await,
            Err(failure) => Err(failure),
        };
        made.map_err(|failure| (draft.name, failure))
    })
    .await;
    sum_up("create", failed)
}

async fn prepare(engine: &dyn Engine, plan: &mut Plan, nodes: u32, binary: &Path) -> Result<(), Failure> {
    plan.program = engine.prepare(plan, binary).await?;
    engine.make_room(plan, u64::from(nodes)).await
}

/// Starts every unit that `chosen` picks and that does not run, and sees to it that they stay up.
async fn run(
    engines: &[Arc<dyn Engine>],
    plan: &Plan,
    chosen: impl Fn(&NodeName) -> bool,
    reporter: &Reporter,
) -> Result<(), Failure> {
    let there = list(engines, plan).await?;
    let down: Vec<Held> =
        there.into_iter().filter(|held| held.unit.state != UnitState::Up && chosen(&held.unit.name)).collect();
    let mut tally = Tally::begin(reporter, "starting nodes", down.len());
    let (first, rest): (Vec<Held>, Vec<Held>) = down.into_iter().partition(|held| held.unit.role != Role::Node);
    // Whom the others come to first, and who hears what they report: they are there before anybody knocks.
    for held in first {
        let started = bring_up(engines, plan, &held).await;
        sum_up("start", started.err().map(|failure| (held.unit.name, failure)).into_iter().collect())?;
        tally.one_more();
    }
    let failed = each(rest, Some(tally), |held| async move {
        bring_up(engines, plan, &held).await.map_err(|failure| (held.unit.name, failure))
    })
    .await;
    sum_up("start", failed)?;
    still_up(engines, plan, chosen).await
}

async fn bring_up(engines: &[Arc<dyn Engine>], plan: &Plan, held: &Held) -> Result<(), Failure> {
    let action = if held.unit.state == UnitState::Paused { Action::Resume } else { Action::Start };
    holder(engines, held).act(plan, held, action).await
}

/// A program that ends as soon as it starts is a failed start. A few dead ones are not: somebody may be killing nodes
/// already, and that is what this is for.
async fn still_up(engines: &[Arc<dyn Engine>], plan: &Plan, chosen: impl Fn(&NodeName) -> bool) -> Result<(), Failure> {
    let units: Vec<Held> = list(engines, plan).await?.into_iter().filter(|held| chosen(&held.unit.name)).collect();
    let ended: Vec<&Held> =
        units.iter().filter(|held| matches!(held.unit.state, UnitState::Dead | UnitState::Left)).collect();
    let Some(first) = ended.first().filter(|_| ended.len() * 2 > units.len()) else { return Ok(()) };
    let words = holder(engines, first).last_words(plan, first).await.unwrap_or_default();
    let said = if words.is_empty() { "it printed nothing".to_owned() } else { format!("it printed: {words}") };
    let error = format!(
        "{} of {} units ended right after their start; `{}`: {said}",
        ended.len(),
        units.len(),
        first.unit.name
    );
    Err(Failure::new(error).hint("remove them with `p2pnet stop-network`; `p2pnet doctor` shows what the host lacks"))
}

/// Makes and starts `count` more nodes, with the lowest numbers that are free.
pub(crate) async fn grow(
    engines: &[Arc<dyn Engine>],
    plan: &Plan,
    count: u32,
    reporter: &Reporter,
) -> Result<Vec<NodeName>, Failure> {
    let there = list(engines, plan).await?;
    let taken: std::collections::BTreeSet<u32> = there.iter().filter_map(|held| held.unit.name.number()).collect();
    let total = u32::try_from(taken.len()).unwrap_or(u32::MAX).saturating_add(count);
    if count == 0 {
        return Err(Failure::new("0 nodes were asked for").hint("give a number from 1, for example `add-nodes 5`"));
    }
    check_size(&plan.settings, total)?;
    let numbers: Vec<u32> = (1..).filter(|number| !taken.contains(number)).take(count as usize).collect();
    if let Some(highest) = numbers.last() {
        check_size(&plan.settings, *highest)?;
    }
    let drafts: Vec<Draft> = numbers.iter().copied().map(Draft::node).collect();
    let names: Vec<NodeName> = drafts.iter().map(|draft| draft.name.clone()).collect();
    let mut plan = plan.clone();
    let binary = plan.program.clone();
    make(engines, &mut plan, &drafts, Path::new(&binary), reporter).await?;
    run(engines, &plan, |name| names.contains(name), reporter).await?;
    Ok(names)
}

/// Does `action` to every named unit; to none of them if one is unknown.
pub(crate) async fn act(
    engines: &[Arc<dyn Engine>],
    plan: &Plan,
    names: &[NodeName],
    action: Action,
) -> Result<(), Failure> {
    let there = list(engines, plan).await?;
    let mut chosen = Vec::with_capacity(names.len());
    for name in names {
        let Some(held) = there.iter().find(|held| held.unit.name == *name) else {
            return Err(Failure::new(format!("there is no `{name}` in network `{}`", plan.settings.network))
                .hint("`p2pnet status` lists the nodes there are"));
        };
        chosen.push(held.clone());
    }
    let mut chosen_to_act = Vec::with_capacity(chosen.len());
    for held in chosen {
        if is_needed(&held, action)? {
            chosen_to_act.push(held);
        }
    }
    let failed = each(chosen_to_act, None, |held| async move {
        holder(engines, &held).act(plan, &held, action).await.map_err(|failure| (held.unit.name, failure))
    })
    .await;
    sum_up(action.verb(), failed)
}

/// Whether a unit is not yet as `action` would have it; a failure if it never can be.
fn is_needed(held: &Held, action: Action) -> Result<bool, Failure> {
    let state = held.unit.state;
    let runs = matches!(state, UnitState::Up | UnitState::Paused);
    match action {
        Action::End(_) => Ok(runs),
        Action::Pause | Action::Resume if !runs => {
            let error = format!("could not {} `{}`: it does not run", action.verb(), held.unit.name);
            Err(Failure::new(error).hint(format!("start it again with `p2pnet restart-node {}`", held.unit.name)))
        }
        Action::Pause => Ok(state == UnitState::Up),
        Action::Resume => Ok(state == UnitState::Paused),
        Action::Start => Ok(state != UnitState::Up),
        Action::Restart | Action::Remove => Ok(true),
    }
}

/// Removes units, then what they shared, then folders. Each part also when there is nothing of the one before.
pub(crate) async fn remove_all(
    engines: &[Arc<dyn Engine>],
    plan: &Plan,
    keep_data: bool,
    reporter: &Reporter,
) -> Result<(), Failure> {
    let mut failed = Vec::new();
    for attempt in 0..REMOVAL_TRIES {
        if attempt > 0 {
            tokio::time::sleep(REMOVAL_PAUSE * attempt).await;
        }
        let there = list(engines, plan).await?;
        if there.is_empty() {
            failed.clear();
            break;
        }
        let tally = Tally::begin(reporter, "removing nodes", there.len());
        failed = each(there, Some(tally), |held| async move {
            let removed = holder(engines, &held).act(plan, &held, Action::Remove).await;
            removed.map_err(|failure| (held.unit.name, failure))
        })
        .await;
    }
    sum_up("remove", failed)?;
    let mut tally = Tally::begin(reporter, "removing the network", engines.len());
    for engine in engines {
        engine.release(plan).await?;
        tally.one_more();
    }
    if keep_data { Ok(()) } else { folders::remove(&plan.settings) }
}
