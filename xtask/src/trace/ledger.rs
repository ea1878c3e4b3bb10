//! What is live after each event, and whether the next one is allowed.

use super::error::ErrorKind;
use super::event::{Action, Event};
use wire::trace::THREADS_MAX;

/// What lives under an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// An object.
    Object {
        /// Its bytes.
        size: u32,
        /// Its alignment as a power of two; 0 where none is named.
        align_log2: u8,
    },
    /// A block of page frames.
    Pages {
        /// There are 2^order of them.
        order: u32,
    },
}

impl Shape {
    /// Bytes asked for.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Object { size, .. } => size as u64,
            Self::Pages { order } => 4096 << order,
        }
    }

    /// The event that allocates such a thing under `id`.
    pub const fn allocate(self, id: u32) -> Action {
        match self {
            Self::Object { size, align_log2 } => Action::Alloc {
                id,
                size,
                align_log2,
                zeroed: false,
            },
            Self::Pages { order } => Action::Pages { id, order },
        }
    }
}

/// What an event did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Something lives that did not.
    Made(Shape),
    /// An object has another size.
    Resized {
        /// Before.
        from: Shape,
        /// From now on.
        to: Shape,
    },
    /// What lived no longer does.
    Freed(Shape),
}

/// All ids of a trace so far.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// What lives, by id. Ids are dense, so its length is the next new one.
    live: Vec<Option<Shape>>,
    /// The largest thread seen.
    last_thread: u32,
    events: u32,
    live_bytes: u64,
    peak_bytes: u64,
}

impl Ledger {
    /// Notes an event.
    ///
    /// # Errors
    ///
    /// Why the state of its id forbids it.
    pub fn take(&mut self, event: &Event) -> Result<Change, ErrorKind> {
        self.events = self.events.checked_add(1).ok_or(ErrorKind::TooMany)?;
        let change = self.change(event.action)?;
        match change {
            Change::Made(shape) => self.live_bytes += shape.bytes(),
            Change::Resized { from, to } => {
                self.live_bytes = self.live_bytes - from.bytes() + to.bytes();
            }
            Change::Freed(shape) => self.live_bytes -= shape.bytes(),
        }
        self.peak_bytes = self.peak_bytes.max(self.live_bytes);
        Ok(change)
    }

    fn change(&mut self, action: Action) -> Result<Change, ErrorKind> {
        match action {
            Action::Alloc {
                id,
                size,
                align_log2,
                ..
            } => self.make(id, Shape::Object { size, align_log2 }),
            Action::Pages { id, order } => self.make(id, Shape::Pages { order }),
            Action::Realloc { id, size } => match self.find(id, ErrorKind::ReallocAfterFree)? {
                from @ Shape::Object { align_log2, .. } => {
                    let to = Shape::Object { size, align_log2 };
                    self.live[id as usize] = Some(to);
                    Ok(Change::Resized { from, to })
                }
                Shape::Pages { .. } => Err(ErrorKind::NotAnObject(id)),
            },
            Action::Free { id } | Action::FreePages { id } => {
                let shape = self.find(id, ErrorKind::DoubleFree)?;
                match (action, shape) {
                    (Action::Free { .. }, Shape::Pages { .. }) => Err(ErrorKind::NotAnObject(id)),
                    (Action::FreePages { .. }, Shape::Object { .. }) => {
                        Err(ErrorKind::NotPages(id))
                    }
                    _ => {
                        self.live[id as usize] = None;
                        Ok(Change::Freed(shape))
                    }
                }
            }
        }
    }

    /// Checks that what follows may be done by `thread`, and notes it.
    ///
    /// # Errors
    ///
    /// If it is not the next new one, nor one before that.
    pub fn switch_to(&mut self, thread: u32) -> Result<u16, ErrorKind> {
        let next = self.last_thread + 1;
        if thread > next {
            return Err(ErrorKind::ThreadNotDense { thread, next });
        }
        self.last_thread = self.last_thread.max(thread);
        u16::try_from(thread).map_err(|_| ErrorKind::TooManyThreads(THREADS_MAX))
    }

    /// Threads so far, at least 1.
    pub const fn threads(&self) -> u32 {
        self.last_thread + 1
    }

    /// Events so far.
    pub const fn events(&self) -> u32 {
        self.events
    }

    /// Bytes that are live now, page frames included.
    pub const fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// The most that ever were.
    pub const fn peak_bytes(&self) -> u64 {
        self.peak_bytes
    }

    /// Ids so far.
    pub const fn ids(&self) -> usize {
        self.live.len()
    }

    /// What lives now, by id.
    pub fn live(&self) -> impl Iterator<Item = (u32, Shape)> {
        let all = (0..).zip(&self.live);
        all.filter_map(|(id, shape)| Some((id, (*shape)?)))
    }

    fn make(&mut self, id: u32, shape: Shape) -> Result<Change, ErrorKind> {
        let next = u32::try_from(self.live.len()).map_err(|_| ErrorKind::TooMany)?;
        if id < next {
            return Err(ErrorKind::AllocatedTwice(id));
        }
        if id > next {
            return Err(ErrorKind::NotDense { id, next });
        }
        self.live.push(Some(shape));
        Ok(Change::Made(shape))
    }

    /// What lives under `id`; `when_free` is the error if it no longer does.
    fn find(&self, id: u32, when_free: fn(u32) -> ErrorKind) -> Result<Shape, ErrorKind> {
        let known = self.live.get(id as usize);
        let shape = known.ok_or(ErrorKind::UnknownId(id))?;
        shape.ok_or_else(|| when_free(id))
    }
}
