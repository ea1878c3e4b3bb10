//! Run parameters: a line of `key=value` words.
//!
//! The same line comes from two places: the payload behind the image, where xtask puts it, and the
//! device tree's `/chosen/bootargs`, where a board's firmware does. A later word wins, and bootargs
//! come later.

/// The line: words split at white space, each `key=value` or a bare `key`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Params<'a> {
    lines: [&'a str; 2],
}

impl<'a> Params<'a> {
    /// Parameters from the payload, overridden by those from the device tree.
    pub const fn new(payload: &'a str, bootargs: &'a str) -> Self {
        Self {
            lines: [bootargs, payload],
        }
    }

    /// The value of `key`: the last one given, bootargs before payload. A bare word has the value "".
    pub fn value(&self, key: &str) -> Option<&'a str> {
        self.lines.iter().find_map(|line| {
            line.split_ascii_whitespace().rev().find_map(|word| {
                let (name, value) = word.split_once('=').unwrap_or((word, ""));
                (name == key).then_some(value)
            })
        })
    }

    /// The value of `key` as a number, decimal or `0x` hexadecimal.
    pub fn number(&self, key: &str) -> Option<u64> {
        let value = self.value(key)?;
        match value.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => value.parse().ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bootargs_override_and_the_last_word_wins() {
        let params = Params::new(
            "log=info seed=7 filter=a quiet",
            "log=debug filter=b filter=c",
        );
        assert_eq!(params.value("log"), Some("debug"));
        assert_eq!(params.value("filter"), Some("c"));
        assert_eq!(params.number("seed"), Some(7));
        assert_eq!(params.value("quiet"), Some(""));
        assert_eq!(params.value("absent"), None);
    }

    #[test]
    fn numbers_are_decimal_or_hexadecimal() {
        let params = Params::new("a=0x10 b=16 c=x", "");
        assert_eq!(
            (params.number("a"), params.number("b")),
            (Some(16), Some(16))
        );
        assert_eq!(params.number("c"), None);
    }
}
