//! What can be typed: every verb of contract §3, its flags and their limits.
//!
//! A wrong flag is told apart here, before anything is touched: exit 2 with an `error:` and a `hint:` line, like every
//! other failure of p2pnet. `dispatch.rs` carries a command out.

pub mod dispatch;

use std::{ffi::OsString, net::IpAddr, path::PathBuf, time::Duration};

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum, error::ErrorKind};
use p2pnet_node::config::NodeOptions;
use p2pnet_shared::{FilePath, Key, NetworkName, NodeName, id::KEY_MAX_BYTES};

use crate::{
    cluster::{Push, RuntimeChoice, Settings, default_data_dir},
    failure::Failure,
    gateway::GatewayOptions,
    select::Selector,
    verb::Signal,
    verbs::report::Goal,
};

/// The network every verb means unless told otherwise.
pub const NETWORK: &str = "p2p_network";
/// Most peers of one network: a Linux bridge has 1,023 ports, and the bootstrap and the gateway need two.
pub const NODES_MAX: u32 = 1_000;
/// Networks up to this size have their nodes' ports published unless told otherwise.
const PUBLISHED_MAX: u32 = 200;
/// Longest time that may be waited for, seconds: a day.
const WAIT_MAX_SECS: u64 = 86_400;

const FAULT_EXAMPLES: &str = "\
Examples:
  p2pnet fault cut 1-50 '|' 51-100       nobody of one side reaches the other
  p2pnet fault cut 7                     node7 from everybody else
  p2pnet fault cut 1 '|' 2 --one-way     node2 does not hear node1
  p2pnet fault loss 30%                  three of ten datagrams are lost, everywhere
  p2pnet fault delay 100ms±30ms 1-9      whatever nodes 1 to 9 send or are sent is late
  p2pnet fault                           what is wrong now
  p2pnet heal                            all is well again";

const VALUE_HELP: &str = "\
VALUE is stored as JSON if it is a number, true, false, null, an object, an array or a string in
double quotes, and as text otherwise: --string makes it text in any case.

Examples:
  p2pnet put apple 5                     the number 5
  p2pnet put apple '\"5\"'                 the text 5; so does  put apple 5 --string
  p2pnet put apple 'green and sour'      text
  p2pnet put apple '{\"colour\":\"green\"}'  an object
  p2pnet put -- -key -5                  a key that begins with a dash";

/// A peer-to-peer network you can watch.
///
/// Without a command it opens the dashboard, and starts a network first if none runs.
#[derive(Debug, Parser)]
#[command(
    name = "p2pnet",
    version,
    max_term_width = 100,
    disable_help_subcommand = true,
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to start a network for the dashboard if none runs.
    #[command(flatten)]
    pub start: StartOptions,
    /// Draw the dashboard with ASCII characters only.
    #[arg(long)]
    pub ascii: bool,
    /// Draw the dashboard without colours; so does NO_COLOR.
    #[arg(long)]
    pub no_color: bool,
}

/// Which network.
#[derive(Debug, Clone, Args)]
pub struct Which {
    /// The network's name.
    #[arg(long, value_name = "NAME", default_value = NETWORK)]
    pub network: NetworkName,
    /// Who runs it: docker when an engine answers, otherwise local processes.
    #[arg(long, value_enum, default_value_t)]
    pub runtime: Runtime,
}

/// Who runs nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Runtime {
    /// Docker when an engine answers, otherwise processes.
    #[default]
    Auto,
    /// Docker containers, or nothing.
    Docker,
    /// Local processes on 127.0.0.1.
    Process,
}

impl From<Runtime> for RuntimeChoice {
    fn from(runtime: Runtime) -> Self {
        match runtime {
            Runtime::Auto => RuntimeChoice::Auto,
            Runtime::Docker => RuntimeChoice::Docker,
            Runtime::Process => RuntimeChoice::Process,
        }
    }
}

/// What a new network is like.
#[derive(Debug, Clone, Args)]
pub struct StartOptions {
    #[command(flatten)]
    /// Which network.
    pub which: Which,
    /// Peers beside the bootstrap, 1 to 1000.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=i64::from(NODES_MAX)))]
    pub nodes: u32,
    /// Port of the bootstrap on this host; node i is on this port plus i.
    #[arg(long, value_name = "PORT", default_value_t = 5000, value_parser = clap::value_parser!(u16).range(1..))]
    pub base_port: u16,
    /// Address of this host on which ports are published.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1")]
    pub bind: IpAddr,
    /// Where the nodes' folders are: DIR/<network>/node7/{sync,data}. Default: the user's state directory.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Publish the nodes' ports; by itself up to 200 nodes.
    #[arg(long, value_name = "YES|NO", num_args = 0..=1, default_missing_value = "true")]
    pub publish: Option<bool>,
    /// Seals what nodes tell each other; only nodes with the same secret understand it.
    #[arg(long, env = "CLUSTER_SECRET", hide_env_values = true)]
    pub secret: Option<String>,
    /// How broadcasts travel.
    #[arg(long, value_enum, default_value_t)]
    pub push: Push,
    /// Bytes of files that each node sends a second at most, as 6M or 600K [default: as many as go].
    #[arg(long, value_name = "BYTES", value_parser = amount)]
    pub egress: Option<u64>,
}

/// An amount of bytes.
fn amount(text: &str) -> Result<u64, String> {
    p2pnet_shared::amount::bytes(text)
        .ok_or_else(|| "not a number of bytes; for example 6M, 600K or 1500000".to_owned())
}

impl StartOptions {
    /// What is fixed for the network's life.
    ///
    /// # Errors
    /// When the ports do not fit, or there is no place for folders.
    pub fn settings(&self) -> Result<Settings, Failure> {
        let publish = self.publish.unwrap_or(self.nodes <= PUBLISHED_MAX);
        let last = u32::from(self.base_port) + self.nodes;
        if publish && last > u32::from(u16::MAX) {
            let most = u32::from(u16::MAX) - self.nodes;
            let error = format!("ports {} to {last} are asked for, and the last port is 65535", self.base_port);
            return Err(Failure::new(error).hint(format!("choose --base-port {most} or lower, or fewer --nodes")));
        }
        let data = match &self.data {
            Some(dir) => std::path::absolute(dir)
                .map_err(|error| Failure::new(format!("--data {}: {error}", dir.display())).hint("name a folder"))?,
            None => default_data_dir(),
        };
        let network = self.which.network.clone();
        let secret = self.secret.clone().filter(|secret| !secret.is_empty());
        Ok(Settings {
            network,
            base_port: self.base_port,
            bind: self.bind,
            data,
            publish,
            secret,
            push: self.push,
            vnodes: None,
            egress: self.egress,
        })
    }
}

/// Everything p2pnet does without a screen.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a network and wait until every node agrees on every member.
    #[command(alias = "up")]
    StartNetwork {
        #[command(flatten)]
        /// What it is like.
        start: Box<StartOptions>,
        /// Seconds to wait for agreement; 0 for not at all.
        #[arg(long, value_name = "SECS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(..=WAIT_MAX_SECS))]
        wait: u64,
    },
    /// Remove a network: containers or processes, and the nodes' folders.
    #[command(alias = "down")]
    StopNetwork {
        #[command(flatten)]
        /// Which.
        which: Which,
        /// Leave the nodes' folders where they are.
        #[arg(long)]
        keep_data: bool,
    },
    /// Add nodes to the running network.
    AddNodes {
        #[command(flatten)]
        /// Where.
        which: Which,
        /// How many, 1 to 1000.
        #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(NODES_MAX)))]
        count: u32,
    },
    /// Stop nodes: a crash, or with --signal TERM a polite leave.
    #[command(alias = "kill")]
    RemoveNode {
        #[command(flatten)]
        /// Where and whom.
        nodes: Nodes,
        /// KILL is a crash, TERM lets the node say goodbye.
        #[arg(long, value_enum, ignore_case = true, default_value_t)]
        signal: SignalName,
    },
    /// Start nodes again, with the same data.
    RestartNode(Nodes),
    /// Freeze nodes: their sockets stay open and nobody is at home.
    PauseNode(Nodes),
    /// Let frozen nodes go on.
    ResumeNode(Nodes),
    /// Make something go wrong: cut, loss, delay, pause. Alone it lists what is wrong now.
    #[command(after_help = FAULT_EXAMPLES)]
    Fault {
        #[command(flatten)]
        /// Where.
        which: Which,
        /// Of a cut: only the second side does not hear the first.
        #[arg(long)]
        one_way: bool,
        /// What: cut 1-50 '|' 51-100, cut 7, loss 30% [NODES], delay 100ms±30ms [NODES], pause NODES.
        #[arg(value_name = "FAULT")]
        words: Vec<String>,
    },
    /// Undo every fault, on all nodes or on these, and let paused nodes go on.
    Heal {
        #[command(flatten)]
        /// Where.
        which: Which,
        /// Which nodes; all without.
        #[arg(value_name = "NODE")]
        nodes: Vec<String>,
    },
    /// Broadcast a text from a node; prints the message's id.
    SendMessage {
        #[command(flatten)]
        /// Where.
        which: Which,
        /// The node that sends: 4, node4 or bootstrap.
        #[arg(value_name = "NODE", value_parser = one_node)]
        from: NodeName,
        /// What it says.
        text: String,
    },
    /// Print the messages a node has received, and the way each took.
    GetMessages {
        #[command(flatten)]
        /// Where.
        which: Which,
        /// The node: 8, node8 or bootstrap.
        #[arg(value_name = "NODE", value_parser = one_node)]
        node: NodeName,
    },
    /// Store a value under a key, through any node.
    #[command(after_help = VALUE_HELP)]
    Put {
        #[command(flatten)]
        /// Which key, and how to get there.
        key: OneKey,
        /// What: JSON if it is JSON, otherwise text.
        #[arg(value_name = "VALUE", allow_negative_numbers = true)]
        value: String,
        /// Take VALUE for text, whatever it looks like.
        #[arg(long)]
        string: bool,
    },
    /// Print the value of a key.
    Get(OneKey),
    /// Delete a key.
    Delete(OneKey),
    /// Print the nodes that hold a key, its owner first.
    Owner(OneKey),
    /// Share a file: it comes to be in every node's folder.
    Upload {
        #[command(flatten)]
        /// Which network, and how to get there.
        at: Folder,
        /// The file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Where it is to be in the folder. Default: its name.
        #[arg(long = "as", value_name = "PATH")]
        path: Option<FilePath>,
    },
    /// Fetch a file of the shared folder, to stdout or to a file that is not there yet.
    Download {
        #[command(flatten)]
        /// Which network, and how to get there.
        at: Folder,
        /// Its path in the folder.
        #[arg(value_name = "PATH")]
        path: FilePath,
        /// Where it goes: a file, a folder, or - for stdout.
        #[arg(short, long, value_name = "OUT")]
        output: Option<PathBuf>,
    },
    /// List the files of the shared folder: bytes, nodes that have it, path.
    Files(Folder),
    /// Delete a file of the shared folder, everywhere.
    DeleteFile {
        #[command(flatten)]
        /// Which network, and how to get there.
        at: Folder,
        /// Its path in the folder.
        #[arg(value_name = "PATH")]
        path: FilePath,
    },
    /// Show how the network is.
    Status {
        #[command(flatten)]
        /// Which.
        which: Which,
        /// One JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Wait until the network is as it should be; exit 1 with the reason at the deadline.
    Wait {
        #[command(flatten)]
        /// Which.
        which: Which,
        /// What to wait for.
        #[arg(long = "for", value_name = "GOAL", value_enum, default_value_t)]
        goal: Goal,
        /// How long: 500ms, 60s, 2m.
        #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
        timeout: Duration,
    },
    /// Print one line per change, for pipes, CI and screen readers.
    Watch {
        #[command(flatten)]
        /// Which.
        which: Which,
        /// For people (the default).
        #[arg(long, conflicts_with = "json")]
        plain: bool,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Run one peer in the foreground.
    Node(Box<NodeOptions>),
    /// Collect what nodes report (p2pnet starts this itself).
    #[command(hide = true)]
    Gateway(GatewayOptions),
    /// Raise the host's neighbour table for a network of many containers (p2pnet does this itself).
    #[command(hide = true)]
    RaiseLimits {
        /// Entries it is to hold at least.
        #[arg(value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
        entries: u64,
    },
    /// Show what this host allows, what is needed, and how to mend it.
    Doctor {
        #[command(flatten)]
        /// For which network.
        start: Box<StartOptions>,
        /// One JSON document.
        #[arg(long)]
        json: bool,
    },
}

/// One key of the store.
#[derive(Debug, Args)]
pub struct OneKey {
    #[command(flatten)]
    /// Where.
    pub which: Which,
    /// The key: 1 to 1024 bytes, any characters.
    #[arg(value_name = "KEY", value_parser = one_key)]
    pub key: Key,
    /// The node to ask: 7, node7 or bootstrap. Default: any that is up.
    #[arg(long, value_name = "NODE", value_parser = one_node)]
    pub via: Option<NodeName>,
    /// One JSON document.
    #[arg(long)]
    pub json: bool,
}

/// The shared folder.
#[derive(Debug, Args)]
pub struct Folder {
    #[command(flatten)]
    /// Where.
    pub which: Which,
    /// The node to ask: 7, node7 or bootstrap. Default: any that is up.
    #[arg(long, value_name = "NODE", value_parser = one_node)]
    pub via: Option<NodeName>,
    /// One JSON document.
    #[arg(long)]
    pub json: bool,
}

/// Some nodes of a network.
#[derive(Debug, Args)]
pub struct Nodes {
    #[command(flatten)]
    /// Where.
    pub which: Which,
    /// Which nodes: 9, node9, 20-30, bootstrap, 30% seed 7.
    #[arg(value_name = "NODE", required = true)]
    pub nodes: Vec<String>,
}

impl Nodes {
    /// The choice that was typed.
    ///
    /// # Errors
    /// When a word is no node, no range and no share.
    pub fn selector(&self) -> Result<Selector, Failure> {
        self.nodes.join(" ").parse()
    }
}

/// How a node is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum SignalName {
    /// A crash.
    #[default]
    #[value(name = "KILL", alias = "SIGKILL")]
    Kill,
    /// Politely.
    #[value(name = "TERM", alias = "SIGTERM")]
    Term,
}

impl From<SignalName> for Signal {
    fn from(name: SignalName) -> Self {
        match name {
            SignalName::Kill => Signal::Kill,
            SignalName::Term => Signal::Term,
        }
    }
}

fn one_key(text: &str) -> Result<Key, String> {
    // Not with the key itself in it, which may be long.
    match text.len() {
        0 => Err("a key has at least one character".into()),
        length => text.parse().map_err(|_| format!("a key has at most {KEY_MAX_BYTES} bytes, this one has {length}")),
    }
}

fn one_node(text: &str) -> Result<NodeName, String> {
    match text.parse::<u32>() {
        Ok(0) => Err("nodes are counted from 1; the first one is `bootstrap`".into()),
        Ok(number) => Ok(NodeName::numbered(number)),
        Err(_) if text.starts_with(|c: char| c.is_ascii_digit()) => Err("no node has that number".into()),
        Err(_) => text.parse().map_err(|error: p2pnet_shared::id::ParseIdError| error.to_string()),
    }
}

fn time(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit_ms = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        _ => return Err("a time is a whole number with ms, s, m or h, for example 90s".into()),
    };
    let number: u64 = number.parse().map_err(|_| "a time begins with a whole number, for example 90s")?;
    let millis = number.checked_mul(unit_ms).filter(|millis| *millis <= WAIT_MAX_SECS * 1_000);
    Ok(Duration::from_millis(millis.ok_or("at most 24h can be waited for")?))
}

/// What to do, or why nothing is done.
#[derive(Debug)]
pub enum Parsed {
    /// Do this.
    Do(Box<Cli>),
    /// Print this on stdout and exit 0: help or version.
    Print(String),
    /// Wrong usage: exit 2.
    Wrong(Failure),
}

/// Understands a command line, program name first.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Parsed {
    let args: Vec<OsString> = args.into_iter().collect();
    let verb = args.get(1).and_then(|verb| verb.to_str()).filter(|verb| Cli::command().find_subcommand(verb).is_some());
    let help = verb.map_or_else(|| "p2pnet --help".into(), |verb| format!("p2pnet {verb} --help"));
    match Cli::try_parse_from(args) {
        Ok(cli) => Parsed::Do(Box::new(cli)),
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            Parsed::Print(error.render().to_string())
        }
        Err(error) => Parsed::Wrong(usage_failure(&error.render().to_string(), &help)),
    }
}

/// clap's message in the form of our own: what is wrong on one line, what to do on the next.
fn usage_failure(message: &str, help: &str) -> Failure {
    let mut paragraphs = message.split("\n\n");
    let first = paragraphs.next().unwrap_or_default();
    let error = first.trim().strip_prefix("error: ").unwrap_or(first);
    let error = error.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines = || message.lines().map(str::trim);
    let tip = lines().find_map(|line| line.strip_prefix("tip: "));
    let possible = lines().find(|line| line.starts_with("[possible values"));
    let usage = lines().find_map(|line| line.strip_prefix("Usage: "));
    let error = possible.map_or(error.clone(), |possible| error.replace(possible, "").trim().to_owned());
    let hint = match (tip, possible, usage) {
        (Some(tip), ..) => tip.to_owned(),
        (None, Some(possible), _) => possible.trim_matches(['[', ']']).to_owned(),
        (None, None, Some(usage)) => format!("usage: {usage}"),
        (None, None, None) => format!("see `{help}`"),
    };
    Failure::new(error).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, millis) in [("500ms", 500), ("60s", 60_000), ("7", 7_000), ("2m", 120_000), ("24h", 86_400_000)] {
            assert_eq!(time(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "s", "-1s", "1.5s", "10 y", "25h", "99999999999999999999s", "18446744073709551615h"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn one_node_is_a_number_or_a_name() {
        assert_eq!(one_node("4").unwrap().as_str(), "node4");
        assert_eq!(one_node("node4").unwrap().as_str(), "node4");
        assert_eq!(one_node("bootstrap").unwrap().as_str(), "bootstrap");
        for bad in ["0", "-3", "99999999999", "a b", "", "4x/"] {
            assert!(one_node(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_verb_takes_a_network() {
        // `raise-limits` is about the host.
        for command in Cli::command().get_subcommands().filter(|command| command.get_name() != "raise-limits") {
            assert!(command.get_arguments().any(|arg| arg.get_long() == Some("network")), "{}", command.get_name());
        }
    }

    #[test]
    fn ports_past_the_last_one_are_refused_before_anything_is_made() {
        let Parsed::Do(cli) = parse(["p2pnet", "up", "--base-port", "65500", "--nodes", "100"].map(Into::into)) else {
            panic!("understood");
        };
        let Some(Command::StartNetwork { start, .. }) = cli.command else { panic!("a start") };
        let failure = start.settings().unwrap_err();
        assert_eq!(failure.error, "ports 65500 to 65600 are asked for, and the last port is 65535");
        assert_eq!(failure.hint.as_deref(), Some("choose --base-port 65435 or lower, or fewer --nodes"));
    }
}
