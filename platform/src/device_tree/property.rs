//! The values of properties, as the kinds that the specification knows (0.4, 2.2.4).

use core::ffi::CStr;
use dtoolkit::{Node, Property, fdt::FdtNode};

/// The bytes of a property; none if there is no such property.
fn bytes<'a>(node: FdtNode<'a>, name: &str) -> &'a [u8] {
    node.property(name)
        .and_then(|property| property.value_as().ok())
        .unwrap_or_default()
}

/// The strings of a `<stringlist>`, up to the first that is not UTF-8 or has no end.
pub(super) fn strings<'a>(
    node: FdtNode<'a>,
    name: &str,
) -> impl Iterator<Item = &'a str> + use<'a> {
    let mut rest = bytes(node, name);
    core::iter::from_fn(move || {
        let string = CStr::from_bytes_until_nul(rest).ok()?;
        rest = rest.get(string.count_bytes() + 1..)?;
        string.to_str().ok()
    })
}

/// A `<string>`, or the first of a list.
pub(super) fn text<'a>(node: FdtNode<'a>, name: &str) -> Option<&'a str> {
    strings(node, name).next()
}

/// The cells of a `<prop-encoded-array>`.
pub(super) fn cells<'a>(node: FdtNode<'a>, name: &str) -> impl Iterator<Item = u32> + use<'a> {
    let (cells, _) = bytes(node, name).as_chunks();
    cells.iter().map(|&cell| u32::from_be_bytes(cell))
}

/// A `<u32>` or `<u64>`.
pub(super) fn number(node: FdtNode<'_>, name: &str) -> Option<u64> {
    let value = bytes(node, name);
    let wide = value.try_into().map(u64::from_be_bytes);
    wide.ok()
        .or_else(|| Some(u64::from(u32::from_be_bytes(value.try_into().ok()?))))
}

/// Whether `status` is absent, "okay" or "ok" (2.3.4).
pub(super) fn is_enabled(node: FdtNode<'_>) -> bool {
    text(node, "status").is_none_or(|status| matches!(status, "okay" | "ok"))
}
