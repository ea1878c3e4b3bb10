//! The little of gdb's remote serial protocol that it takes to stop a machine at an address and to follow
//! it from there, instruction by instruction.
//!
//! QEMU's stub is on the other end (gdb manual, appendix E; QEMU manual, "GDB usage"): one packet each
//! way at a time, `$payload#checksum`, acknowledged by `+`. Single steps run without interrupts and
//! timers, which is QEMU's default.

use anyhow::{Context, Result, bail, ensure};
use std::io::{BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// How long QEMU may take until it listens.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the machine may run between two answers.
const LONGEST_RUN: Duration = Duration::from_secs(600);

/// General registers by the numbers that the protocol gives them.
const LINK_REGISTER: u8 = 30;
const STACK_POINTER: u8 = 31;
const PROGRAM_COUNTER: u8 = 32;

/// A port of this machine that nobody listens at.
///
/// # Errors
///
/// If there is none.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free")?;
    Ok(listener.local_addr()?.port())
}

/// A connection to a machine that waits.
#[derive(Debug)]
pub struct Debugger {
    answers: BufReader<TcpStream>,
}

impl Debugger {
    /// Connects to QEMU at `port`, which may not listen yet.
    ///
    /// # Errors
    ///
    /// If it never does.
    pub fn connect(port: u16) -> Result<Self> {
        let since = Instant::now();
        let stream = loop {
            match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
                Ok(stream) => break stream,
                Err(error) if since.elapsed() > PATIENCE => {
                    return Err(error).context("QEMU does not listen for a debugger");
                }
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LONGEST_RUN))?;
        Ok(Self {
            answers: BufReader::new(stream),
        })
    }

    /// Lets the machine run until it comes to `address`.
    ///
    /// # Errors
    ///
    /// If it stops elsewhere or ends first.
    pub fn run_to(&mut self, address: u64) -> Result<()> {
        self.expect_ok(&format!("Z0,{address:x},4"))?;
        let stopped = self.ask("c")?;
        ensure!(
            stopped.starts_with('T') || stopped.starts_with('S'),
            "the machine ended before it came to {address:#x} ({stopped})"
        );
        self.expect_ok(&format!("z0,{address:x},4"))?;
        let at = self.register(PROGRAM_COUNTER)?;
        ensure!(
            at == address,
            "the machine stopped at {at:#x}, not {address:#x}"
        );
        Ok(())
    }

    /// The first argument of the function that the machine is about to enter.
    ///
    /// # Errors
    ///
    /// If QEMU does not tell.
    pub fn first_argument(&mut self) -> Result<u64> {
        self.register(0)
    }

    /// Follows the function that the machine is about to enter until it has returned; the addresses of
    /// all instructions that ran, its return the last.
    ///
    /// # Errors
    ///
    /// If it takes more than `most` instructions, or the machine ends.
    pub fn follow(&mut self, most: usize) -> Result<Vec<u64>> {
        let back = self.register(LINK_REGISTER)?;
        let stack = self.register(STACK_POINTER)?;
        let mut addresses = vec![self.register(PROGRAM_COUNTER)?];
        loop {
            let stopped = self.ask("s")?;
            ensure!(
                stopped.starts_with('T') || stopped.starts_with('S'),
                "the machine ended ({stopped})"
            );
            let at = self.register(PROGRAM_COUNTER)?;
            if at == back && self.register(STACK_POINTER)? == stack {
                return Ok(addresses);
            }
            ensure!(addresses.len() < most, "more than {most} instructions");
            addresses.push(at);
        }
    }

    /// Ends the machine.
    pub fn kill(mut self) {
        // Nothing answers, and a connection that is gone means that the machine is, too.
        let _ = self.answers.get_mut().write_all(b"$k#6b");
    }

    /// Lets the machine run on its own.
    ///
    /// # Errors
    ///
    /// If the connection is gone.
    pub fn detach(mut self) -> Result<()> {
        self.expect_ok("D")
    }

    fn register(&mut self, number: u8) -> Result<u64> {
        let answer = self.ask(&format!("p{number:x}"))?;
        let bytes = answer.as_bytes().chunks_exact(2).take(8);
        let mut value = 0;
        for (index, digits) in bytes.enumerate() {
            let byte = std::str::from_utf8(digits)
                .ok()
                .and_then(|two| u64::from_str_radix(two, 16).ok());
            value |=
                byte.with_context(|| format!("register {number} is `{answer}`"))? << (8 * index);
        }
        Ok(value)
    }

    fn expect_ok(&mut self, command: &str) -> Result<()> {
        let answer = self.ask(command)?;
        ensure!(answer == "OK", "QEMU answers `{answer}` to `{command}`");
        Ok(())
    }

    /// Sends a packet and waits for the answer.
    fn ask(&mut self, command: &str) -> Result<String> {
        let sum = checksum(command.as_bytes());
        let packet = format!("${command}#{sum:02x}");
        self.answers.get_mut().write_all(packet.as_bytes())?;
        let answer = self
            .packet()
            .with_context(|| format!("no answer to `{command}`"))?;
        self.answers.get_mut().write_all(b"+")?;
        Ok(answer)
    }

    fn packet(&mut self) -> Result<String> {
        while self.byte()? != b'$' {}
        let mut payload = Vec::new();
        loop {
            match self.byte()? {
                b'#' => break,
                byte => payload.push(byte),
            }
        }
        let digits = [self.byte()?, self.byte()?];
        let sent = u8::from_str_radix(std::str::from_utf8(&digits)?, 16)?;
        if sent != checksum(&payload) {
            bail!("the connection garbles packets");
        }
        Ok(String::from_utf8(payload)?)
    }

    fn byte(&mut self) -> Result<u8> {
        let mut byte = [0];
        self.answers.read_exact(&mut byte)?;
        Ok(byte[0])
    }
}

fn checksum(payload: &[u8]) -> u8 {
    payload.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers `answers`, each after a packet, on a port of its own; returns what was asked.
    fn stub(answers: &'static [&'static str]) -> (u16, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let answers_of = BufReader::new(stream);
            let mut connection = Debugger {
                answers: answers_of,
            };
            let mut asked = Vec::new();
            for answer in answers {
                asked.push(connection.packet().unwrap());
                let sum = checksum(answer.as_bytes());
                let packet = format!("+${answer}#{sum:02x}");
                connection
                    .answers
                    .get_mut()
                    .write_all(packet.as_bytes())
                    .unwrap();
            }
            asked
        });
        (port, thread)
    }

    #[test]
    fn a_function_is_followed_until_it_returns() {
        // lr 0x1000, sp 0x80; 0x10, 0x14, then the return address with another stack, then with its own.
        let (port, stub) = stub(&[
            "0010000000000000",
            "8000000000000000",
            "1000000000000000",
            "T05",
            "1400000000000000",
            "T05",
            "0010000000000000",
            "7000000000000000",
            "T05",
            "0010000000000000",
            "8000000000000000",
        ]);
        let mut debugger = Debugger::connect(port).unwrap();
        assert_eq!(debugger.follow(10).unwrap(), [0x10, 0x14, 0x1000]);
        let asked = stub.join().unwrap();
        assert_eq!(asked[..5], ["p1e", "p1f", "p20", "s", "p20"]);
    }

    #[test]
    fn a_machine_that_ends_is_no_stop() {
        let (port, _stub) = stub(&["OK", "W00"]);
        let error = Debugger::connect(port).unwrap().run_to(0x40).unwrap_err();
        assert!(
            error.to_string().contains("ended before it came to 0x40"),
            "{error}"
        );
    }
}
