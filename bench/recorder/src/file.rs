//! Files and their paths without an allocation, by system calls that are no cancellation points.
#![allow(unsafe_code, reason = "system calls")]

use core::ffi::c_char;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU64, Ordering};
use libc::{c_int, c_long};

/// An open file.
pub(crate) struct File(pub(crate) c_int);

impl File {
    /// Makes it reach to the end of the `bytes` at `offset`, if it does not. Room on the disk is had at once,
    /// where the file system can: without it a store into a mapping would end the program.
    pub(crate) fn grow(&self, offset: i64, bytes: i64) -> Option<()> {
        // SAFETY: numbers only.
        let grown = unsafe { libc::syscall(libc::SYS_fallocate, self.0, 0, offset, bytes) };
        if grown == 0 {
            return Some(());
        }
        let error = std::io::Error::last_os_error().raw_os_error();
        if error != Some(libc::EOPNOTSUPP) {
            return None;
        }
        // The last byte of a record is always zero, so nothing is lost if another thread was here.
        let (zero, last) = ([0_u8], offset + bytes - 1);
        let written =
            // SAFETY: the byte is there.
            unsafe { libc::syscall(libc::SYS_pwrite64, self.0, zero.as_ptr(), 1_usize, last) };
        (written == 1).then_some(())
    }

    pub(crate) fn write(&self, bytes: &[u8]) {
        // SAFETY: the bytes are there.
        unsafe { libc::syscall(libc::SYS_write, self.0, bytes.as_ptr(), bytes.len()) };
    }

    pub(crate) fn read(&self, bytes: &mut [u8]) -> usize {
        let read =
            // SAFETY: the bytes are there, and ours.
            unsafe { libc::syscall(libc::SYS_read, self.0, bytes.as_mut_ptr(), bytes.len()) };
        usize::try_from(read).unwrap_or(0)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: opened by us, and used by nobody else.
        unsafe { libc::syscall(libc::SYS_close, self.0) };
    }
}

/// A short text that ends with a zero byte, without an allocation.
#[derive(Clone)]
pub(crate) struct Path {
    bytes: [u8; Self::BYTES],
    used: usize,
}

impl Path {
    const BYTES: usize = 1024;
    pub(crate) const WORDS: usize = Self::BYTES / 8;

    /// The text; `None` if it is too long.
    pub(crate) fn new(text: fmt::Arguments<'_>) -> Option<Self> {
        let mut path = Self {
            bytes: [0; Self::BYTES],
            used: 0,
        };
        path.write_fmt(text).ok()?;
        Some(path)
    }

    pub(crate) fn as_bytes(&mut self) -> &[u8] {
        &self.bytes[..self.used]
    }

    pub(crate) const fn as_c_str(&mut self) -> *const c_char {
        self.bytes.as_ptr().cast()
    }

    pub(crate) fn to_words(&self, words: &[AtomicU64; Self::WORDS]) {
        for (word, bytes) in words.iter().zip(self.bytes.as_chunks().0) {
            word.store(u64::from_ne_bytes(*bytes), Ordering::Relaxed);
        }
    }

    pub(crate) fn from_words(words: &[AtomicU64; Self::WORDS]) -> Self {
        let mut bytes = [0; Self::BYTES];
        for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
            *bytes = word.load(Ordering::Relaxed).to_ne_bytes();
        }
        Self {
            bytes,
            used: bytes.iter().position(|&byte| byte == 0).unwrap_or(0),
        }
    }

    pub(crate) fn open(&mut self, flags: c_int) -> Option<File> {
        let flags = flags | libc::O_CLOEXEC;
        let mode: c_long = 0o600;
        let path = self.as_c_str();
        let opened =
            // SAFETY: the path ends with a zero byte.
            unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path, flags, mode) };
        let file = c_int::try_from(opened).ok()?;
        (file >= 0).then_some(File(file))
    }
}

impl Write for Path {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // One byte stays zero.
        let end = self.used + text.len();
        let room = self.bytes[..Self::BYTES - 1].get_mut(self.used..end);
        room.ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.used = end;
        Ok(())
    }
}
