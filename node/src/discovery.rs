//! Addresses to try: how they are written, which of many to take, and how long to wait before trying again.
//!
//! ```text
//! --bootstrap, --peers ─┐
//! GET /peers of it ─────┼─▶ PeerAddress ──resolved by the runtime──▶ membership Input::Contact ──answered──▶ a member
//! /register, /gossip ───┤
//! beacons (lan.rs) ─────┘
//! ```
//! Nothing in here is believed: an address is somewhere to knock, and only who answers becomes a member. So a wrong or
//! malicious list costs a few datagrams and changes nothing. The IO is in `runtime/join.rs` (names, requests) and
//! `runtime/lan.rs` (beacons).

pub mod lan;

use std::{fmt, net::SocketAddr, str::FromStr, time::Duration};

use rand::{Rng, RngExt, seq::SliceRandom};

/// The port of a node that was named without one: every node's default.
pub const DEFAULT_PORT: u16 = 5000;
/// Longest host name, bytes (RFC 1035 §2.3.4).
const HOST_MAX_BYTES: usize = 253;

/// Where somebody may listen, as people write it: `http://node7:5000`, `node7:5000`, `10.0.0.7`, `[::1]:5000`. Prints as
/// a URL. The host may be a name, which is looked up anew at every use, because a restarted container moves.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerAddress {
    host: String,
    port: u16,
}

/// Why an address was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` {why}; write it as http://HOST:PORT")]
pub struct AddressError {
    given: String,
    why: &'static str,
}

impl PeerAddress {
    /// The host's name or IP, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The socket address, if the host is written as an IP and needs no lookup.
    #[must_use]
    pub fn literal(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.host.parse().ok()?, self.port))
    }

    /// `HOST:PORT`, as in a `Host` header.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority())
    }
}

impl FromStr for PeerAddress {
    type Err = AddressError;

    fn from_str(given: &str) -> Result<Self, AddressError> {
        let refuse = |why| AddressError { given: given.chars().take(80).collect(), why };
        let rest = given.trim();
        let rest = match rest.split_once("://") {
            None => rest,
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some(_) => return Err(refuse("is not an http address")),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if !path.is_empty() {
            return Err(refuse("has a path after the address"));
        }
        if authority.len() > HOST_MAX_BYTES + 8 {
            return Err(refuse("is too long"));
        }
        let (host, port) = if let Some(bracketed) = authority.strip_prefix('[') {
            let (host, rest) = bracketed.split_once(']').ok_or_else(|| refuse("has no closing bracket"))?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| refuse("has no IPv6 address in its brackets"))?;
            match rest {
                "" => (host, None),
                rest => (host, Some(rest.strip_prefix(':').ok_or_else(|| refuse("has no port after its brackets"))?)),
            }
        } else {
            match authority.split_once(':') {
                None => (authority, None),
                Some((host, port)) => (host, Some(port)),
            }
        };
        let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if host.is_empty() {
            return Err(refuse("has no host"));
        }
        if !authority.starts_with('[') && !host.chars().all(named) {
            return Err(refuse("has a host with a character no host name has"));
        }
        let port = match port {
            None => DEFAULT_PORT,
            Some(digits) if digits.chars().all(|c| c.is_ascii_digit()) => {
                digits.parse().ok().filter(|port| *port != 0).ok_or_else(|| refuse("has no port from 1 to 65535"))?
            }
            Some(_) => return Err(refuse("has a port that is no number")),
        };
        Ok(Self { host: host.to_ascii_lowercase(), port })
    }
}

/// Which of the addresses a bootstrap named are contacted: `at_most` of them, at random. Membership tells of the others;
/// contacting all would make a hundred nodes that start together knock ten thousand times.
pub fn choose(mut addresses: Vec<PeerAddress>, at_most: usize, rng: &mut impl Rng) -> Vec<PeerAddress> {
    addresses.sort();
    addresses.dedup();
    addresses.shuffle(rng);
    addresses.truncate(at_most);
    addresses
}

/// How long to wait before the next try: twice as long each time up to a limit, with a fifth of jitter, so that many
/// who lost the same thing do not come back at the same moment.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    limit: Duration,
    next: Duration,
}

impl Backoff {
    /// Waits `first`, then longer, up to `limit`.
    #[must_use]
    pub fn new(first: Duration, limit: Duration) -> Self {
        Self { first, limit, next: first }
    }

    /// It worked: the next wait is the first again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }

    /// The next wait.
    pub fn wait(&mut self, rng: &mut impl Rng) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.limit);
        wait.mul_f64(rng.random_range(0.8..1.2))
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn an_address_reads_as_people_write_it() {
        for (written, url) in [
            ("http://node7:5000", "http://node7:5000"),
            ("HTTP://Node7:81/", "http://node7:81"),
            ("node7", "http://node7:5000"),
            (" 10.0.0.7:6000 ", "http://10.0.0.7:6000"),
            ("[::1]:6000", "http://[::1]:6000"),
            ("http://[fe80::1]", "http://[fe80::1]:5000"),
        ] {
            assert_eq!(written.parse::<PeerAddress>().unwrap().to_string(), url);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        for (written, why) in [
            ("", "has no host"),
            ("http://", "has no host"),
            ("https://node7:5000", "is not an http address"),
            ("http://node7:5000/peers", "has a path"),
            ("node7:0", "has no port from 1"),
            ("node7:99999999999999999999", "has no port from 1"),
            ("node7:x", "no number"),
            ("no de:5000", "character"),
            ("http://user@host:1", "character"),
            ("[::1", "closing bracket"),
            ("[node]:5", "no IPv6 address"),
        ] {
            let error = written.parse::<PeerAddress>().unwrap_err().to_string();
            assert!(error.contains(why), "{written}: {error}");
        }
        assert!("x".repeat(1_000_000).parse::<PeerAddress>().unwrap_err().to_string().len() < 200);
    }

    #[test]
    fn a_few_of_many_are_chosen_each_once() {
        let many: Vec<PeerAddress> = (0..200).map(|i| format!("node{}:5000", i % 100).parse().unwrap()).collect();
        let chosen = choose(many, 20, &mut StdRng::seed_from_u64(1));
        let mut distinct = chosen.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!((chosen.len(), distinct.len()), (20, 20));
    }

    #[test]
    fn a_backoff_grows_to_its_limit_and_starts_over() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(2));
        let waits: Vec<Duration> = (0..6).map(|_| backoff.wait(&mut rng)).collect();
        assert!(waits[0] < Duration::from_millis(241) && waits[5] >= Duration::from_millis(1_600), "{waits:?}");
        backoff.reset();
        assert!(backoff.wait(&mut rng) < Duration::from_millis(241));
    }
}
