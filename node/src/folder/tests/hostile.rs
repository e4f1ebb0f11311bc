//! What no correct node sends.

use p2pnet_shared::wire::folder::{
    Author, Context, Entry, FolderDigest, LISTING_ROWS_MAX, Message, PUSH_ENTRIES_MAX, Root,
};

use super::{network::Net, node, path};
use crate::{
    folder::{Config, Effect, Input, State},
    time::Millis,
};

/// What a node of a network of two says to this.
fn said(state: &mut State, at: u64, message: Message) -> Vec<Message> {
    let mut effects = Vec::new();
    state.handle(Millis(at), Input::Received { from: node(2), message }, &mut effects);
    let sent = effects.into_iter().filter_map(|effect| match effect {
        Effect::Send { to, message } if to == node(2) => Some(message),
        _ => None,
    });
    sent.collect()
}

/// A node with some files, and a time at which it says nothing of itself.
fn quiet(files: u32) -> (State, u64) {
    let mut config = Config::default();
    config.compare_period.0 = 1_000_000;
    let mut net = Net::empty(1, config);
    for file in 0..files {
        net.disk(1).write(&path(&format!("{file}")), file.to_be_bytes().to_vec());
    }
    net.start(&node(1));
    net.start(&node(2));
    net.run(5_000);
    net.crash(&node(2));
    (net.nodes.get_mut(&node(1)).unwrap().state.take().unwrap(), 5_000)
}

fn compare() -> Message {
    Message::Compare { index: FolderDigest(1) }
}

#[test]
fn who_compares_without_end_is_answered_now_and_then() {
    let (mut state, at) = quiet(10);
    let answers: usize = (0..1_000).map(|step| said(&mut state, at + step, compare()).len()).sum();
    assert!(answers <= 20, "{answers} answers in a second");
}

#[test]
fn a_listing_counts_once_and_only_after_our_buckets() {
    let (mut state, at) = quiet(3_000);
    let all: Vec<u8> = (0..=255).collect();
    let listing = || Message::Listing { buckets: all.clone(), rows: Vec::new() };
    assert!(said(&mut state, at, listing()).is_empty(), "it was not asked for");
    assert_eq!(said(&mut state, at + 500, compare()).len(), 1);
    let pushed = |messages: &[Message]| -> usize {
        let count = |message: &Message| if let Message::Push { entries } = message { entries.len() } else { 0 };
        messages.iter().map(count).sum()
    };
    let answer = said(&mut state, at + 501, listing());
    assert_eq!(pushed(&answer), 1_024, "a burst, and no more");
    assert!(said(&mut state, at + 502, listing()).is_empty());
}

#[test]
fn rows_that_lie_or_are_too_many_are_refused() {
    let (mut state, at) = quiet(100);
    let row = |bucket: u8, rest: u64| ((u64::from(bucket) << 56) | rest, 1);
    let lies = [
        Message::Listing { buckets: vec![2, 1], rows: Vec::new() },
        Message::Listing { buckets: vec![1, 1], rows: Vec::new() },
        Message::Listing { buckets: vec![1], rows: vec![row(2, 0)] },
        Message::Listing { buckets: vec![1], rows: vec![row(1, 5), row(1, 4)] },
        Message::Listing { buckets: vec![1], rows: vec![row(1, 5), row(1, 5)] },
        Message::Listing { buckets: vec![1], rows: (0..=LISTING_ROWS_MAX as u64).map(|n| row(1, n)).collect() },
    ];
    for (number, lie) in (1..).zip(lies) {
        let at = at + number * 1_000;
        assert_eq!(said(&mut state, at, compare()).len(), 1);
        assert!(said(&mut state, at + 1, lie).is_empty(), "lie {number}");
        assert_eq!(state.dropped().1, number);
    }
    let ask = Message::Ask { paths: vec![0; 1_000_000] };
    assert!(said(&mut state, at + 20_000, ask).is_empty(), "nobody sent it a listing");
    assert!(said(&mut state, at + 20_001, Message::Buckets { sums: vec![FolderDigest(0); 256] }).is_empty());
}

#[test]
fn entries_that_make_no_sense_are_not_taken_in() {
    let (mut state, at) = quiet(5);
    let before = state.counts();
    let author = Author { node: node(2), life: 1 };
    let entry = Entry {
        path: path("x"),
        // The same author twice.
        context: Context { written: vec![(author.clone(), 1), (author, 2)], found: Vec::new() },
        siblings: Vec::new(),
    };
    said(&mut state, at, Message::Push { entries: vec![entry.clone()] });
    said(&mut state, at, Message::Push { entries: vec![entry.clone(); PUSH_ENTRIES_MAX + 1] });
    said(&mut state, at, Message::Confirm { call: 1, entry, root: Root([0; 32]) });
    said(&mut state, at, Message::Confirmed { call: 1 });
    said(&mut state, at, Message::Counted { call: 1, rows: Some(vec![(5, 5), (4, 4)]), more: true });
    let after = state.counts();
    assert_eq!((after.index, after.files), (before.index, before.files));
    assert_eq!(state.dropped().1, 1);
}

#[test]
fn who_is_no_member_gets_no_answer() {
    let (mut state, at) = quiet(5);
    for message in [compare(), Message::Census { call: 1, have: FolderDigest(0) }] {
        let mut effects = Vec::new();
        state.handle(Millis(at), Input::Received { from: node(9), message }, &mut effects);
        assert!(!effects.iter().any(|effect| matches!(effect, Effect::Send { .. })), "{effects:?}");
    }
}
