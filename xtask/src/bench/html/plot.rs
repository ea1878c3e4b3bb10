//! One chart: `plotters` lays it out and draws it, and what it wrote is made small and themeable.
//!
//! The library writes every colour, font and opacity into every element. A page has hundreds of charts
//! and two colour schemes, so colours become classes that the style sheet gives their colours, and what
//! the style sheet says anyway is dropped.

use super::axis::Axis;
use anyhow::Result;
use maud::{Markup, PreEscaped, html};
use plotters::backend::SVGBackend;
use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::cartesian::Cartesian2d;
use plotters::drawing::IntoDrawingArea;
use plotters::element::{Circle, Cross, PathElement, Rectangle, Text, TriangleMarker};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color as _, IntoFont, IntoTextStyle, RGBColor, ShapeStyle, TextStyle};

/// Units of a chart's width: about the pixels that a telephone has.
pub(super) const WIDTH: u32 = 400;
/// Units of most charts' height.
pub(super) const HEIGHT: u32 = 210;
/// Units of a character of the labels; they are 11 high.
const CHARACTER: usize = 6;
/// Room under a chart: the labels, and the axis' name.
const BELOW: u32 = 36;
/// The font's size by the library's reckoning; the style sheet has the real one.
const FONT: (&str, u32) = ("sans-serif", 12);

/// Which of the colours something has. The style sheet knows what they are, light and dark: those of
/// Okabe and Ito, which readers tell apart whatever they see of colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Colour(u8);

impl Colour {
    /// What carries data, the most distinct first.
    pub(super) const SERIES: [Self; 7] = [
        Self(0),
        Self(1),
        Self(2),
        Self(3),
        Self(4),
        Self(5),
        Self(6),
    ];
    /// Data that is none of these.
    pub(super) const REST: Self = Self(7);
    /// Lines behind the data.
    pub(super) const GRID: Self = Self(8);
    /// Labels and axes.
    const INK: Self = Self(9);
    /// Letters on a bright colour.
    const ON_BRIGHT: Self = Self(10);
    /// Letters on a dark one.
    const ON_DARK: Self = Self(11);
    /// All there are.
    const COUNT: u8 = 12;

    /// The colour of what stands at `index`.
    pub(super) fn of(index: usize) -> Self {
        Self::SERIES.get(index).copied().unwrap_or(Self::REST)
    }

    /// The class of an area in this colour.
    pub(super) fn class(self) -> String {
        format!("f{}", self.0)
    }

    /// A colour that nothing else has, to be found again in what the library wrote.
    fn mark(self) -> RGBColor {
        RGBColor(250, 0, self.0)
    }

    fn line(self) -> ShapeStyle {
        self.mark().stroke_width(1)
    }

    fn area(self) -> ShapeStyle {
        self.mark().filled()
    }
}

/// What the library draws on.
type Context<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<Axis, Axis>>;

/// A chart to be drawn.
#[derive(Debug)]
pub(super) struct Plot {
    /// Its height, of [`WIDTH`].
    pub(super) height: u32,
    /// The axis below.
    pub(super) x: Axis,
    /// What it measures, with the unit.
    pub(super) x_name: String,
    /// The axis at the left.
    pub(super) y: Axis,
    /// What it measures, with the unit; where that is empty, the labels say it all.
    pub(super) y_name: String,
    /// What the chart shows, for those who cannot see it.
    pub(super) label: String,
}

/// A chart being drawn: data in the axes' coordinates.
pub(super) struct Canvas<'c, 'a>(&'c mut Context<'a>);

impl Canvas<'_, '_> {
    /// A line through `points`.
    pub(super) fn line(&mut self, points: Vec<(f64, f64)>, colour: Colour) -> Result<()> {
        self.0
            .draw_series([PathElement::new(points, colour.line())])?;
        Ok(())
    }

    /// An area between two corners.
    pub(super) fn area(&mut self, corners: [(f64, f64); 2], colour: Colour) -> Result<()> {
        self.0
            .draw_series([Rectangle::new(corners, colour.area())])?;
        Ok(())
    }

    /// An area of a colour that is so many quarters strong.
    pub(super) fn shade(
        &mut self,
        corners: [(f64, f64); 2],
        colour: Colour,
        quarters: u32,
    ) -> Result<()> {
        let style = colour.mark().mix(f64::from(quarters) / 4.0).filled();
        self.0.draw_series([Rectangle::new(corners, style)])?;
        Ok(())
    }

    /// A mark at a point: a disc, a ring or a triangle.
    pub(super) fn mark(&mut self, at: (f64, f64), shape: Shape, colour: Colour) -> Result<()> {
        match shape {
            Shape::Disc => self.0.draw_series([Circle::new(at, 4, colour.area())])?,
            Shape::Ring => self.0.draw_series([Circle::new(at, 4, colour.line())])?,
            Shape::Triangle => self
                .0
                .draw_series([TriangleMarker::new(at, 6, colour.area())])?,
            Shape::Cross => self.0.draw_series([Cross::new(at, 4, colour.line())])?,
        };
        Ok(())
    }

    /// A figure at the right of a point.
    pub(super) fn note(&mut self, at: (f64, f64), figure: String) -> Result<()> {
        let style = text(Colour::INK).pos(Pos::new(HPos::Left, VPos::Center));
        self.0
            .draw_series([Text::new(format!("\u{a0}{figure}"), at, style)])?;
        Ok(())
    }

    /// A word on an area of this colour, its middle at a point.
    pub(super) fn word(&mut self, at: (f64, f64), word: String, area: Colour) -> Result<()> {
        let ink = match area == Colour::SERIES[0] {
            true => Colour::ON_DARK,
            false => Colour::ON_BRIGHT,
        };
        let style = text(ink).pos(Pos::new(HPos::Center, VPos::Center));
        self.0.draw_series([Text::new(word, at, style)])?;
        Ok(())
    }
}

/// What a point looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Filled.
    Disc,
    /// Empty.
    Ring,
    /// Pointed.
    Triangle,
    /// Two strokes.
    Cross,
}

impl Shape {
    /// What stands at `index`, told from its neighbours without its colour.
    pub(super) fn of(index: usize) -> Self {
        [Self::Disc, Self::Triangle, Self::Ring, Self::Cross][index % 4]
    }

    /// The letter that looks like it.
    pub(super) const fn sign(self) -> char {
        match self {
            Self::Disc => '●',
            Self::Ring => '○',
            Self::Triangle => '▲',
            Self::Cross => '✕',
        }
    }
}

impl Plot {
    /// A point moved to a pixel, more or less.
    pub(super) fn snap(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let (across, up) = (f64::from(WIDTH), f64::from(self.height));
        (self.x.snap(x, across), self.y.snap(y, up))
    }

    /// Draws the axes, and what `series` draws between them.
    ///
    /// # Errors
    ///
    /// What the library or `series` returns; drawing into memory does not fail.
    pub(super) fn draw(
        &self,
        series: impl FnOnce(&mut Canvas<'_, '_>) -> Result<()>,
    ) -> Result<Markup> {
        let mut svg = String::new();
        let area = SVGBackend::with_string(&mut svg, (WIDTH, self.height)).into_drawing_area();
        let left =
            (self.y.label_width() * CHARACTER) + 8 + if self.y_name.is_empty() { 0 } else { 14 };
        let below = if self.x_name.is_empty() { 4 } else { BELOW };
        let mut chart = ChartBuilder::on(&area)
            .margin_top(6)
            .margin_right(10)
            .x_label_area_size(below)
            .y_label_area_size(u32::try_from(left).unwrap_or(WIDTH))
            .build_cartesian_2d(self.x.clone(), self.y.clone())?;
        let mut mesh = chart.configure_mesh();
        mesh.bold_line_style(Colour::GRID.line())
            // The grid is enough; labels keep their distance from where the axis would be.
            .axis_style(Colour::GRID.mark().mix(0.0))
            .label_style(text(Colour::INK))
            .set_all_tick_mark_size(3)
            .x_desc(&self.x_name)
            .y_desc(&self.y_name);
        mesh.draw()?;
        series(&mut Canvas(&mut chart))?;
        area.present()?;
        drop(chart);
        drop(area);
        let inside = slim(&svg);
        let view = format!("0 0 {WIDTH} {}", self.height);
        Ok(html! {
            svg.plot role="img" viewBox=(view) {
                title { (self.label) }
                (PreEscaped(inside))
            }
        })
    }
}

fn text(colour: Colour) -> TextStyle<'static> {
    FONT.into_font()
        .color(&colour.mark())
        .into_text_style(&(0, 0))
}

/// Where the library puts labels, and the class that the style sheet puts there.
const PLACES: [(&str, &str); 5] = [
    (
        " dy=\"0.76em\" text-anchor=\"middle\" class=\"f9\"",
        " class=\"t\"",
    ),
    (
        " dy=\"0.5ex\" text-anchor=\"end\" class=\"f9\"",
        " class=\"e\"",
    ),
    (
        " dy=\"0.5ex\" text-anchor=\"start\" class=\"f9\"",
        " class=\"n\"",
    ),
    (
        " dy=\"-0.5ex\" text-anchor=\"middle\" class=\"f9\"",
        " class=\"b\"",
    ),
    // Letters on colours, which have a class already.
    (" dy=\"0.5ex\" text-anchor=\"middle\"", ""),
];

/// What the library wrote, without its frame and what the style sheet says.
fn slim(svg: &str) -> String {
    let inside = svg.split_once('>').map_or(svg, |(_, inside)| inside);
    let inside = inside.trim().trim_end_matches("</svg>");
    let mut text = inside
        .replace(">\n", ">")
        .replace("\n</text>", "</text>")
        .replace(" opacity=\"1\"", "")
        .replace(" stroke-width=\"1\"", "")
        .replace(" stroke=\"none\"", "")
        .replace(" fill=\"none\"", "")
        .replace(" font-family=\"sans-serif\"", "")
        .replace(" \"/>", "\"/>");
    let size = format!(" font-size=\"{}\"", f64::from(FONT.1) / 1.24);
    text = text.replace(&size, "");
    for number in 0..Colour::COUNT {
        let mark = Colour(number).mark();
        let mark = format!("#{:02X}{:02X}{:02X}", mark.0, mark.1, mark.2);
        for (of, class) in [("fill", 'f'), ("stroke", 's')] {
            let class = format!("class=\"{class}{number}\"");
            text = text.replace(&format!("{of}=\"{mark}\""), &class);
        }
    }
    for (from, to) in PLACES {
        text = text.replace(from, to);
    }
    // Lines are the grid unless they have another colour.
    text.replace("<line class=\"s8\"", "<line")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_no_colours_fonts_or_sizes_of_its_own() {
        let plot = Plot {
            height: HEIGHT,
            x: Axis::log(10.0, 1000.0),
            x_name: "cost, instructions".into(),
            y: Axis::counts(100),
            y_name: "samples".into(),
            label: "a < b".into(),
        };
        let drawn = plot.draw(|canvas| {
            canvas.line(vec![(1.0, 0.0), (2.0, 1.0)], Colour::of(0))?;
            canvas.area([(1.0, 0.0), (2.0, 1.0)], Colour::of(1))?;
            canvas.mark((1.5, 1.0), Shape::Ring, Colour::of(2))?;
            canvas.mark((1.5, 1.0), Shape::Triangle, Colour::of(3))?;
            canvas.word((1.5, 1.0), "<&>".into(), Colour::of(0))
        });
        let svg = drawn.unwrap().into_string();
        for absent in [
            "#", "font-", "opacity", "http", "none", "stroke", "fill", "anchor", "dy=",
        ] {
            assert!(!svg.contains(absent), "{absent}: {svg}");
        }
        for present in [
            "role=\"img\"",
            "<title>a &lt; b</title>",
            "&lt;&amp;&gt;",
            "class=\"s0\"",
            "class=\"f1\"",
            ">1k</text>",
            ">cost, instructions</text>",
        ] {
            assert!(svg.contains(present), "{present}: {svg}");
        }
    }
}
