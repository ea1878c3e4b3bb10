//! How a boot ended, and whether it counts.
//!
//! Nothing is believed that the guest did not say. A run is a success only if the image said that it
//! has ended and QEMU's own status is the same code; a machine that hangs, dies or loses a frame on
//! the way never is.

use std::fmt;

/// How a boot ended.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The code that the guest exited with, if it said so.
    pub code: Option<u32>,
    /// QEMU's exit status; `None` if it was killed.
    pub status: Option<i32>,
    /// Seconds after which it was stopped, if it was.
    pub timed_out: Option<u64>,
    /// Frames that did not arrive.
    pub lost: u32,
    /// Sound frames whose contents could not be read.
    pub unreadable: Vec<String>,
    /// Whether anything at all came over the serial line.
    pub heard: bool,
    /// What QEMU itself said on standard error.
    pub complaints: Vec<String>,
    /// QEMU's command line, as a shell takes it.
    pub qemu_command: String,
}

/// Why a run does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// It was stopped after this many seconds.
    TimedOut(u64),
    /// QEMU did not start the machine: this is what it said.
    Refused(String),
    /// QEMU ended, and the guest never said that it was done.
    NoEnd {
        /// QEMU's exit status, if it was not killed.
        status: Option<i32>,
        /// What QEMU said last.
        complaint: Option<String>,
    },
    /// The guest's code and QEMU's status differ.
    Mismatch {
        /// What the guest said.
        guest: u32,
        /// What QEMU returned.
        qemu: Option<i32>,
    },
    /// Frames did not arrive.
    Lost(u32),
    /// A frame's contents could not be read.
    Unreadable(String),
}

impl Failure {
    /// The status that xtask exits with: 124 for a timeout, 2 for a machine that cannot be had, else 1.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::TimedOut(_) => 124,
            Self::Refused(_) => 2,
            _ => 1,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut(seconds) => write!(f, "stopped after {seconds} s (--timeout)"),
            Self::Refused(complaint) => write!(f, "QEMU did not start the machine: {complaint}"),
            Self::NoEnd { status, complaint } => {
                write!(f, "the machine ended before the guest said it was done (")?;
                match status {
                    Some(status) => write!(f, "QEMU's status is {status}")?,
                    None => f.write_str("QEMU was killed")?,
                }
                match complaint {
                    Some(complaint) => write!(f, "; {complaint})"),
                    None => f.write_str(")"),
                }
            }
            Self::Mismatch {
                guest,
                qemu: Some(qemu),
            } => {
                write!(f, "the guest exited with {guest}, but QEMU with {qemu}")
            }
            Self::Mismatch { guest, qemu: None } => {
                write!(
                    f,
                    "the guest exited with {guest}, but QEMU went on and was killed"
                )
            }
            Self::Lost(frames) => write!(f, "{frames} frames were lost on the serial line"),
            Self::Unreadable(what) => write!(f, "a frame could not be read: {what}"),
        }
    }
}

impl std::error::Error for Failure {}

impl Outcome {
    /// The guest's exit code, if the whole run can be believed.
    ///
    /// # Errors
    ///
    /// See [`Failure`].
    pub fn verdict(&self) -> Result<u8, Failure> {
        if let Some(seconds) = self.timed_out {
            return Err(Failure::TimedOut(seconds));
        }
        let Some(guest) = self.code else {
            let complaint = self.complaints.last().cloned();
            return Err(match complaint {
                Some(complaint) if self.status == Some(1) && !self.heard => {
                    Failure::Refused(complaint)
                }
                complaint => Failure::NoEnd {
                    status: self.status,
                    complaint,
                },
            });
        };
        // A process's exit status has eight bits.
        let code = guest.to_le_bytes()[0];
        if self.status != Some(i32::from(code)) {
            return Err(Failure::Mismatch {
                guest,
                qemu: self.status,
            });
        }
        if self.lost > 0 {
            return Err(Failure::Lost(self.lost));
        }
        match self.unreadable.first() {
            Some(what) => Err(Failure::Unreadable(what.clone())),
            None => Ok(code),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(code: u32, status: i32) -> Outcome {
        Outcome {
            code: Some(code),
            status: Some(status),
            ..Outcome::default()
        }
    }

    #[test]
    fn success_takes_the_same_code_from_guest_and_qemu() {
        assert_eq!(finished(0, 0).verdict(), Ok(0));
        assert_eq!(finished(70, 70).verdict(), Ok(70));
        assert_eq!(finished(0x100, 0).verdict(), Ok(0));
        let mismatch = Failure::Mismatch {
            guest: 0,
            qemu: Some(1),
        };
        assert_eq!(finished(0, 1).verdict(), Err(mismatch));
        let stayed = Outcome {
            status: None,
            ..finished(0, 0)
        };
        let went_on = Failure::Mismatch {
            guest: 0,
            qemu: None,
        };
        assert_eq!(stayed.verdict(), Err(went_on));
    }

    #[test]
    fn a_guest_that_says_nothing_never_succeeds() {
        let complaint = Some("terminating on signal 15".to_owned());
        let silent = Outcome {
            status: Some(0),
            complaints: complaint.iter().cloned().collect(),
            ..Outcome::default()
        };
        let failure = silent.verdict().unwrap_err();
        assert_eq!(
            failure,
            Failure::NoEnd {
                status: Some(0),
                complaint
            }
        );
        assert_eq!(failure.exit_code(), 1);
    }

    #[test]
    fn a_machine_that_qemu_does_not_start_is_the_callers_mistake() {
        let complaint = "unable to find CPU model 'x'".to_owned();
        let mut outcome = Outcome {
            status: Some(1),
            complaints: vec![complaint.clone()],
            ..Outcome::default()
        };
        let failure = outcome.verdict().unwrap_err();
        assert_eq!(failure.exit_code(), 2);
        assert_eq!(failure, Failure::Refused(complaint));
        outcome.heard = true;
        assert_eq!(outcome.verdict().unwrap_err().exit_code(), 1);
    }

    #[test]
    fn a_lost_or_unreadable_frame_is_a_failure_even_after_a_clean_end() {
        let lost = Outcome {
            lost: 2,
            ..finished(0, 0)
        };
        assert_eq!(lost.verdict(), Err(Failure::Lost(2)));
        let unreadable = Outcome {
            unreadable: vec!["x".into()],
            ..finished(0, 0)
        };
        assert_eq!(unreadable.verdict(), Err(Failure::Unreadable("x".into())));
    }

    #[test]
    fn a_timeout_has_its_own_exit_code() {
        let late = Outcome {
            timed_out: Some(5),
            ..finished(0, 0)
        };
        let failure = late.verdict().unwrap_err();
        assert_eq!((failure.exit_code(), failure), (124, Failure::TimedOut(5)));
    }
}
