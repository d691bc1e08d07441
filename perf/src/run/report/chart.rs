//! Charts as SVG, written by hand: lines over two axes and bars. A crate that draws charts would be many times the code that is needed here,
//! and its output could not take its colours from the page's style.

const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 42.0;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scale {
    Linear,
    Logarithmic,
}

pub struct Axis {
    pub label: &'static str,
    pub scale: Scale,
    pub low: f64,
    pub high: f64,
    pub ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From nothing to a round number at or above `high`, four to six ticks.
    pub fn linear(label: &'static str, high: f64) -> Self {
        let high = if high > 0.0 && high.is_finite() { high } else { 1.0 };
        let rough = high / 5.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= rough * 0.999).unwrap_or(rough);
        let count = (high / step * 0.999).ceil() as usize;
        let ticks = (0..=count).map(|index| (index as f64 * step, super::figures::digits(index as f64 * step))).collect();
        Self { label, scale: Scale::Linear, low: 0.0, high: count as f64 * step, ticks }
    }

    /// Whole powers of ten around the values.
    pub fn logarithmic(label: &'static str, low: f64, high: f64) -> Self {
        let first = low.max(1e-6).log10().floor() as i32;
        let last = (high.max(1e-6).log10().ceil() as i32).max(first + 1);
        let ticks = (first..=last).map(|power| (10_f64.powi(power), super::figures::digits(10_f64.powi(power)))).collect();
        Self { label, scale: Scale::Logarithmic, low: 10_f64.powi(first), high: 10_f64.powi(last), ticks }
    }

    /// Percentiles, by the number of their nines: each step to the right is ten times rarer.
    pub fn nines() -> Self {
        let ticks = [(0.0, "0"), (90.0, "90"), (99.0, "99"), (99.9, "99.9"), (99.99, "99.99"), (99.999, "99.999")];
        let ticks = ticks.map(|(percentile, text)| (nines(percentile), text.to_owned())).to_vec();
        Self { label: "percentile", scale: Scale::Linear, low: 0.0, high: 5.0, ticks }
    }

    /// 0 at the low end, 1 at the high end, held within.
    fn share(&self, value: f64) -> f64 {
        let along = |value: f64| if self.scale == Scale::Logarithmic { value.max(1e-6).log10() } else { value };
        let (low, high) = (along(self.low), along(self.high));
        ((along(value) - low) / (high - low)).clamp(0.0, 1.0)
    }
}

/// How many nines a percentile has: 90 has one, 99.9 three.
pub fn nines(percentile: f64) -> f64 {
    let beyond = (100.0 - percentile) / 100.0;
    if beyond <= 1e-5 { 5.0 } else { -beyond.log10() }
}

pub struct Series {
    /// A class of the page's style: which broker.
    pub class: String,
    pub points: Vec<(f64, f64)>,
    /// Other runs than the one in the middle.
    pub faint: bool,
}

pub fn lines(title: &str, x: &Axis, y: &Axis, series: &[Series]) -> String {
    let mut svg = String::new();
    let place =
        |(at, value): (f64, f64)| (LEFT + x.share(at) * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - y.share(value) * (HEIGHT - TOP - BOTTOM));
    let mut push = |text: std::fmt::Arguments| svg.push_str(&text.to_string());
    push(format_args!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">", escape(title)));
    for (value, text) in &y.ticks {
        let (_, at) = place((x.low, *value));
        push(format_args!("<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{}\" y2=\"{at:.1}\"/>", WIDTH - RIGHT));
        push(format_args!("<text class=\"tick\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>", LEFT - 6.0, at + 4.0));
    }
    for (value, text) in &x.ticks {
        let (at, _) = place((*value, y.low));
        push(format_args!("<line class=\"grid\" x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{}\"/>", HEIGHT - BOTTOM));
        push(format_args!("<text class=\"tick\" x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{text}</text>", HEIGHT - BOTTOM + 16.0));
    }
    push(format_args!(
        "<text class=\"label\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - 6.0,
        x.label
    ));
    push(format_args!(
        "<text class=\"label\" transform=\"translate(14 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
        (TOP + HEIGHT - BOTTOM) / 2.0,
        y.label
    ));
    let faint_first = series.iter().filter(|one| one.faint).chain(series.iter().filter(|one| !one.faint));
    for one in faint_first {
        let points: Vec<String> = one.points.iter().map(|point| place(*point)).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let faint = if one.faint { " faint" } else { "" };
        push(format_args!("<polyline class=\"line {}{faint}\" points=\"{}\"/>", escape(&one.class), points.join(" ")));
    }
    push(format_args!("</svg>"));
    svg
}

pub struct Bar {
    pub class: String,
    pub value: f64,
}

/// Horizontal bars in named groups, each with its figure at its end.
pub fn bars(title: &str, unit: &'static str, groups: &[(String, Vec<Bar>)]) -> String {
    const BAR: f64 = 13.0;
    const GAP: f64 = 12.0;
    const NAMES: f64 = 130.0;
    const FIGURES: f64 = 54.0;
    let longest = groups.iter().flat_map(|(_, bars)| bars).map(|bar| bar.value).fold(0.0, f64::max);
    let axis = Axis { label: unit, scale: Scale::Linear, low: 0.0, high: longest.max(f64::MIN_POSITIVE), ticks: Vec::new() };
    let height = groups.iter().map(|(_, bars)| bars.len() as f64 * BAR + GAP).sum::<f64>() + 26.0;
    let mut svg = String::new();
    let mut push = |text: std::fmt::Arguments| svg.push_str(&text.to_string());
    push(format_args!("<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"{}\">", escape(title)));
    let mut top = 6.0;
    for (name, bars) in groups {
        let middle = top + bars.len() as f64 * BAR / 2.0 + 4.0;
        push(format_args!("<text class=\"tick\" x=\"{}\" y=\"{middle:.1}\" text-anchor=\"end\">{}</text>", NAMES - 8.0, escape(name)));
        for bar in bars {
            let length = axis.share(bar.value) * (WIDTH - NAMES - FIGURES);
            let class = escape(&bar.class);
            push(format_args!("<rect class=\"bar {class}\" x=\"{NAMES}\" y=\"{top:.1}\" width=\"{length:.1}\" height=\"{}\"/>", BAR - 2.0));
            push(format_args!(
                "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                NAMES + length + 5.0,
                top + 9.5,
                super::figures::digits(bar.value)
            ));
            top += BAR;
        }
        top += GAP;
    }
    push(format_args!("<text class=\"label\" x=\"{NAMES}\" y=\"{:.1}\">{unit}</text></svg>", top + 8.0));
    svg
}

pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_hold_their_values_between_round_ends() {
        for high in [0.0, 0.013, 0.9, 1.0, 7.3, 99.0, 1234.0] {
            let axis = Axis::linear("x", high);
            assert!(axis.high >= high && (3..=7).contains(&axis.ticks.len()), "{high}: {} {:?}", axis.high, axis.ticks);
        }
        let axis = Axis::logarithmic("y", 45.0, 8_000.0);
        assert_eq!((axis.low.round(), axis.high.round(), axis.ticks.len()), (10.0, 10_000.0, 4));
        assert!((axis.share(10.0), axis.share(10_000.0)) == (0.0, 1.0) && (axis.share(316.23) - 0.5).abs() < 1e-3);
    }

    #[test]
    fn nines_are_counted() {
        assert_eq!(nines(0.0), 0.0);
        assert!((nines(90.0) - 1.0).abs() < 1e-9 && (nines(99.9) - 3.0).abs() < 1e-9);
        assert_eq!((nines(100.0), nines(99.9999)), (5.0, 5.0));
    }

    #[test]
    fn points_stay_within_the_picture_and_faint_lines_lie_below() {
        let series = [
            Series { class: "a".into(), points: vec![(0.0, 1.0), (9.0, 99.0)], faint: false },
            Series { class: "b".into(), points: vec![(1.0, 2.0)], faint: true },
        ];
        let svg = lines("t<", &Axis::linear("x", 4.0), &Axis::linear("y", 10.0), &series);
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>") && svg.contains("t&lt;"));
        assert!(svg.find("line b faint").unwrap() < svg.find("line a\"").unwrap());
        assert!(svg.contains(&format!("{:.1},{:.1}", WIDTH - RIGHT, TOP)), "clamped to the corner: {svg}");
    }

    #[test]
    fn the_longest_bar_reaches_the_end() {
        let groups = [("g".to_owned(), vec![Bar { class: "a".into(), value: 2.0 }, Bar { class: "b".into(), value: 1.0 }])];
        let svg = bars("t", "s", &groups);
        assert!(svg.contains("width=\"336.0\"") && svg.contains("width=\"168.0\""), "{svg}");
    }
}
