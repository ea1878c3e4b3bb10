//! The serial line: frames for the host, plain ASCII for whoever has only a terminal.
//!
//! Every message is a [`wire::frame`], sent whole under one lock with interrupts masked, so that
//! messages from handlers and from several cores never mix. Two situations cannot wait for that: boot
//! before the UART is mapped says nothing at all, and a fault or panic may have struck in the middle
//! of a frame. [`emergency`] is for the latter: it takes the line over for good, ends what was torn,
//! and lets plain ASCII through.

#![allow(
    unsafe_code,
    reason = "takes the line away from a core that died while sending"
)]

use crate::{
    arch::timer,
    sync::{Rank, SpinLock, SpinLockGuard},
};
use core::{
    fmt,
    sync::atomic::{AtomicUsize, Ordering},
};
use platform::pl011::Pl011;
use wire::{
    control::Control,
    frame::{Channel, Encoder},
};

/// The UART and the frame being sent.
#[derive(Debug)]
pub struct Console {
    uart: Option<Pl011>,
    encoder: Encoder,
}

static CONSOLE: SpinLock<Console> = SpinLock::new(
    Rank::Console,
    Console {
        uart: None,
        encoder: Encoder::new(),
    },
);

/// The core that owns the line for good, plus one; 0 while nobody does.
static TAKEN_OVER: AtomicUsize = AtomicUsize::new(0);

impl Console {
    /// Opens a frame.
    pub fn start(&mut self, channel: Channel) {
        let uart = self.uart;
        self.encoder.start(channel, |byte| send(uart, byte));
    }

    /// Adds to the open frame.
    pub fn write(&mut self, bytes: &[u8]) {
        let uart = self.uart;
        self.encoder.write(bytes, |byte| send(uart, byte));
    }

    /// Closes the open frame.
    pub fn finish(&mut self) {
        let uart = self.uart;
        self.encoder.finish(|byte| send(uart, byte));
    }

    /// Sends one frame.
    pub fn frame(&mut self, channel: Channel, parts: &[&[u8]]) {
        self.start(channel);
        parts.iter().for_each(|part| self.write(part));
        self.finish();
    }
}

fn send(uart: Option<Pl011>, byte: u8) {
    if let Some(uart) = uart {
        uart.send(byte);
    }
}

/// Gives the console its UART, and greets whoever has a plain terminal.
pub fn init(uart: Pl011) {
    "\r\nTessera: console up\r\n"
        .bytes()
        .for_each(|byte| uart.send(byte));
    CONSOLE.lock().uart = Some(uart);
}

/// The console, for one frame. A core that comes after [`emergency`] stops here for good.
pub fn lock() -> SpinLockGuard<'static, Console> {
    let console = CONSOLE.lock();
    let owner = TAKEN_OVER.load(Ordering::Relaxed);
    if owner != 0 && owner != crate::sync::percpu::cpu() + 1 {
        drop(console);
        crate::arch::cpu::park();
    }
    console
}

/// Sends one frame of one piece.
pub fn frame(channel: Channel, payload: &[u8]) {
    lock().frame(channel, &[payload]);
}

/// Sends text for the user.
pub fn text(bytes: &[u8]) {
    frame(Channel::Text, bytes);
}

/// Sends a control message; one that does not fit 512 bytes is a kernel bug.
pub fn control(message: &Control<'_>) {
    let mut buffer = [0; 512];
    let encoded = wire::control::encode(message, &mut buffer);
    frame(
        Channel::Control,
        encoded.expect("control messages fit their buffer"),
    );
}

/// Waits until everything has left the UART.
pub fn flush() {
    if let Some(uart) = lock().uart {
        uart.flush();
    }
}

/// Text for the user, gathered into frames: formatting may run code that logs, so it happens outside
/// the lock.
#[derive(Debug)]
pub struct Text {
    buffer: [u8; 256],
    used: usize,
}

impl Text {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self {
            buffer: [0; 256],
            used: 0,
        }
    }

    fn send(&mut self) {
        if self.used > 0 {
            text(&self.buffer[..self.used]);
            self.used = 0;
        }
    }
}

impl Default for Text {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            if self.used == self.buffer.len() {
                self.send();
            }
            self.buffer[self.used] = byte;
            self.used += 1;
        }
        Ok(())
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        self.send();
    }
}

/// Prints formatted text for the user; [`println!`](crate::println) is the way to call it.
pub fn print(arguments: fmt::Arguments<'_>) {
    // `Text` never fails; an error is a `Display` that gave up, and what it wrote still goes out.
    let _ = fmt::Write::write_fmt(&mut Text::new(), arguments);
}

/// The line, taken over by a core that is about to stop the machine.
#[derive(Debug)]
pub struct Emergency(SpinLockGuard<'static, Console>);

/// How long a core in an emergency waits for the lock before it takes it away: another core's longest
/// frame, of 1 KiB, leaves within 100 ms at 115,200 baud; one that died inside never will.
const PATIENCE_MS: u64 = 500;

/// Takes the line over.
pub fn emergency() -> Emergency {
    let me = crate::sync::percpu::cpu() + 1;
    let taken = TAKEN_OVER.compare_exchange(0, me, Ordering::Relaxed, Ordering::Relaxed);
    if taken.is_err_and(|owner| owner != me) {
        crate::arch::cpu::park();
    }
    let deadline = timer::ticks() + timer::frequency_hz() * PATIENCE_MS / 1000;
    let free = loop {
        let free = CONSOLE.try_lock();
        if free.is_some() || timer::ticks() > deadline {
            break free;
        }
        crate::arch::cpu::yield_now();
    };
    // SAFETY: the lock has been held for longer than any frame takes. Its holder is what this core
    // was doing when it failed, or a core that will stop at its next attempt to send.
    let console = free.unwrap_or_else(|| unsafe { CONSOLE.seize() });
    let mut line = Emergency(console);
    // Ends a torn frame, so that the host does not take what follows for a part of it.
    line.byte(0);
    line
}

impl Emergency {
    fn byte(&mut self, byte: u8) {
        send(self.0.uart, byte);
    }

    /// Sends a frame.
    pub fn frame(&mut self, channel: Channel, parts: &[&[u8]]) {
        self.0.frame(channel, parts);
    }

    /// Waits until everything has left the UART.
    pub fn flush(&mut self) {
        if let Some(uart) = self.0.uart {
            uart.flush();
        }
    }
}

impl fmt::Write for Emergency {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                self.byte(b'\r');
            }
            self.byte(byte);
        }
        Ok(())
    }
}
