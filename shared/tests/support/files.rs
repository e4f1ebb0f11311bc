//! Values of every type of the shared folder that comes over a wire.

use p2pnet_shared::{
    FilePath,
    telemetry::{FileProgress, FolderCounts, FolderEvent, FolderState, HeldFile, Report},
    wire::folder::{
        Author, Bytes, ChunkSet, Content, Context, Dot, Entry, FileContent, FolderDigest, Message, Root, Sibling,
        Transfer,
    },
};
use proptest::{collection::vec, option, prelude::*};

use super::values::{at, name, number};

/// Few, so that they meet; now and then any.
pub fn path() -> BoxedStrategy<FilePath> {
    let text = prop_oneof![
        8 => (0_u32..8).prop_map(|number| format!("folder/file{number}")),
        1 => "[^/\\x00.]{1,60}",
        1 => (1_usize..255).prop_map(|length| "p".repeat(length)),
    ];
    text.prop_map(|text| text.parse().expect("a path")).boxed()
}

pub fn root() -> BoxedStrategy<Root> {
    prop_oneof![4 => (0_u8..8).prop_map(|byte| Root([byte; 32])), 1 => any::<[u8; 32]>().prop_map(Root)].boxed()
}

fn digest() -> BoxedStrategy<FolderDigest> {
    any::<u128>().prop_map(FolderDigest).boxed()
}

fn bytes() -> BoxedStrategy<Bytes> {
    prop_oneof![8 => vec(any::<u8>(), 0..40), 1 => (0_usize..20_000).prop_map(|length| vec![7; length])]
        .prop_map(Bytes::from)
        .boxed()
}

fn author() -> BoxedStrategy<Author> {
    (name(), number()).prop_map(|(node, life)| Author { node, life }).boxed()
}

fn dot() -> BoxedStrategy<Dot> {
    prop_oneof![
        number().prop_map(Dot::Found),
        (author(), number()).prop_map(|(author, count)| Dot::Written(author, count)),
    ]
    .boxed()
}

fn content() -> BoxedStrategy<Content> {
    let file = (root(), number(), any::<i64>(), any::<bool>())
        .prop_map(|(root, size, mtime_ns, executable)| Content::File(FileContent { root, size, mtime_ns, executable }));
    prop_oneof![1 => Just(Content::Tombstone), 3 => file].boxed()
}

pub fn entry() -> BoxedStrategy<Entry> {
    // Sorted, as they should be, or not.
    let context = (vec((author(), number()), 0..4), vec((number(), number()), 0..4), any::<bool>()).prop_map(
        |(mut written, mut found, sound)| {
            if sound {
                written.sort();
                written.dedup_by(|a, b| a.0 == b.0);
                found.sort_unstable();
                found.dedup_by(|a, b| a.0 == b.0);
            }
            Context { written, found }
        },
    );
    let sibling = (dot(), number(), content()).prop_map(|(dot, hlc, content)| Sibling { dot, hlc, content });
    (path(), context, vec(sibling, 0..4))
        .prop_map(|(path, context, siblings)| Entry { path, context, siblings })
        .boxed()
}

fn transfer() -> BoxedStrategy<Transfer> {
    let chunks =
        prop_oneof![Just(ChunkSet::None), Just(ChunkSet::All), vec(any::<u8>(), 0..40).prop_map(ChunkSet::Some),];
    prop_oneof![
        root().prop_map(|root| Transfer::Seek { root }),
        (root(), chunks).prop_map(|(root, chunks)| Transfer::Holds { root, chunks }),
        root().prop_map(|root| Transfer::Enough { root }),
        root().prop_map(|root| Transfer::AskOutline { root }),
        (root(), vec(any::<[u8; 32]>(), 0..5)).prop_map(|(root, values)| Transfer::Outline { root, values }),
        (root(), any::<u32>()).prop_map(|(root, chunk)| Transfer::AskChunk { root, chunk }),
        (root(), any::<u32>(), bytes()).prop_map(|(root, chunk, bytes)| Transfer::Chunk { root, chunk, bytes }),
        (root(), any::<u32>(), option::of(any::<u32>())).prop_map(|(root, chunk, again_ms)| Transfer::NoChunk {
            root,
            chunk,
            again_ms
        }),
        (number(), vec(root(), 0..5)).prop_map(|(call, roots)| Transfer::Fetch { call, roots }),
        (number(), vec((root(), bytes()), 0..5), vec(root(), 0..5), vec(root(), 0..5))
            .prop_map(|(call, files, lacking, later)| Transfer::Bundle { call, files, lacking, later }),
        vec(root(), 0..5).prop_map(|roots| Transfer::Gained { roots }),
    ]
    .boxed()
}

pub fn message() -> BoxedStrategy<Message> {
    let rows = || vec((number(), number()), 0..9);
    prop_oneof![
        vec(entry(), 0..5).prop_map(|entries| Message::Push { entries }),
        digest().prop_map(|index| Message::Compare { index }),
        vec(digest(), 0..9).prop_map(|sums| Message::Buckets { sums }),
        (vec(any::<u8>(), 0..9), rows()).prop_map(|(buckets, rows)| Message::Listing { buckets, rows }),
        vec(number(), 0..9).prop_map(|paths| Message::Ask { paths }),
        (number(), entry(), root()).prop_map(|(call, entry, root)| Message::Confirm { call, entry, root }),
        number().prop_map(|call| Message::Confirmed { call }),
        (number(), digest()).prop_map(|(call, have)| Message::Census { call, have }),
        (number(), option::of(rows()), any::<bool>()).prop_map(|(call, rows, more)| Message::Counted {
            call,
            rows,
            more
        }),
        transfer().prop_map(Message::Transfer),
    ]
    .boxed()
}

/// What a node tells the gateway of its folder.
pub fn report() -> BoxedStrategy<Report> {
    let held = (number(), option::of(number())).prop_map(|(path, root)| HeldFile { path, root });
    let progress = (number(), any::<u32>(), any::<u32>(), any::<u64>(), vec((name(), any::<u32>()), 0..4))
        .prop_map(|(root, chunks, here, map, sources)| FileProgress { root, chunks, here, map, sources });
    let counts = (number(), any::<u32>(), digest(), at(), option::of(name())).prop_map(
        |(files, in_flight, index, since, liar)| FolderCounts {
            state: FolderState::Stalled,
            files,
            in_flight,
            index,
            since,
            liar,
            ..FolderCounts::default()
        },
    );
    let event = prop_oneof![
        (path(), root(), number()).prop_map(|(path, root, size)| FolderEvent::Landed { path, root, size }),
        path().prop_map(|path| FolderEvent::Gone { path }),
        (path(), root(), any::<u32>()).prop_map(|(path, root, holders)| FolderEvent::Uploaded { path, root, holders }),
        (path(), option::of(root())).prop_map(|(path, root)| FolderEvent::Changed { path, root }),
    ];
    prop_oneof![
        counts.prop_map(Report::Folder),
        (any::<bool>(), vec(held, 0..9)).prop_map(|(anew, files)| Report::Files { anew, files }),
        vec(progress, 0..5).prop_map(Report::Progress),
        (event, at()).prop_map(|(event, at)| Report::FolderEvent { event, at }),
    ]
    .boxed()
}
