//! The three threads: each takes what is next on its lane, does it and tells.

use std::{
    os::unix::fs::FileExt,
    sync::{Arc, atomic::Ordering},
};

use p2pnet_shared::{
    FilePath,
    wire::folder::{Bytes, CHUNK_MAX_BYTES, Root},
};
use tokio::sync::mpsc::UnboundedSender;

use super::{
    batch::{Batch, refused},
    beneath::{not_as_expected, seen, trouble, trouble_of},
    hash::Reader,
    home::{Home, Own},
    line::{Job, Lane, Line, Work},
    rows::Rows,
    walk::Walk,
};
use crate::{
    folder::{Done, Found, Order, OrderId, Row, Source, Stat, Trouble},
    runtime::pool::Pool,
};

/// From so many bytes on a piece of a file is read into a buffer of the pool.
const POOLED_BYTES: usize = 32 * 1024;

/// What a thread works with.
#[derive(Debug)]
pub(super) struct Hands {
    pub(super) home: Arc<Home>,
    pub(super) line: Arc<Line>,
    pub(super) tell: UnboundedSender<(OrderId, Done)>,
    pub(super) pool: Pool,
}

impl Hands {
    /// Works until the line ends. Only the lane of writes has the rows.
    pub(super) fn run(&self, lane: Lane, rows: Option<Rows>) {
        match (lane, rows) {
            (Lane::Reads, _) => self.read_lane(),
            (Lane::Looks, _) => self.look_lane(),
            (Lane::Writes, Some(rows)) => self.write_lane(rows),
            (Lane::Writes, None) => {}
        }
        self.line.ended();
    }

    /// Tells, and then only lets go on who waited for it: what is told of one thing is told in order.
    fn done(&self, job: &Job, done: Done) {
        let _ = self.tell.send((job.order, done));
        self.line.done(job.ticket, &job.what);
    }

    fn read_lane(&self) {
        let mut reader = Reader::new(&self.home.over);
        while let Some(work) = self.line.next(Lane::Reads) {
            match work {
                Work::Order(job) => {
                    let done = self.look(&job.what, &mut reader);
                    self.done(&job, done);
                }
                Work::Block(block) => block.write(),
                Work::Rows(_) => {}
            }
        }
    }

    fn look_lane(&self) {
        let mut reader = Reader::new(&self.home.over);
        while let Some(work) = self.line.next(Lane::Looks) {
            let Work::Order(job) = work else { continue };
            if let Order::Walk { beneath } = &job.what {
                self.walk(&job, beneath.as_ref(), &mut reader);
            } else {
                let done = self.look(&job.what, &mut reader);
                self.done(&job, done);
            }
            if self.line.is_idle(Lane::Looks) {
                reader.rest();
            }
        }
    }

    fn walk(&self, job: &Job, beneath: Option<&FilePath>, reader: &mut Reader<'_>) {
        let mut walk = Walk::new(beneath);
        loop {
            if self.line.is_closed() {
                return self.done(job, Done::NotWalked(Trouble::Broken));
            }
            match walk.page(&self.home) {
                (page, true) => return self.done(job, page),
                (page, false) => drop(self.tell.send((job.order, page))),
            }
            while let Some(urgent) = self.line.next_urgent() {
                let done = self.look(&urgent.what, reader);
                self.done(&urgent, done);
            }
        }
    }

    /// What changes nothing.
    fn look(&self, what: &Order, reader: &mut Reader<'_>) -> Done {
        let home = &self.home;
        if let Err(why) = home.is_there() {
            return refused(what, why);
        }
        match what {
            Order::Look { path } => Done::Looked(home.beneath.look(path.as_str())),
            Order::Hash { path, stat } => Done::Hashed(hash(home, path, stat, reader)),
            Order::Read { source, offset, length } => Done::Read(read(home, source, *offset, *length, &self.pool)),
            Order::Outline { source, chunk_bytes } => Done::Outlined(outline(home, source, *chunk_bytes, reader)),
            Order::Resume { root, chunk_bytes } => {
                Done::Outlined(outline(home, &Source::Part(*root), *chunk_bytes, reader))
            }
            other => refused(other, Trouble::Broken),
        }
    }

    fn write_lane(&self, mut rows: Rows) {
        let mut reader = Reader::new(&self.home.over);
        let mut batch = Batch::default();
        loop {
            let work = if batch.is_empty() { self.line.next(Lane::Writes) } else { self.line.next_write() };
            match work {
                Some(Work::Order(job)) => self.write(job, &mut batch, &mut reader),
                Some(Work::Rows(batches)) => self.persist(&mut rows, batches),
                Some(Work::Block(_)) => {}
                None if batch.is_empty() => break,
                None => self.finish(&mut batch),
            }
            if batch.is_full() {
                self.finish(&mut batch);
            }
            if self.line.is_idle(Lane::Writes) {
                reader.rest();
            }
        }
    }

    fn write(&self, job: Job, batch: &mut Batch, reader: &mut Reader<'_>) {
        let home = &self.home;
        match &job.what {
            Order::Write { root, size, offset, bytes } => {
                let written = home.is_there().and_then(|()| home.write_part(root, *size, *offset, bytes));
                self.done(&job, Done::Written(written));
            }
            Order::Discard { root } => {
                if home.is_there().is_ok() {
                    home.discard(root);
                }
                self.done(&job, Done::Discarded);
            }
            Order::SetAside { path, stat, root } => {
                let set = home.is_there().and_then(|()| home.set_aside(path, stat, root, reader));
                self.done(&job, Done::SetAside(set));
            }
            Order::Forget { root } => {
                if home.is_there().is_ok() {
                    home.remove(Own::Aside, &root.to_string());
                }
                self.done(&job, Done::Discarded);
            }
            _ => batch.add(home, job, reader),
        }
    }

    fn finish(&self, batch: &mut Batch) {
        if self.home.over.load(Ordering::Relaxed) {
            // Nobody is told any more, and the next start clears away what was made ready.
            *batch = Batch::default();
            return;
        }
        batch.finish(&self.home, |ticket, order, what, done| {
            let _ = self.tell.send((order, done));
            self.line.done(ticket, what);
        });
    }

    fn persist(&self, rows: &mut Rows, batches: Vec<(OrderId, Arc<[Row]>)>) {
        let (orders, batches): (Vec<_>, Vec<_>) = batches.into_iter().unzip();
        let written = self.home.is_there().and_then(|()| rows.write(&self.home, &batches.concat()));
        for order in orders {
            let _ = self.tell.send((order, Done::Persisted(written)));
        }
    }
}

fn hash(home: &Home, path: &FilePath, stat: &Stat, reader: &mut Reader<'_>) -> Result<(Root, Stat), Trouble> {
    let (file, found) = home.beneath.file(path.as_str()).map_err(not_as_expected)?;
    if found != *stat {
        return Err(Trouble::Changed);
    }
    let (root, outline) = reader.root_and_outline(&file, stat.size)?;
    let after = rustix::fs::fstat(&file).map_err(trouble)?;
    // The file may be as it was and another be under its name.
    if seen(&after) != *stat || home.beneath.look(path.as_str())? != Found::File(*stat) {
        return Err(Trouble::Changed);
    }
    home.outlines.keep(path, stat, outline);
    Ok((root, *stat))
}

/// Opens what is to be read, with its size; a file must look as expected.
fn open(home: &Home, source: &Source) -> Result<(std::fs::File, u64), Trouble> {
    let file = match source {
        Source::File { path, stat } => {
            let (file, found) = home.beneath.file(path.as_str()).map_err(not_as_expected)?;
            return if found == *stat { Ok((file, stat.size)) } else { Err(Trouble::Changed) };
        }
        Source::Part(root) => home.part(root)?,
        Source::Upload(number) => {
            home.own_file(Own::Uploads, &number.to_string()).map_err(trouble)?.ok_or(Trouble::Changed)?
        }
        Source::Aside(root) => {
            home.own_file(Own::Aside, &root.to_string()).map_err(trouble)?.ok_or(Trouble::Changed)?
        }
        Source::Memory(_) => return Err(Trouble::Refused),
    };
    let size = file.metadata().map_err(|error| trouble_of(&error))?.len();
    Ok((file, size))
}

/// After it was read: whether it was the same all the time.
fn settled(file: &std::fs::File, source: &Source) -> Result<(), Trouble> {
    match source {
        Source::File { stat, .. } => {
            let now = rustix::fs::fstat(file).map_err(trouble)?;
            // A file that lost its name, or got another, still has the bytes that were asked for.
            let now = Stat { ctime_ns: stat.ctime_ns, ..seen(&now) };
            if now == *stat { Ok(()) } else { Err(Trouble::Changed) }
        }
        _ => Ok(()),
    }
}

fn read(home: &Home, source: &Source, offset: u64, length: u32, pool: &Pool) -> Result<Bytes, Trouble> {
    let count = length as usize;
    if count > CHUNK_MAX_BYTES {
        return Err(Trouble::Refused);
    }
    let end = offset.checked_add(length.into()).ok_or(Trouble::Refused)?;
    if let Source::Memory(bytes) = source {
        let range = usize::try_from(offset).ok().zip(usize::try_from(end).ok()).filter(|(_, end)| *end <= bytes.len());
        return range.map(|(offset, end)| bytes.slice(offset..end)).ok_or(Trouble::Refused);
    }
    let (file, size) = open(home, source)?;
    if end > size {
        return Err(Trouble::Refused);
    }
    let mut bytes = if count < POOLED_BYTES { vec![0; count] } else { pool.take_or_make(count) };
    let read = file.read_exact_at(&mut bytes[..count], offset);
    let bytes = if count < POOLED_BYTES { bytes.into() } else { pool.lend(bytes, 0..count) };
    read.map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => Trouble::Changed,
        _ => trouble_of(&error),
    })?;
    settled(&file, source)?;
    Ok(bytes)
}

fn outline(home: &Home, source: &Source, chunk_bytes: u32, reader: &mut Reader<'_>) -> Result<Vec<[u8; 32]>, Trouble> {
    let (file, size) = open(home, source)?;
    if let Source::File { path, stat } = source
        && let Some(values) = home.outlines.take(path, stat, size.div_ceil(u64::from(chunk_bytes.max(1))))
    {
        return Ok(values);
    }
    let values = reader.outline(&file, size, chunk_bytes)?;
    settled(&file, source)?;
    Ok(values)
}
