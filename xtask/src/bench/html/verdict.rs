//! How a report compares with others: the verdict in a word, and each figure that changed.

use super::{anchor, family_of};
use crate::bench::compare::{Comparison, Verdict};
use maud::{Markup, html};

/// Lines of a table that are shown unasked.
const SHOWN: usize = 24;

/// A comparison, and which report it is of if there are several.
pub type Compared = (String, Comparison);

/// What changed against each baseline.
pub(super) fn draw(comparisons: &[Compared]) -> Option<Markup> {
    let body = html! {
        @for (name, comparison) in comparisons {
            @let verdict = comparison.verdict();
            @let (class, sign) = look(verdict);
            div.verdict.(class) role="status" {
                @if !name.is_empty() { p { code { (name) } } }
                @let headline = comparison.headline();
                @let word = verdict.to_string();
                p { b { (sign) " " (word) } (headline.strip_prefix(&word).unwrap_or(&headline)) }
            }
            (changes(comparison))
            @for (what, names) in comparison.comings_and_goings() {
                p.note { (what) ": " (names) }
            }
        }
    };
    (!comparisons.is_empty()).then_some(body)
}

const fn look(verdict: Verdict) -> (&'static str, char) {
    match verdict {
        Verdict::Incomparable => ("none", '≠'),
        Verdict::Regressed => ("bad", '✕'),
        Verdict::Improved => ("good", '▼'),
        Verdict::Same => ("good", '✓'),
    }
}

/// The figures that changed, the worst first; a long table is folded.
fn changes(comparison: &Comparison) -> Markup {
    let lines = comparison.lines();
    let Some((headings, lines)) = lines.split_first() else {
        return html! {};
    };
    let is_open = lines.len() <= SHOWN || comparison.verdict() == Verdict::Regressed;
    html! {
        details.group data-group open[is_open] {
            summary { (lines.len()) " changed figures" }
            div.scroll { table.changes {
                thead { tr { @for heading in headings { th scope="col" { (heading) } } } }
                tbody { @for [row, figure, before, after, by, kind, path] in lines {
                    tr data-row=(row) {
                        th scope="row" { a href={ "#" (anchor(family_of(row))) } { (row) } }
                        td.text { (figure) }
                        td { (before) } td { (after) } td { (by) }
                        td.text.bad[kind == "WORSE"].good[kind == "better"] { (kind) }
                        td.text { (path) }
                    }
                } }
            } }
        }
    }
}
