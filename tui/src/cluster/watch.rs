//! One stream of truth, from engines that come and go.
//!
//! ```text
//! Engine::changes ──┐                                ┌─ Listed        first, and every 5 s
//! (per engine)      ├─▶ fill in address and since ─▶ ├─ Changed, Removed
//! Engine::list ─────┘                                └─ EngineLost … EngineBack, Listed
//! ```
//! No stream is trusted alone: events can be lost, so a list every few seconds replaces what they built up. A list says
//! what is, an event says since when; both are put together here. Events older than the last list are dropped: the list
//! knew of them already, and a node that died must not come back to life for a moment.
//!
//! The channel holds 256 messages. When it is full this task waits: truth is late then, but never lost.

#![allow(clippy::disallowed_methods, reason = "watches for as long as somebody listens, against the clock engines use")]

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::{StreamExt, stream::SelectAll};
use p2pnet_shared::{NodeName, UnixMillis};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use super::{
    Role, Truth, Unit, UnitState, Watcher,
    engine::{Draft, Engine, Happening, Plan},
    launch,
};
use crate::failure::Failure;

/// Between two lists.
const LIST_EVERY: Duration = Duration::from_secs(5);
/// The longest a list may take before the engine counts as lost: it answers in milliseconds, or does not answer.
const LIST_DEADLINE: Duration = Duration::from_secs(10);
/// Between two attempts to find an engine again.
const RETRY_EVERY: Duration = Duration::from_millis(500);

const QUEUE: usize = 256;

/// The wall clock, which is also what engines stamp their events with.
pub(crate) fn now() -> UnixMillis {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX))
}

/// Starts to watch.
pub(crate) fn watch(engines: Vec<Arc<dyn Engine>>, plan: Plan) -> Watcher {
    let (truths, watcher) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        let mut watch =
            Watch { engines, plan, truths: truths.clone(), known: HashMap::new(), listed_at: UnixMillis(0) };
        tokio::select! {
            // Ends at once when nobody listens any more, also in the middle of a request.
            () = truths.closed() => {}
            Err(Unheard) = watch.run() => {}
        }
    });
    watcher
}

/// Nobody listens any more.
struct Unheard;

struct Watch {
    engines: Vec<Arc<dyn Engine>>,
    plan: Plan,
    truths: mpsc::Sender<Truth>,
    known: HashMap<NodeName, Unit>,
    /// When the request for the last list was made.
    listed_at: UnixMillis,
}

impl Watch {
    async fn run(&mut self) -> Result<std::convert::Infallible, Unheard> {
        self.recall().await;
        loop {
            let lost = match self.follow().await {
                Err(Broken::Unheard) => return Err(Unheard),
                Err(Broken::Engine(failure)) => failure.error,
            };
            self.tell(Truth::EngineLost(lost)).await?;
            loop {
                tokio::time::sleep(RETRY_EVERY).await;
                if self.list().await.is_ok() {
                    break;
                }
            }
            self.tell(Truth::EngineBack).await?;
        }
    }

    /// Fills in since when units are as they are, from what the engines remember.
    async fn recall(&mut self) {
        for engine in &self.engines {
            for happening in engine.recall(&self.plan).await {
                note(&mut self.known, &self.plan, &happening);
            }
        }
    }

    /// Lists and follows until an engine is lost.
    async fn follow(&mut self) -> Result<std::convert::Infallible, Broken> {
        let mut changes: SelectAll<_> = self
            .engines
            .iter()
            .map(|engine| {
                let lost = Failure::new(format!("{} closed the stream of events", engine.describe()));
                engine
                    .changes(&self.plan)
                    .map(Some)
                    .chain(futures_util::stream::iter([None]))
                    .map(move |change| change.unwrap_or_else(|| Err(lost.clone())))
            })
            .collect();
        let mut lists = interval(LIST_EVERY);
        lists.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                Some(change) = changes.next() => {
                    let change = change?;
                    // Its port is the engine's to choose, and only a list has it.
                    let port_is_news = change.role == Role::Gateway && change.state == Some(UnitState::Up);
                    self.apply(change).await?;
                    if port_is_news {
                        lists.reset_immediately();
                    }
                }
                _ = lists.tick() => {
                    let units = self.list().await?;
                    self.tell(Truth::Listed(units)).await?;
                }
            }
        }
    }

    async fn list(&mut self) -> Result<Vec<Unit>, Failure> {
        let asked_at = now();
        let held = tokio::time::timeout(LIST_DEADLINE, launch::list(&self.engines, &self.plan)).await;
        let held = held.map_err(|_| Failure::new("the engine did not answer within 10 s"))??;
        let mut units: Vec<Unit> = held.into_iter().map(|held| held.unit).collect();
        for unit in &mut units {
            let before = self.known.get(&unit.name).filter(|known| known.state == unit.state);
            unit.since = unit.since.or(before.and_then(|known| known.since));
        }
        self.known = units.iter().map(|unit| (unit.name.clone(), unit.clone())).collect();
        self.listed_at = asked_at;
        Ok(units)
    }

    async fn apply(&mut self, happening: Happening) -> Result<(), Broken> {
        if happening.at < self.listed_at {
            // The list shows where this led; all it lacks is the time.
            if let Some(unit) = self.known.get_mut(&happening.name)
                && Some(unit.state) == happening.state
                && unit.since.is_none()
            {
                unit.since = Some(happening.at);
            }
            return Ok(());
        }
        let truth = note(&mut self.known, &self.plan, &happening);
        if self.listed_at == UnixMillis(0) {
            // The list comes first, and will have this in it.
            return Ok(());
        }
        Ok(self.tell(truth).await?)
    }

    async fn tell(&self, truth: Truth) -> Result<(), Unheard> {
        self.truths.send(truth).await.map_err(|_| Unheard)
    }
}

/// Takes a happening into what is known.
fn note(known: &mut HashMap<NodeName, Unit>, plan: &Plan, happening: &Happening) -> Truth {
    let Some(state) = happening.state else {
        known.remove(&happening.name);
        return Truth::Removed(happening.name.clone());
    };
    let unit = known.entry(happening.name.clone()).or_insert_with(|| Unit {
        name: happening.name.clone(),
        role: happening.role,
        state: UnitState::Created,
        address: Draft { name: happening.name.clone(), role: happening.role }.address(&plan.settings),
        since: None,
    });
    unit.state = state;
    unit.since = Some(happening.at);
    Truth::Changed(unit.clone())
}

enum Broken {
    Unheard,
    Engine(Failure),
}

impl From<Unheard> for Broken {
    fn from(_: Unheard) -> Self {
        Broken::Unheard
    }
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Broken::Engine(failure)
    }
}

#[cfg(test)]
mod tests;
