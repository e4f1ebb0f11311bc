//! What happened in a run, counted: the proof that a fault was not only ordered but struck.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts of one run, or of many added up.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub(crate) struct Counters { $($(#[$doc])* pub(crate) $name: u64,)* }

        impl Counters {
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

counters! {
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
