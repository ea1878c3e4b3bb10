//! What an image tells the host about the run itself.
//!
//! A run counts as finished only if it says so: the last frame is [`Control::Exit`], and its code is
//! the one that QEMU returned.

use serde::{Deserialize, Serialize};

/// One control message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Control<'a> {
    /// The image is up: its own name.
    Hello {
        /// The name of the app that was linked.
        app: &'a str,
    },
    /// A test this image holds, in answer to `list`.
    Test {
        /// Module path and name.
        name: &'a str,
        /// For a test that ends the machine: a part of the line that its fault must print.
        faults_with: Option<&'a str>,
    },
    /// A test begins.
    Begin {
        /// Its name.
        name: &'a str,
    },
    /// The test that began last has ended.
    End {
        /// Why it failed, or `None`.
        failure: Option<&'a str>,
    },
    /// The image does not apply here (a device or feature is missing); the test is skipped.
    Skip {
        /// Its name.
        name: &'a str,
        /// What is missing.
        why: &'a str,
    },
    /// The run has ended; nothing follows.
    Exit {
        /// 0 if all went well.
        code: u32,
    },
}

/// Writes `message` into `buffer`; returns the part used.
///
/// # Errors
///
/// `postcard::Error::SerializeBufferFull` if it does not fit.
pub fn encode<'b>(
    message: &Control<'_>,
    buffer: &'b mut [u8],
) -> Result<&'b [u8], postcard::Error> {
    postcard::to_slice(message, buffer).map(|used| &*used)
}

/// Reads one message.
///
/// # Errors
///
/// `postcard`'s, for bytes that are none.
pub fn decode(bytes: &[u8]) -> Result<Control<'_>, postcard::Error> {
    postcard::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_as_sent() {
        let mut buffer = [0; 64];
        let test = Control::Test {
            name: "mm::double_free",
            faults_with: Some("double free"),
        };
        for message in [
            test,
            Control::End { failure: None },
            Control::Exit { code: 3 },
        ] {
            assert_eq!(decode(encode(&message, &mut buffer).unwrap()), Ok(message));
        }
    }
}
