//! A network that runs, and what is known of it: observations are folded while something is waited for.

use std::{
    future::Future,
    pin::pin,
    time::{Duration, Instant, SystemTime},
};

use p2pnet::{
    cluster::{Cluster, Role, RuntimeChoice},
    network::{Network, Observation},
    observe,
};
use p2pnet_shared::{NodeName, UnixMillis};
use tokio::sync::mpsc;

use crate::support::Lab;

/// How long a new network is left alone before anything is done to it. Nobody accuses in the first ten seconds of a life:
/// a kill before that is seen late, and a hogged core says nothing.
pub(crate) const WARM_UP: Duration = Duration::from_secs(20);

/// Observations folded between two looks at what is waited for and at the clock.
const FOLDED_AT_ONCE: usize = 1_024;

/// Sees every observation on its way into the fold.
pub(crate) trait Witness {
    /// Takes in one.
    fn observe(&mut self, observation: &Observation);

    /// What it still looks for, to be told when that does not come in time; empty when there is nothing to say.
    fn lacks(&self) -> String {
        String::new()
    }
}

/// Nobody looks on.
impl Witness for () {
    fn observe(&mut self, _: &Observation) {}
}

impl<W: Witness> Witness for &mut W {
    fn observe(&mut self, observation: &Observation) {
        W::observe(self, observation);
    }

    fn lacks(&self) -> String {
        W::lacks(self)
    }
}

impl<A: Witness, B: Witness> Witness for (A, B) {
    fn observe(&mut self, observation: &Observation) {
        self.0.observe(observation);
        self.1.observe(observation);
    }

    fn lacks(&self) -> String {
        let both = [self.0.lacks(), self.1.lacks()];
        both.into_iter().filter(|lacks| !lacks.is_empty()).collect::<Vec<_>>().join("; ")
    }
}

/// A network that runs, and what is known of it.
pub(crate) struct Running {
    /// The way to ask for things.
    pub(crate) cluster: Cluster,
    /// What is known.
    pub(crate) network: Network,
    observations: mpsc::Receiver<Observation>,
    patience: Duration,
}

impl Running {
    /// Attaches to the network of `lab`, which runs. What is waited for must come true within `patience`.
    pub(crate) async fn attach(lab: &Lab, patience: Duration) -> Self {
        let network = lab.network.parse().expect("a network name");
        let cluster = Cluster::find(&network, RuntimeChoice::Auto).await;
        let cluster = cluster.expect("the engine answers").expect("the network runs");
        let observations = observe::observe(&cluster);
        Self { cluster, network: Network::default(), observations, patience }
    }

    /// Folds observations until `work` is done: what happens meanwhile waits in no queue.
    ///
    /// # Panics
    /// When it is not done in time; `what` is what was not.
    pub(crate) async fn during<T>(
        &mut self,
        what: &str,
        witness: &mut impl Witness,
        work: impl Future<Output = T>,
    ) -> T {
        let patience = self.patience;
        match self.fold_during(witness, tokio::time::timeout(patience, work)).await {
            Ok(done) => done,
            Err(_) => self.give_up(what, witness),
        }
    }

    /// Folds observations for as long as `stretch`.
    pub(crate) async fn rest(&mut self, witness: &mut impl Witness, stretch: Duration) {
        self.fold_during(witness, tokio::time::sleep(stretch)).await;
    }

    async fn fold_during<T>(&mut self, witness: &mut impl Witness, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                observation = self.observations.recv() => self.take(observation, witness),
                done = &mut work => return done,
            }
        }
    }

    /// Folds observations until `holds`, at most until `deadline`; whether it came to hold.
    pub(crate) async fn holds_within<W: Witness>(
        &mut self,
        deadline: Duration,
        witness: &mut W,
        mut holds: impl FnMut(&W, &Network, UnixMillis) -> bool,
    ) -> bool {
        let deadline = Instant::now() + deadline;
        loop {
            // Looked at anew now and then also when nobody says anything: some things hold after a while.
            let waited = tokio::time::timeout(Duration::from_millis(50), self.observations.recv()).await;
            if let Ok(observation) = waited {
                self.take(observation, witness);
                // So many and no more: whoever tells faster than we fold is not to keep us from looking at the clock.
                for _ in 0..FOLDED_AT_ONCE {
                    let Ok(observation) = self.observations.try_recv() else { break };
                    self.take(Some(observation), witness);
                }
            }
            if holds(witness, &self.network, now()) {
                return true;
            }
            if Instant::now() > deadline {
                return false;
            }
        }
    }

    /// Folds observations until `holds`.
    ///
    /// # Panics
    /// When it does not hold in time.
    pub(crate) async fn until_seeing<W: Witness>(
        &mut self,
        what: &str,
        witness: &mut W,
        holds: impl FnMut(&W, &Network, UnixMillis) -> bool,
    ) {
        if !self.holds_within(self.patience, witness, holds).await {
            self.give_up(what, witness);
        }
    }

    /// Ends the measurement because `what` took too long, with what is known of why.
    fn give_up(&self, what: &str, witness: &impl Witness) -> ! {
        let (patience, reason) = (self.patience, self.network.summary(now()).reason);
        panic!("not within {patience:?}: {what}; the network: {reason}; looked for: {}", witness.lacks());
    }

    /// Folds observations until every node that is up agrees and no message is outstanding.
    ///
    /// # Panics
    /// When they do not in time.
    pub(crate) async fn until_agreed(&mut self, witness: &mut impl Witness) {
        self.until_seeing("all agree", witness, |_, network, now| network.summary(now).converged).await;
    }

    /// The nodes that are up and agree, the bootstrap among them, in the order people count.
    pub(crate) fn up(&self) -> Vec<NodeName> {
        let up = self.network.nodes().filter(|node| node.role != Role::Gateway && node.agrees);
        up.map(|node| node.name.clone()).collect()
    }

    fn take(&mut self, observation: Option<Observation>, witness: &mut impl Witness) {
        let observation = observation.expect("the observer lives as long as its receiver");
        witness.observe(&observation);
        self.network.observe(now(), observation);
    }
}

/// The wall clock.
pub(crate) fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    UnixMillis(u64::try_from(since.as_millis()).expect("before the year 584,556,019"))
}

/// From `from` to `to`, milliseconds.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of hours")]
pub(crate) fn ms_between(from: UnixMillis, to: UnixMillis) -> f64 {
    to.since(from) as f64
}
