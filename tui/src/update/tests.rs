//! Stories: what happens, what the user then sees, what is asked of the runtime.

use p2pnet_shared::{
    Epoch, NodeName, UnixMillis,
    telemetry::{FeedLine, MemberRow, Report},
    wire::membership::Status,
};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::update;
use crate::{
    cluster::{self, RuntimeInfo, Truth, Unit, UnitState},
    failure::Failure,
    message::{Command, Message},
    model::{Dialog, Farewell, Model, Opening},
    network::{Observation, Verdict},
    prompt::Mode,
    verb::{Signal, Verb},
    view::theme::Theme,
};

mod files;
mod ring;

const START: UnixMillis = UnixMillis(1_763_728_400_000);

/// A dashboard, its clock, and what it asked for.
struct Story {
    model: Model,
    now: UnixMillis,
    asked: Vec<Command>,
}

fn unit(number: u32, state: UnitState) -> Unit {
    let (name, role) = match number {
        0 => (NodeName::bootstrap(), cluster::Role::Bootstrap),
        _ => (NodeName::numbered(number), cluster::Role::Node),
    };
    Unit { name, role, state, address: None, since: Some(START) }
}

impl Story {
    /// A dashboard on a terminal of 160×45 that knows nothing yet.
    fn begin() -> Self {
        let model = Model::new(START, (160, 45), Theme::default(), "p2p_network".parse().unwrap());
        Self { model, now: START, asked: Vec::new() }
    }

    /// The bootstrap and `peers` peers, all up, all in agreement.
    fn with_peers(peers: u32) -> Self {
        let mut story = Self::begin();
        story.attach();
        story.observe(Observation::Truth(Truth::Listed((0..=peers).map(|i| unit(i, UnitState::Up)).collect())));
        for observer in 0..=peers {
            story.reports(observer, (0..=peers).filter(|other| *other != observer));
        }
        story.observe(Observation::Feed(FeedLine::CaughtUp));
        story.frame()
    }

    fn attach(&mut self) {
        let info = RuntimeInfo { kind: "process", describe: "local processes".into(), why: "asked for".into() };
        self.tell(Message::Attached(info));
    }

    /// Node `observer` says whom it believes alive.
    fn reports(&mut self, observer: u32, others: impl Iterator<Item = u32>) {
        let node = unit(observer, UnitState::Up).name;
        let names: Vec<NodeName> = others.map(|other| unit(other, UnitState::Up).name).collect();
        let digest = names.iter().chain([&node]).collect();
        let row = |member: &NodeName| MemberRow {
            member: member.clone(),
            epoch: Epoch(START.0),
            incarnation: 0,
            status: Status::Alive,
        };
        let members = names.iter().map(row).collect();
        let addr = ([127, 0, 0, 1], 5_000).into();
        for report in [
            Report::Hello { id: uuid::Uuid::from_u128(u128::from(observer) + 1), epoch: Epoch(START.0), addr },
            Report::Snapshot { members, deliveries: Vec::new(), links: vec![] },
            Report::View { digest, at: self.now },
        ] {
            self.observe(Observation::Feed(FeedLine::Report { node: node.clone(), report }));
        }
    }

    fn tell(&mut self, message: Message) {
        self.asked.extend(update(&mut self.model, self.now, message));
    }

    fn observe(&mut self, observation: Observation) {
        self.tell(Message::Observed(observation));
    }

    /// A frame is drawn.
    fn frame(mut self) -> Self {
        self.tell(Message::FrameDue);
        self
    }

    fn after(mut self, ms: u64) -> Self {
        self.now.0 += ms;
        self.tell(Message::Ticked);
        self
    }

    fn press(mut self, code: KeyCode) -> Self {
        self.tell(Message::Key(KeyEvent::new(code, KeyModifiers::NONE)));
        self
    }

    fn ctrl(mut self, letter: char) -> Self {
        self.tell(Message::Key(KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL)));
        self
    }

    fn types(self, line: &str) -> Self {
        line.chars().fold(self, |story, letter| story.press(KeyCode::Char(letter)))
    }

    fn enters(self, line: &str) -> Self {
        self.types(line).press(KeyCode::Enter)
    }

    /// The verbs asked for so far.
    fn verbs(&self) -> Vec<&Verb> {
        let verb = |command: &'_ Command| matches!(command, Command::Run { .. });
        self.asked
            .iter()
            .filter(|command| verb(command))
            .filter_map(|command| match command {
                Command::Run { verb, .. } => Some(verb),
                _ => None,
            })
            .collect()
    }
}

#[test]
fn a_network_that_agrees_is_shown_as_such() {
    let story = Story::with_peers(5);
    assert_eq!(story.model.picture.nodes.len(), 6);
    assert_eq!(story.model.picture.summary.verdict, Verdict::Converged);
    assert!(story.model.picture.nodes.iter().all(|node| node.agrees));
    assert_eq!(story.model.opening, Opening::Open);
}

#[test]
fn a_kill_goes_from_the_prompt_to_a_red_row() {
    let mut story = Story::with_peers(5).enters(":kill 3");
    assert_eq!(story.verbs(), [&Verb::Stop("3".parse().unwrap(), Signal::Kill)]);
    assert!(story.asked.contains(&Command::Remember("kill 3".into())));
    assert!(!story.model.prompt.is_open() && story.model.work.len() == 1);

    story.observe(Observation::Truth(Truth::Changed(unit(3, UnitState::Dead))));
    story.tell(Message::VerbDone { ticket: 0, result: Ok(vec!["killed node3".into()]) });
    let story = story.frame();
    let first = &story.model.picture.nodes[story.model.nodes.order[0]];
    assert_eq!((first.name.as_str(), first.state), ("node3", UnitState::Dead), "trouble sorts first");
    assert!(!story.model.picture.summary.converged, "the others still believe it alive");
    assert!(story.model.work.is_empty());
    assert!(story.model.notice.as_ref().unwrap().text.contains("killed node3"));
    assert_eq!(story.model.agreement.marks(START).last().unwrap().count, 1);
}

#[test]
fn a_failed_verb_is_told_until_the_next_key() {
    let mut story = Story::with_peers(2).enters(":pause 1");
    let failure = Failure::new("could not pause `node1`: no answer").hint("is docker running?");
    story.tell(Message::VerbDone { ticket: 0, result: Err(failure) });
    let story = story.after(60_000);
    let notice = story.model.notice.clone().unwrap();
    assert!(notice.failed && notice.text.contains("could not pause") && notice.text.contains("is docker running?"));
    assert!(story.model.log.window(5).any(|line| line.kind == "FAILED"));
    assert_eq!(story.press(KeyCode::Char('j')).model.notice, None);
}

#[test]
fn many_nodes_or_the_bootstrap_are_asked_about_once() {
    let story = Story::with_peers(20).enters(":kill 1-11");
    let Some(Dialog::Confirm { question, .. }) = &story.model.dialog else { panic!("{:?}", story.model.dialog) };
    assert!(question.contains("1-11") && question.contains("11 nodes"), "{question}");
    let story = story.press(KeyCode::Char('n'));
    assert!(story.verbs().is_empty());
    assert_eq!(story.model.prompt.input.value(), "kill 1-11", "the line comes back");
    let story = story.press(KeyCode::Enter).press(KeyCode::Char('y'));
    assert_eq!(story.verbs().len(), 1);

    let story = Story::with_peers(2).enters(":kill bootstrap");
    assert!(story.model.dialog.is_some() && story.verbs().is_empty());
    let story = Story::with_peers(2).enters(":kill 1-2");
    assert!(story.model.dialog.is_none() && story.verbs().len() == 1, "two nodes need no question");
}

#[test]
fn a_node_there_is_none_of_is_refused_and_the_line_stays() {
    for line in [":kill 99", ":send 99 hi", ":messages 99"] {
        let story = Story::with_peers(3).enters(line);
        assert!(story.verbs().is_empty(), "{line}");
        assert!(story.model.prompt.error.is_some(), "{line}");
        assert_eq!(story.model.prompt.input.value(), &line[1..]);
    }
}

#[test]
fn nothing_is_sent_before_there_is_a_network() {
    let story = Story::begin().enters(":add 5");
    assert!(story.verbs().is_empty());
    assert!(story.model.prompt.error.unwrap().text.contains("no network yet"));
}

#[test]
fn keys_act_on_the_marked_rows_or_the_selected_one() {
    let story = Story::with_peers(5).press(KeyCode::Char('j')).press(KeyCode::Char('K'));
    assert_eq!(story.verbs(), [&Verb::Stop("node1".parse().unwrap(), Signal::Kill)]);
    let story = Story::with_peers(5).press(KeyCode::Char('j')).types("  ").press(KeyCode::Char('P'));
    assert_eq!(story.verbs(), [&Verb::Pause("node1 node2".parse().unwrap())]);
}

#[test]
fn a_message_is_typed_after_an_at_sign() {
    let story = Story::with_peers(3).press(KeyCode::Char('j')).press(KeyCode::Char('@'));
    assert_eq!((story.model.prompt.mode, story.model.prompt.input.value()), (Mode::Message, "node1 "));
    let story = story.enters("\"hello all\"");
    assert_eq!(story.verbs(), [&Verb::Broadcast { from: NodeName::numbered(1), text: "hello all".into() }]);
}

#[test]
fn a_filter_takes_effect_while_typed_and_escape_clears_it() {
    let story = Story::with_peers(20).types("/node1");
    assert_eq!(story.model.nodes.order.len(), 11);
    let story = story.press(KeyCode::Enter);
    assert_eq!(story.model.nodes.order.len(), 11, "it stays");
    let story = story.press(KeyCode::Esc);
    assert_eq!(story.model.nodes.order.len(), 21);
    assert_eq!(Story::with_peers(3).types("/role=boot").model.nodes.order.len(), 1);
    assert_eq!(Story::with_peers(3).types("/!up").model.nodes.order.len(), 0);
}

#[test]
fn a_frozen_picture_stands_while_data_flows() {
    let mut story = Story::with_peers(3).press(KeyCode::Char('f'));
    story.observe(Observation::Truth(Truth::Changed(unit(2, UnitState::Dead))));
    let story = story.frame();
    assert!(story.model.picture.nodes.iter().all(|node| node.state == UnitState::Up));
    let story = story.press(KeyCode::Char('f')).frame();
    assert!(story.model.picture.nodes.iter().any(|node| node.state == UnitState::Dead));
}

#[test]
fn a_lost_engine_is_never_taken_for_a_healthy_network() {
    let mut story = Story::with_peers(3);
    story.observe(Observation::Truth(Truth::EngineLost("connection refused".into())));
    let story = story.frame();
    assert_eq!(story.model.picture.summary.verdict, Verdict::Unknown);
    assert!(story.model.picture.engine_lost.is_some());
}

#[test]
fn member_tables_are_asked_for_only_while_they_are_on_screen() {
    let wanted = |story: &Story| {
        story.asked.iter().rev().find_map(|command| match command {
            Command::WatchMembers(node) => Some(node.clone()),
            _ => None,
        })
    };
    let story = Story::with_peers(3);
    assert_eq!(wanted(&story), Some(Some(NodeName::bootstrap())));
    let story = story.press(KeyCode::Char('j'));
    assert_eq!(wanted(&story), Some(Some(NodeName::numbered(1))));
    let mut story = story;
    story.tell(Message::Resized(80, 24));
    assert_eq!(wanted(&story), Some(None), "one pane has no room for it");
    let story = story.press(KeyCode::Char('2'));
    assert_eq!(wanted(&story), Some(Some(NodeName::numbered(1))));
}

#[test]
fn tab_cycles_and_the_ghost_is_taken() {
    let story = Story::with_peers(12).types(":pa").press(KeyCode::Right);
    assert_eq!(story.model.prompt.input.value(), "pause");
    let story = story.types(" node1").press(KeyCode::Tab);
    assert_eq!(story.model.prompt.input.value(), "pause node10");
    let story = story.press(KeyCode::Tab).press(KeyCode::Tab).press(KeyCode::Tab);
    assert_eq!(story.model.prompt.input.value(), "pause node10", "round and round");
    let story = story.press(KeyCode::BackTab);
    assert_eq!(story.model.prompt.input.value(), "pause node12");
}

#[test]
fn earlier_lines_come_back() {
    let story = Story::with_peers(3).enters(":kill 1").enters(":pause 2").types(":ki").press(KeyCode::Up);
    assert_eq!(story.model.prompt.input.value(), "kill 1");
    let story = story.press(KeyCode::Down);
    assert_eq!(story.model.prompt.input.value(), "ki");
    let story = story.ctrl('u').types("2").ctrl('r');
    assert_eq!(story.model.prompt.input.value(), "pause 2");
}

#[test]
fn leaving_asks_and_leaves_the_network_running_unless_told_otherwise() {
    let quit = |farewell| Some(Command::Quit(farewell));
    let story = Story::with_peers(2).press(KeyCode::Char('Q'));
    assert_eq!(story.model.dialog, Some(Dialog::Quit));
    assert_eq!(story.press(KeyCode::Enter).asked.pop(), quit(Farewell::LeftRunning));
    assert_eq!(Story::with_peers(2).ctrl('c').ctrl('c').asked.pop(), quit(Farewell::LeftRunning));
    let story = Story::with_peers(2).press(KeyCode::Char('Q')).press(KeyCode::Esc);
    assert_eq!((story.model.dialog.clone(), story.model.farewell.clone()), (None, None));
    let mut story = story.press(KeyCode::Char('Q')).press(KeyCode::Char('s'));
    assert_eq!(story.asked.last(), Some(&Command::StopNetwork { keep_data: false }));
    story.tell(Message::NetworkStopped(Ok(())));
    assert_eq!(story.asked.pop(), quit(Farewell::Stopped));
    let mut story = Story::with_peers(2);
    story.tell(Message::Signalled("SIGHUP"));
    assert_eq!(story.asked.pop(), quit(Farewell::Signal("SIGHUP")));
}

#[test]
fn progress_that_comes_late_does_not_stay() {
    let mut story = Story::begin();
    let progress = cluster::Progress { step: "starting nodes", done: 1, total: 2 };
    story.tell(Message::StartBegun);
    story.tell(Message::Progressed(progress.clone()));
    assert_eq!(story.model.progress, Some(progress.clone()));
    story.attach();
    story.tell(Message::Started);
    story.tell(Message::Progressed(progress));
    assert_eq!((story.model.progress, story.model.opening), (None, Opening::Open));
}

#[test]
fn a_paste_is_one_line_of_the_prompt() {
    let mut story = Story::with_peers(2);
    story.tell(Message::Pasted("kill 1\nkill 2\u{1b}[A".into()));
    assert_eq!(story.model.prompt.input.value(), "kill 1");
    assert!(story.verbs().is_empty(), "nothing is carried out by pasting");
}

/// `:heal` typed over the answer to `cut` once vanished key by key.
#[test]
fn what_is_typed_over_an_answer_reaches_the_prompt() {
    let mut story = Story::with_peers(2);
    story.model.dialog = Some(Dialog::Answer { title: "cut".into(), lines: vec!["not told: node2".into()], offset: 0 });
    let story = story.types(":heal");
    assert_eq!(story.model.dialog, None);
    assert_eq!(story.model.prompt.input.value(), "heal");
}
