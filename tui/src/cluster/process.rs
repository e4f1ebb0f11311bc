//! One local process a node: the same peers without a container engine.
//!
//! ```text
//! p2pnet ──spawn──▶ p2pnet gateway      127.0.0.1, a free port, recorded
//!    │              p2pnet node …       127.0.0.1, base port + number; own session; output to <data>/<network>/node7/log
//!    └──▶ <data>/<network>/network.json   settings, and each unit's pid with its start time     (record.rs)
//! ```
//! Processes outlive the p2pnet that started them, and any p2pnet finds them by the file. A pid alone is never trusted:
//! only with its start time is it ours to signal (`proc.rs`). A p2pnet that is killed between starting a process and noting
//! it down leaves an orphan; whoever starts or removes that unit next knows it by its command line and takes it over.
//!
//! The gateway is a process like the nodes. The design first had it inside p2pnet for this runtime; as a process it is
//! there for every p2pnet that attaches, and one code path sees both runtimes.
//!
//! **An honest guess.** Only a parent learns an exit code. Where we are not the parent, a node counts as having left if
//! it was asked to with TERM through p2pnet and ended without a KILL; in every other case it counts as dead.

#![allow(clippy::disallowed_methods, reason = "waits for processes to end, with a deadline")]

mod proc;
mod record;
mod spawn;

use std::{path::Path, time::Duration};

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};
use p2pnet_shared::NetworkName;
use rustix::process::{Signal as Unix, kill_process};

use super::{
    Role, Unit, UnitState,
    engine::{Action, Draft, Engine, Found, Happening, Held, Plan},
    folders, ports, watch,
};
use crate::{failure::Failure, verb::Signal};

use proc::Condition;
use record::{Ended, Entry, Record};

/// Between two looks at the processes: reading a hundred lines of `/proc` takes about a millisecond.
const LOOK_EVERY: Duration = Duration::from_millis(400);
/// How long a killed process may take to be gone.
const DEATH_DEADLINE: Duration = Duration::from_secs(5);
const DEATH_LOOK: Duration = Duration::from_millis(5);
/// How long a node that is restarted has to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);

/// Local processes. Holds nothing: all there is to know is in files and `/proc`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Process;

/// How a unit is, and since when as far as that was noted.
fn state(entry: &Entry) -> (UnitState, bool) {
    let Some(life) = &entry.life else { return (UnitState::Created, true) };
    match (entry.ended, life.condition()) {
        (Some(Ended::Left), _) => (UnitState::Left, true),
        (Some(Ended::Died), _) => (UnitState::Dead, true),
        (None, Condition::Running) => (UnitState::Up, true),
        (None, Condition::Stopped) => (UnitState::Paused, true),
        (None, Condition::Ended(code)) => {
            let left = code.map_or(entry.asked_to_leave, |code| code == 0);
            (if left { UnitState::Left } else { UnitState::Dead }, false)
        }
    }
}

/// Notes that a unit was seen to have ended.
fn note_end(entry: &mut Entry, state: UnitState) {
    entry.ended = Some(if state == UnitState::Left { Ended::Left } else { Ended::Died });
    entry.since = Some(watch::now());
}

fn held(record: &Record, draft: Draft, entry: &Entry, state: UnitState) -> Held {
    let address = match draft.role {
        Role::Gateway => Some(record.gateway),
        Role::Bootstrap | Role::Node => draft.address(&record.plan.settings),
    };
    let handle = entry.life.as_ref().map_or_else(String::new, |life| life.pid.to_string());
    let unit = Unit { name: draft.name, role: draft.role, state, address, since: entry.since };
    Held { unit, handle }
}

/// Every unit. Ends that nobody noted yet are noted on the way, so that all p2pnets agree on when and how.
fn look(plan: &Plan) -> Result<Vec<Held>, Failure> {
    let Some(record) = record::read(&folders::network_dir(&plan.settings))? else { return Ok(Vec::new()) };
    let mut units = Vec::with_capacity(record.units.len());
    for (name, entry) in &record.units {
        let (mut seen, noted) = state(entry);
        let mut entry = entry.clone();
        if !noted {
            let before = entry.life.clone();
            let now = record::update_unit(&plan.settings, name, |_, current| {
                // Somebody may have noted it meanwhile, or have started it again.
                if current.life == before && current.ended.is_none() {
                    note_end(current, seen);
                }
                Ok(current.clone())
            })?;
            seen = state(&now).0;
            entry = now;
        }
        units.push(held(&record, Draft { name: name.clone(), role: entry.role }, &entry, seen));
    }
    Ok(units)
}

/// Sends a signal to a unit's process, if it is still that process.
fn signal(entry: &Entry, signal: Unix) -> Result<(), Failure> {
    let Some(pid) = entry.life.as_ref().and_then(proc::Life::pid) else { return Ok(()) };
    match kill_process(pid, signal) {
        Err(error) if error != rustix::io::Errno::SRCH => {
            Err(Failure::new(format!("the system refused: {error}")).hint("was it started by another user?"))
        }
        _ => Ok(()),
    }
}

impl Process {
    fn start(plan: &Plan, held: &Held) -> Result<(), Failure> {
        let draft = Draft { name: held.unit.name.clone(), role: held.unit.role };
        record::update_unit(&plan.settings, &draft.name, |record, entry| {
            if matches!(state(entry).0, UnitState::Up | UnitState::Paused) {
                return Ok(());
            }
            let life = match spawn::orphan(record, &draft) {
                Some(orphan) => Some(orphan),
                None => Some(spawn::spawn(record, &draft)?),
            };
            *entry = Entry { life, since: Some(watch::now()), asked_to_leave: false, ended: None, role: draft.role };
            Ok(())
        })
    }

    async fn end(plan: &Plan, held: &Held, how: Signal) -> Result<(), Failure> {
        let name = &held.unit.name;
        let draft = Draft { name: name.clone(), role: held.unit.role };
        record::update_unit(&plan.settings, name, |record, entry| {
            if entry.life.is_none() {
                entry.life = spawn::orphan(record, &draft);
            }
            entry.asked_to_leave = how == Signal::Term;
            match how {
                Signal::Kill => signal(entry, Unix::KILL),
                Signal::Term => {
                    signal(entry, Unix::TERM)?;
                    // A frozen process would hear of it only when it goes on.
                    signal(entry, Unix::CONT)
                }
            }
        })?;
        if how == Signal::Kill { Self::wait_for_end(plan, held, DEATH_DEADLINE).await } else { Ok(()) }
    }

    async fn wait_for_end(plan: &Plan, held: &Held, deadline: Duration) -> Result<(), Failure> {
        let ended = async {
            loop {
                let units = look(plan)?;
                let unit = units.iter().find(|unit| unit.unit.name == held.unit.name);
                match unit.map(|unit| unit.unit.state) {
                    Some(UnitState::Up | UnitState::Paused) => tokio::time::sleep(DEATH_LOOK).await,
                    _ => return Ok(()),
                }
            }
        };
        let late = |_| Failure::new(format!("process {} did not end within {} s", held.handle, deadline.as_secs()));
        tokio::time::timeout(deadline, ended).await.map_err(late)?
    }

    async fn restart(plan: &Plan, held: &Held) -> Result<(), Failure> {
        if matches!(held.unit.state, UnitState::Up | UnitState::Paused) {
            Self::end(plan, held, Signal::Term).await?;
            if Self::wait_for_end(plan, held, GOODBYE).await.is_err() {
                Self::end(plan, held, Signal::Kill).await?;
            }
        }
        Self::start(plan, held)
    }

    /// Stops or continues a process, and waits until it is so: a signal is only a wish.
    async fn freeze(plan: &Plan, held: &Held, wish: Unix, wanted: UnitState) -> Result<(), Failure> {
        record::update_unit(&plan.settings, &held.unit.name, |_, entry| {
            entry.since = Some(watch::now());
            signal(entry, wish)
        })?;
        let done = async {
            loop {
                let units = look(plan)?;
                if units.iter().any(|unit| unit.unit.name == held.unit.name && unit.unit.state == wanted) {
                    return Ok(());
                }
                tokio::time::sleep(DEATH_LOOK).await;
            }
        };
        let late = |_| Failure::new(format!("process {} did not take the signal", held.handle));
        tokio::time::timeout(DEATH_DEADLINE, done).await.map_err(late)?
    }

    async fn remove(plan: &Plan, held: &Held) -> Result<(), Failure> {
        Self::end(plan, held, Signal::Kill).await?;
        record::update(&plan.settings, |record| {
            if let Some(record) = record {
                record.units.remove(&held.unit.name);
            }
            Ok(())
        })
    }
}

#[async_trait]
impl Engine for Process {
    fn kind(&self) -> &'static str {
        "process"
    }

    fn describe(&self) -> String {
        "local processes".to_owned()
    }

    async fn find(&self, network: &NetworkName) -> Result<Option<Found>, Failure> {
        Ok(record::find(network)?.map(|record| Found { plan: record.plan, is_empty: record.units.is_empty() }))
    }

    async fn list(&self, plan: &Plan) -> Result<Vec<Held>, Failure> {
        look(plan)
    }

    async fn preflight(&self, plan: &Plan, drafts: &[Draft]) -> Result<(), Failure> {
        for draft in drafts {
            let Some(address) = draft.address(&plan.settings) else { continue };
            let bound = std::net::SocketAddr::new(plan.settings.bind, address.port());
            if let Some(trouble) = ports::trouble(bound, ports::Wanted::ByProcess) {
                return Err(Failure::new(format!("could not start `{}`: {trouble}", draft.name)).hint(
                    "another network may be running; stop it with `p2pnet stop-network` or choose ports with `--base-port 8000`",
                ));
            }
        }
        Ok(())
    }

    async fn prepare(&self, plan: &Plan, binary: &Path) -> Result<String, Failure> {
        let program = std::path::absolute(binary)
            .map_err(|error| Failure::new(format!("could not find `{}`: {error}", binary.display())))?;
        // All nodes of a network are published here: their ports are the host's own.
        let plan = Plan { program: program.display().to_string(), ..plan.clone() };
        record::update(&plan.settings, |record| {
            if record.is_none() {
                let port = ports::free_one(std::net::Ipv4Addr::LOCALHOST.into())
                    .map_err(|error| Failure::new(format!("could not find a free port for the gateway: {error}")))?;
                let gateway = (std::net::Ipv4Addr::LOCALHOST, port).into();
                *record = Some(Record { plan: plan.clone(), gateway, units: std::collections::BTreeMap::new() });
            }
            if let Some(record) = record.as_mut().filter(|record| record.units.is_empty()) {
                record.plan = plan.clone();
            }
            Ok(())
        })?;
        record::put_signpost(&plan.settings)?;
        Ok(plan.program)
    }

    async fn make_room(&self, _plan: &Plan, _nodes: u64) -> Result<(), Failure> {
        Ok(()) // loopback has no neighbours
    }

    async fn create(&self, plan: &Plan, draft: &Draft) -> Result<(), Failure> {
        folders::make_node(&plan.settings, &draft.name)?;
        record::update(&plan.settings, |record| {
            let record = record.as_mut().ok_or_else(|| Failure::new("the network was removed meanwhile"))?;
            let fresh =
                Entry { role: draft.role, life: None, since: Some(watch::now()), asked_to_leave: false, ended: None };
            record.units.entry(draft.name.clone()).or_insert(fresh);
            Ok(())
        })
    }

    async fn act(&self, plan: &Plan, held: &Held, action: Action) -> Result<(), Failure> {
        match action {
            Action::Start => Self::start(plan, held),
            Action::End(signal) => Self::end(plan, held, signal).await,
            Action::Restart => Self::restart(plan, held).await,
            Action::Pause => Self::freeze(plan, held, Unix::STOP, UnitState::Paused).await,
            Action::Resume => Self::freeze(plan, held, Unix::CONT, UnitState::Up).await,
            Action::Remove => Self::remove(plan, held).await,
        }
    }

    async fn last_words(&self, plan: &Plan, held: &Held) -> Option<String> {
        let log = std::fs::read(spawn::log_path(plan, &held.unit.name)).ok()?;
        let log = String::from_utf8_lossy(&log[log.len().saturating_sub(600)..]).into_owned();
        Some(log.split_whitespace().collect::<Vec<_>>().join(" ")).filter(|words| !words.is_empty())
    }

    async fn release(&self, plan: &Plan) -> Result<(), Failure> {
        record::remove(&plan.settings)
    }

    async fn recall(&self, _plan: &Plan) -> Vec<Happening> {
        // The list has it all.
        Vec::new()
    }

    fn changes(&self, plan: &Plan) -> BoxStream<'static, Result<Happening, Failure>> {
        struct Looking {
            plan: Plan,
            known: Option<Vec<Held>>,
            told: std::collections::VecDeque<Happening>,
        }
        let looking = Looking { plan: plan.clone(), known: None, told: std::collections::VecDeque::new() };
        stream::try_unfold(looking, |mut looking| async move {
            loop {
                if let Some(next) = looking.told.pop_front() {
                    return Ok(Some((next, looking)));
                }
                let now = look(&looking.plan)?;
                if let Some(before) = looking.known.replace(now.clone()) {
                    looking.told.extend(differences(&before, &now));
                }
                if looking.told.is_empty() {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            }
        })
        .boxed()
    }
}

/// What happened between two looks.
fn differences(before: &[Held], now: &[Held]) -> Vec<Happening> {
    let happening = |held: &Held, state| Happening {
        name: held.unit.name.clone(),
        role: held.unit.role,
        state,
        at: state.and(held.unit.since).unwrap_or_else(watch::now),
    };
    let find = |all: &[Held], wanted: &Held| all.iter().find(|held| held.unit.name == wanted.unit.name).cloned();
    let same = |a: &Held, b: &Held| a.unit.state == b.unit.state && a.handle == b.handle;
    let changed = now.iter().filter(|held| !find(before, held).is_some_and(|was| same(&was, held)));
    let gone = before.iter().filter(|held| find(now, held).is_none());
    changed.map(|held| happening(held, Some(held.unit.state))).chain(gone.map(|held| happening(held, None))).collect()
}
