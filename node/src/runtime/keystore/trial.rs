//! A file that is not written until it has proved good, and not any more once it failed.
//!
//! ```text
//!  Trial ── everything was read and is right: settle() ──▶ Live ── a write failed, or the node ends ──▶ Over
//!    │ writes stay in memory                                 │ writes go to the file                     │ nothing goes on
//!    └── something is wrong: dropped, and the file is as it was
//! ```
//! Opening a redb file writes to it: a repair, marks that it is in use. A file that turns out to be damaged, of another
//! program or of a newer version is to stay as it was, for whoever wants to look at it; and a commit that failed half way
//! is to be gone when the file is opened again in the same life, whatever of it got into the kernel's cache.
//!
//! redb trusts a file that was closed in good order: it reads pages without comparing their checksums, and takes sizes
//! from a header that has none. Here the header is shown to it as that of a node that crashed, without those sizes, so
//! that it always compares every page and measures the file itself. That costs one pass over the file at each start.

use std::{
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use redb::StorageBackend;

/// Where the bytes are: a file, or in tests something worse.
pub(super) type Disk = Box<dyn StorageBackend>;

/// redb's header: magic number, flags, sizes, two commit slots.
pub(super) const HEADER_BYTES: usize = 320;
pub(super) type Header = [u8; HEADER_BYTES];

const MAGIC: &[u8] = b"redb\x1A\x0A\xA9\x0D\x0A";
const FLAGS: usize = 9;
const RECOVERY_REQUIRED: u8 = 2;
const TWO_PHASE_COMMIT: u8 = 4;
/// Page size, pages of a region's own header, pages of a region: always these three in files that redb 3 writes.
const LAYOUT: (usize, [u32; 3]) = (12, [4096, 0, 1024 * 1024]);
/// Number of full regions, pages of the last: shown as the least there is, and redb measures them anew.
const MEASURED: (usize, [u32; 2]) = (24, [0, 1]);
/// Bytes of a page of order 0; one of order 1 is twice as long, and so on.
const PAGE_BYTES: u64 = 4096;
/// Where the two commit slots keep the numbers of their two roots: eight bytes, little endian, the highest five bits of which
/// are the page's order.
const ROOTS: [usize; 4] = [64 + 8, 64 + 40, 192 + 8, 192 + 40];
/// Header page and one more.
const LEAST_BYTES: u64 = 2 * PAGE_BYTES;

#[derive(Debug)]
enum Mode {
    Trial(Overlay),
    Live,
    Over,
}

/// What was written but not to the file.
#[derive(Debug)]
struct Overlay {
    len: u64,
    /// In the order in which they were made.
    writes: Vec<(u64, Vec<u8>)>,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    /// The header as it was last written.
    header: Option<Header>,
    /// The first thing that went wrong.
    trouble: Option<io::Error>,
}

/// The file, shared between redb and whoever watches over it.
#[derive(Clone)]
pub(super) struct Trial(Arc<(Disk, Mutex<State>)>);

impl fmt::Debug for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Trial").field(&self.state().mode).finish()
    }
}

impl Trial {
    /// A file that was made just now: nothing in it needs care.
    pub(super) fn new_file(disk: Disk) -> Self {
        Self::with(disk, Mode::Live, None)
    }

    /// A file that is there, on trial. `good` is the header after the last commit, if this life made one.
    ///
    /// # Errors
    /// What is wrong with its first bytes, or an error of the disk.
    pub(super) fn existing(disk: Disk, good: Option<Header>) -> Result<Self, Wrong> {
        let len = disk.len()?;
        if len < LEAST_BYTES {
            return Err(Wrong::Shape(format!("it is only {len} bytes long")));
        }
        let mut header = [0; HEADER_BYTES];
        match good {
            Some(good) => header = good,
            None => disk.read(0, &mut header)?,
        }
        if !header.starts_with(MAGIC) {
            return Err(Wrong::Shape("it is not a redb file".to_owned()));
        }
        let (at, layout) = LAYOUT;
        for (place, expected) in layout.into_iter().enumerate() {
            let field = &mut header[at + place * 4..][..4];
            if *field != expected.to_le_bytes() {
                return Err(Wrong::Shape("its header is damaged, or of another version of redb".to_owned()));
            }
        }
        // redb falls back to the older commit without looking at its slot's checksum, and makes room for its roots before it
        // reads them: a damaged order is a terabyte, and nobody survives asking for that.
        let is_absurd = |root: &usize| PAGE_BYTES << (header[root + 7] >> 3) > len;
        if ROOTS.iter().any(is_absurd) {
            return Err(Wrong::Shape("its header is damaged: it names pages larger than the file".to_owned()));
        }
        header[FLAGS] = (header[FLAGS] | RECOVERY_REQUIRED) & !TWO_PHASE_COMMIT;
        let (at, measured) = MEASURED;
        for (place, least) in measured.into_iter().enumerate() {
            header[at + place * 4..][..4].copy_from_slice(&least.to_le_bytes());
        }
        let writes = vec![(0, header.to_vec())];
        Ok(Self::with(disk, Mode::Trial(Overlay { len, writes }), Some(header)))
    }

    fn with(disk: Disk, mode: Mode, header: Option<Header>) -> Self {
        Self(Arc::new((disk, Mutex::new(State { mode, header, trouble: None }))))
    }

    fn disk(&self) -> &Disk {
        &self.0.0
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.1.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file is good: writes what opening it wrote, and from now on everything.
    ///
    /// # Errors
    /// Of the disk.
    pub(super) fn settle(&self) -> io::Result<()> {
        let mut state = self.state();
        let Mode::Trial(overlay) = &state.mode else { return Ok(()) };
        if self.disk().len()? != overlay.len {
            self.disk().set_len(overlay.len)?;
        }
        for (offset, bytes) in &overlay.writes {
            self.disk().write(*offset, bytes)?;
        }
        self.disk().sync_data()?;
        state.mode = Mode::Live;
        Ok(())
    }

    /// Nothing more is read or written.
    pub(super) fn end(&self) {
        self.state().mode = Mode::Over;
    }

    /// The header as it was last written.
    pub(super) fn header(&self) -> Option<Header> {
        self.state().header
    }

    /// The first thing that went wrong, once.
    pub(super) fn take_trouble(&self) -> Option<io::Error> {
        self.state().trouble.take()
    }

    /// Remembers what went wrong: redb tells only the caller of that moment, which may have been one of its own.
    fn noting<T>(&self, done: io::Result<T>) -> io::Result<T> {
        done.map_err(|error| {
            let told = match error.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => io::Error::new(error.kind(), error.to_string()),
            };
            self.state().trouble.get_or_insert(error);
            told
        })
    }
}

fn over() -> io::Error {
    io::Error::other("the file is closed")
}

impl StorageBackend for Trial {
    fn len(&self) -> io::Result<u64> {
        match &self.state().mode {
            Mode::Trial(overlay) => return Ok(overlay.len),
            Mode::Live => {}
            Mode::Over => return Err(over()),
        }
        self.noting(self.disk().len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state();
        let overlay = match &state.mode {
            Mode::Trial(overlay) => overlay,
            Mode::Over => return Err(over()),
            Mode::Live => {
                drop(state);
                return self.noting(self.disk().read(offset, out));
            }
        };
        let end = offset.checked_add(out.len() as u64).filter(|end| *end <= overlay.len);
        let end = end.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "the file ends before its data"))?;
        // What lies beyond the file's own end is zero until it is written.
        let own = self.disk().len()?.saturating_sub(offset).min(out.len() as u64) as usize;
        self.disk().read(offset, &mut out[..own])?;
        out[own..].fill(0);
        for (at, bytes) in &overlay.writes {
            let (from, to) = (offset.max(*at), end.min(at + bytes.len() as u64));
            if from < to {
                let (here, there) = ((from - offset) as usize..(to - offset) as usize, (from - at) as usize);
                let length = here.len();
                out[here].copy_from_slice(&bytes[there..there + length]);
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        match &mut self.state().mode {
            Mode::Trial(overlay) => {
                overlay.len = len;
                return Ok(());
            }
            Mode::Live => {}
            Mode::Over => return Err(over()),
        }
        self.noting(self.disk().set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        match &self.state().mode {
            Mode::Trial(_) => return Ok(()),
            Mode::Live => {}
            Mode::Over => return Err(over()),
        }
        self.noting(self.disk().sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        if offset == 0
            && let Some(header) = data.first_chunk::<HEADER_BYTES>()
        {
            state.header = Some(*header);
        }
        match &mut state.mode {
            Mode::Trial(overlay) => {
                overlay.writes.push((offset, data.to_vec()));
                return Ok(());
            }
            Mode::Live => {}
            Mode::Over => return Err(over()),
        }
        drop(state);
        self.noting(self.disk().write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.disk().close()
    }
}

/// Why a file is not what we can use.
#[derive(Debug)]
pub(super) enum Wrong {
    /// Its bytes.
    Shape(String),
    /// The disk.
    Disk(io::Error),
}

impl From<io::Error> for Wrong {
    fn from(error: io::Error) -> Self {
        Wrong::Disk(error)
    }
}
