//! How rows and tests are selected by name: `*` stands for any text, `?` for one character.
//!
//! Names are paths of words between slashes, and a pattern that matches the front of a name up to a
//! slash selects it too: `kmalloc` selects `kmalloc/64/alloc`, and so does `kmalloc/*/alloc`. Several
//! patterns stand between commas.

/// Whether one of `patterns` selects `name`.
pub fn selects(patterns: &str, name: &str) -> bool {
    patterns
        .split(',')
        .any(|pattern| one_selects(pattern, name))
}

fn one_selects(pattern: &str, name: &str) -> bool {
    let fronts = name.bytes().enumerate().filter(|&(_, byte)| byte == b'/');
    matches(pattern.as_bytes(), name.as_bytes())
        || fronts
            .map(|(slash, _)| &name.as_bytes()[..slash])
            .any(|front| matches(pattern.as_bytes(), front))
}

/// Whether `pattern` matches the whole of `text`.
///
/// Only the last `*` seen is ever tried again, one byte further on: what an earlier one could take
/// instead, the later one can take as well. So the cost is at most the product of both lengths.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut next) = (0, 0);
    let mut retry = None;
    while next < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                retry = Some((at, next));
                at += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[next] => {
                at += 1;
                next += 1;
            }
            _ => {
                let Some((star, taken)) = retry else {
                    return false;
                };
                retry = Some((star, taken + 1));
                (at, next) = (star + 1, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, word for word; exponential.
    fn defined(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => {
                defined(rest, text) || (!text.is_empty() && defined(pattern, &text[1..]))
            }
            (Some((&byte, rest)), Some((&first, tail))) => {
                (byte == b'?' || byte == first) && defined(rest, tail)
            }
            _ => false,
        }
    }

    #[test]
    fn a_pattern_selects_whole_names_and_everything_below_a_front() {
        for pattern in [
            "kmalloc",
            "kmalloc/64",
            "kmalloc/64/alloc",
            "kmalloc/*/alloc",
            "*64*",
            "*",
            "kmalloc/6?/*",
            "pages,kmalloc/64",
        ] {
            assert!(selects(pattern, "kmalloc/64/alloc"), "{pattern}");
        }
        for pattern in [
            "",
            "kmal",
            "kmalloc/6",
            "64",
            "kmalloc/64/allo",
            "?",
            "*/free",
            "pages,kmalloc/6",
        ] {
            assert!(!selects(pattern, "kmalloc/64/alloc"), "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn the_matcher_agrees_with_the_definition(pattern in "[ab*?]{0,8}", text in "[abc]{0,10}") {
            let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
            prop_assert_eq!(matches(pattern, text), defined(pattern, text));
        }
    }
}
