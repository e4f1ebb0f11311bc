//! What happened in a run, counted: the proof that a fault was not only ordered but struck.

macro_rules! counters {
    ($of:ident: $($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts of one run, or of many added up.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub(crate) struct $of { $($(#[$doc])* pub(crate) $name: u64,)* }

        impl $of {
            /// Every count with its name.
            pub(crate) fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }

            pub(crate) fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

counters! { Counters:
    /// Datagrams handed to the wire.
    datagrams,
    /// Of which chance took so many.
    lost,
    /// And so many arrived twice.
    duplicated,
    /// Overtaken by a later one, because they were held back.
    reordered,
    /// Took longer than the wire takes.
    delayed,
    /// Stopped by a cut.
    cut,
    /// Too large for the wire.
    oversized,
    /// Frames or dials that TCP had to send again.
    retransmitted,
    /// Links that a cut broke.
    links_broken,
    crashes,
    /// Next lives of a name.
    restarts,
    /// Of which so many at another address.
    moved,
    /// Of which so many found the wall clock behind their last epoch.
    clock_behind,
    goodbyes,
    /// Stops and starts of a process, CPU stalls and flapping included.
    pauses,
    /// Events that waited for a paused process.
    held,
    /// Datagrams that a paused process' socket had no room for.
    socket_overflow,
    /// Datagrams with a wrong key, a flipped bit or too few bytes, refused.
    corrupted,
    /// Datagrams that came again.
    replayed,
    suspected,
    refuted,
    died,
    /// Deaths of nodes that ran.
    false_deaths,
    came_back,
    left,
    published,
    delivered,
}

counters! { KeyCounters:
    /// Questions of users that a running node took.
    asked,
    acknowledged,
    found,
    missing,
    /// Answers that named too few copies.
    too_few,
    /// Answers that passed on a refusal.
    refused,
    /// Requests whose node died under them.
    abandoned,
    /// Gets that showed siblings.
    siblings_shown,
    /// Packets handed to a connection.
    packets,
    /// Writes handed to a coordinator, and handed on by one that was none.
    forwards,
    forwarded_on,
    /// Writes refused because their time was over.
    late_forwards,
    /// Copies given to a node that is none of the first `n` by the truth: stand-ins.
    stand_ins,
    /// Writes acknowledged while fewer than `w` of the first `n` had them.
    sloppy_writes,
    /// Merges sent by a node that had only read.
    read_repairs,
    /// Entries with more than one version that reached a disk.
    siblings_made,
    /// Copies that came to a disk that had none of the key.
    copies_made,
    /// Copies handed over and dropped.
    copies_dropped,
    dials_refused,
    /// Looks at a connection that a cut held up.
    stalled_packets,
    /// Connections that a cut broke.
    pipes_broken,
    /// Times a store was told that a member cannot be reached.
    unreachable,
    /// Packets that a dying process had written and that arrived after its death.
    last_words,
    commits,
    slow_commits,
    /// Commits that failed, the disk being full or broken.
    disk_failures,
    /// Batches that a crash lost.
    unsaved_batches,
    /// Disks that nobody will read again.
    disks_destroyed,
    /// Nodes that came back with an empty disk.
    disks_replaced,
    /// Keys of which all copies were destroyed, by more deaths in one repair window than is promised to be survived.
    keys_lost,
}
