//! Where records go: a file that is mapped, so that what was written stays however the process ends.
//!
//! A record's place is claimed by adding one to a counter, which is all that threads share. The file
//! grows by chunks; two threads that find the same one missing both map it, and one of them unmaps its
//! own again. Nobody waits.
//!
//! A fork would have parent and child write to the same places. So all of this lives in memory that the
//! system wipes in the child (`MADV_WIPEONFORK`), which thus begins anew: with a file of its own, or not
//! at all. A `vfork` shares memory, and so the recording.
//!
//! The file is opened again for each chunk and kept open for none: programs close descriptors that they
//! do not know.
//!
//! # Invariants
//!
//! 1. `STATE` is null or a mapping of our own that is never unmapped; all zeros is a value of it.
//! 2. A chunk's address is null, `FAILED`, or a mapping of `CHUNK_BYTES` that is never unmapped.
#![allow(unsafe_code, reason = "system calls, and records by address")]

use crate::file::Path;
use crate::layout::{
    CHILDREN_VARIABLE, CHUNK_RECORDS, CHUNKS, FIRST_FILE, FOLDER_VARIABLE, Kind, MAGIC,
    RECORD_BYTES, Record,
};
use core::ffi::{CStr, c_char};
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use libc::{c_int, c_void};

/// A record's words.
type Words = [AtomicU64; 4];

/// Bytes of a chunk.
#[expect(clippy::cast_possible_truncation, reason = "1 MiB")]
const CHUNK_BYTES: usize = CHUNK_RECORDS as usize * RECORD_BYTES;
/// The word of the header that counts what was lost.
const LOST: usize = 2;
/// Recordings of one process: it becomes another program no oftener than this.
const PROGRAMS: u32 = 1000;
/// Stands for a chunk that there was no room for.
const FAILED: *mut Words = ptr::without_provenance_mut(1);

/// Nothing yet, in a new process and after a fork.
const NEW: u32 = 0;
/// Somebody finds out whether this process is to be recorded.
const BEGINNING: u32 = 1;
/// It is.
const RECORDING: u32 = 2;
/// It is not.
const OFF: u32 = 3;

/// All that a process knows of its recording.
struct State {
    phase: AtomicU32,
    /// The place of the next record.
    next: AtomicU64,
    /// The file's path, written before the phase says that there is one.
    path: [AtomicU64; Path::WORDS],
    chunks: [AtomicPtr<Words>; CHUNKS],
}

static STATE: AtomicPtr<State> = AtomicPtr::new(ptr::null_mut());

/// Records what happened, if this process is recorded.
pub(crate) fn note(kind: Kind, address: *mut c_void, size: usize, align_log2: u8) {
    let state = STATE.load(Ordering::Acquire);
    // SAFETY: invariant 1.
    let state = match unsafe { state.as_ref() } {
        Some(state) if state.phase.load(Ordering::Acquire) == RECORDING => state,
        Some(state) if state.phase.load(Ordering::Relaxed) != NEW => return,
        state => match keeping_errno(|| begin(state)) {
            Some(state) => state,
            None => return,
        },
    };
    // SAFETY: it takes nothing and cannot fail.
    let thread = unsafe { libc::syscall(libc::SYS_gettid) };
    let record = Record {
        kind,
        align_log2,
        thread: u32::try_from(thread).unwrap_or(0),
        address: address.addr() as u64,
        size: size as u64,
    };
    state.push(record);
}

impl State {
    fn push(&self, record: Record) {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        let Some(place) = self.place(index) else {
            if let Some(header) = self.place(0) {
                header[LOST].fetch_add(1, Ordering::Relaxed);
            }
            return;
        };
        let [first, address, size] = record.to_words();
        place[1].store(address, Ordering::Relaxed);
        place[2].store(size, Ordering::Relaxed);
        // Last: a record is there when it is whole.
        place[0].store(first, Ordering::Release);
    }

    /// The place of the record `index`; `None` if there is no room for it.
    fn place(&self, index: u64) -> Option<&Words> {
        let number = usize::try_from(index / CHUNK_RECORDS).ok()?;
        let within = usize::try_from(index % CHUNK_RECORDS).ok()?;
        let chunk = self.chunks.get(number)?;
        let mut start = chunk.load(Ordering::Acquire);
        if start.is_null() {
            start = keeping_errno(|| self.grow(number));
        }
        if start == FAILED {
            return None;
        }
        // SAFETY: invariant 2; `within` is below a chunk's records.
        let place = unsafe { start.add(within) };
        // SAFETY: as above, and only atomics are ever made of the mapping.
        Some(unsafe { &*place })
    }

    /// Maps the chunk `number`, or finds that another thread has.
    #[cold]
    fn grow(&self, number: usize) -> *mut Words {
        let path = Path::from_words(&self.path);
        let start = map_chunk(&path, number).unwrap_or(FAILED);
        let chunk = &self.chunks[number];
        let ours =
            chunk.compare_exchange(ptr::null_mut(), start, Ordering::AcqRel, Ordering::Acquire);
        match ours {
            Ok(_) => start,
            Err(theirs) => {
                if start != FAILED {
                    // SAFETY: the mapping is ours, and nobody has seen it.
                    unsafe { libc::munmap(start.cast(), CHUNK_BYTES) };
                }
                theirs
            }
        }
    }
}

/// Finds out whether this process is to be recorded, and begins if so.
#[cold]
fn begin(state: Option<&'static State>) -> Option<&'static State> {
    let state = match state {
        Some(state) => state,
        None => new_state()?,
    };
    let phase = &state.phase;
    let ours = phase.compare_exchange(NEW, BEGINNING, Ordering::AcqRel, Ordering::Relaxed);
    // Others, and a signal's handler that comes here meanwhile, go without.
    ours.ok()?;
    // SAFETY: reads a pointer that the C library sets before the program starts.
    if unsafe { environ }.is_null() {
        // Too early to know.
        phase.store(NEW, Ordering::Release);
        return None;
    }
    let Some(path) = recording_path() else {
        phase.store(OFF, Ordering::Release);
        return None;
    };
    path.to_words(&state.path);
    let Some(header) = state.place(0) else {
        phase.store(OFF, Ordering::Release);
        return None;
    };
    header[1].store(u64::from(std::process::id()), Ordering::Relaxed);
    header[0].store(u64::from_ne_bytes(MAGIC), Ordering::Relaxed);
    state.next.store(1, Ordering::Relaxed);
    phase.store(RECORDING, Ordering::Release);
    Some(state)
}

unsafe extern "C" {
    // SAFETY: every Linux C library has it (POSIX, environ).
    static environ: *const *const c_char;
}

/// Memory for the state, which forks wipe.
fn new_state() -> Option<&'static State> {
    let new = map(
        size_of::<State>(),
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        -1,
        0,
    )?;
    // SAFETY: the mapping is ours.
    let wiped = unsafe { libc::madvise(new, size_of::<State>(), libc::MADV_WIPEONFORK) };
    let place = &STATE;
    let stored = (wiped == 0).then(|| {
        place.compare_exchange(
            ptr::null_mut(),
            new.cast(),
            Ordering::AcqRel,
            Ordering::Acquire,
        )
    });
    let state = match stored {
        Some(Ok(_)) => new.cast(),
        other => {
            // SAFETY: the mapping is ours, and nobody has seen it.
            unsafe { libc::munmap(new, size_of::<State>()) };
            other?.err()?
        }
    };
    // SAFETY: invariant 1.
    unsafe { state.as_ref() }
}

/// Makes this process's file and returns its path; `None` if it is not to be recorded.
fn recording_path() -> Option<Path> {
    let folder = variable(FOLDER_VARIABLE)?;
    let process = std::process::id();
    let mut first = Path::new(format_args!("{folder}/{FIRST_FILE}"))?;
    if let Some(file) = first.open(libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY) {
        let mut number = Path::new(format_args!("{process}"))?;
        file.write(number.as_bytes());
    } else {
        let mut number = [0; 16];
        let file = first.open(libc::O_RDONLY)?;
        let read = file.read(&mut number);
        let number = core::str::from_utf8(number.get(..read)?).ok()?;
        if number.parse() != Ok(process) && variable(CHILDREN_VARIABLE).is_none() {
            return None;
        }
    }
    (0..PROGRAMS).find_map(|program| {
        let mut path = Path::new(format_args!("{folder}/{process}.{program}"))?;
        let new = path.open(libc::O_CREAT | libc::O_EXCL | libc::O_RDWR);
        new.map(|_| path)
    })
}

/// The value of an environment variable.
fn variable(name: &str) -> Option<&'static str> {
    let mut name = Path::new(format_args!("{name}"))?;
    // SAFETY: the name ends with a zero byte.
    let value = unsafe { libc::getenv(name.as_c_str()) };
    if value.is_null() {
        return None;
    }
    // SAFETY: what `getenv` returns ends with a zero byte, and we are done with it before anybody could
    // change the environment, as far as that is possible at all.
    unsafe { CStr::from_ptr(value) }.to_str().ok()
}

/// Maps the chunk `number` of the file `path`, which grows as far as needed.
fn map_chunk(path: &Path, number: usize) -> Option<*mut Words> {
    let file = path.clone().open(libc::O_RDWR)?;
    let offset = i64::try_from(number * CHUNK_BYTES).ok()?;
    file.grow(offset, CHUNK_BYTES as i64)?;
    map(CHUNK_BYTES, libc::MAP_SHARED, file.0, offset).map(<*mut c_void>::cast)
}

fn map(bytes: usize, flags: c_int, file: c_int, offset: i64) -> Option<*mut c_void> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping, wherever the system has room.
    let start = unsafe { libc::mmap(ptr::null_mut(), bytes, access, flags, file, offset) };
    (start != libc::MAP_FAILED).then_some(start)
}

/// Runs `work` and leaves `errno` as it was.
fn keeping_errno<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: the address of this thread's own.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { errno.read() };
    let result = work();
    // SAFETY: as above.
    unsafe { errno.write(before) };
    result
}

/// Begins when the library is loaded, before the program could fork: so that it is the program that was
/// started which comes first, and that one which never allocates leaves a recording too.
#[used]
#[unsafe(link_section = ".init_array")]
static ON_LOAD: extern "C" fn() = on_load;

extern "C" fn on_load() {
    // SAFETY: invariant 1.
    let state = unsafe { STATE.load(Ordering::Acquire).as_ref() };
    if state.is_none_or(|state| state.phase.load(Ordering::Relaxed) == NEW) {
        keeping_errno(|| begin(state));
    }
}
