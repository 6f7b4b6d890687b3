//! Curves as SVG.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::curves::{Bucket, Curve, Curves};
use super::html::{Page, escaped};
use super::text::{bytes, number};

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 230.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 26.0;

/// The curves that have charts of their own, by the title of the chart.
const CHARTS: &[(&str, &[&str])] = &[
    ("Loss", &["loss", "eval_loss"]),
    ("Learning rate", &["learning_rate"]),
    ("Gradient norm", &["grad_norm"]),
    ("Rows per second", &["time/rows_per_second"]),
    ("Tokens per second", &["time/tokens_per_second"]),
    ("Memory", &["time/memory_bytes", "time/device_memory_bytes"]),
    ("Share of time waiting for data", &["time/data_wait"]),
];
/// Curves that have no chart.
const HIDDEN: &[&str] = &["time/eta_seconds"];

/// Adds all charts: those with a title first, then each further metric.
pub(super) fn all(page: &mut Page, curves: &Curves) {
    if curves.of.is_empty() {
        return;
    }
    page.section("Curves");
    page.raw("<div class=\"charts\">\n");
    for (title, names) in CHARTS {
        chart(page, curves, title, names);
    }
    let known: Vec<&str> = CHARTS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    for name in curves.of.keys().map(String::as_str) {
        if !known.contains(&name) && !HIDDEN.contains(&name) {
            chart(page, curves, name, &[name]);
        }
    }
    page.raw("</div>\n");
    if curves.is_cut {
        page.element("p", "soft", "Further metrics are in metrics.jsonl.");
    }
}

fn chart(page: &mut Page, curves: &Curves, title: &str, names: &[&str]) {
    let found: Vec<(&str, &Curve)> =
        names.iter().filter_map(|name| Some((*name, curves.get(name)?))).collect();
    if found.is_empty() {
        return;
    }
    let is_bytes = names.iter().all(|name| name.ends_with("_bytes"));
    let shown = |value: f64| if is_bytes { bytes(value) } else { number(value) };
    let mut markup = String::new();
    let _ = write!(markup, "<figure><figcaption><b>{}</b>", escaped(title));
    for (at, (name, curve)) in found.iter().enumerate() {
        let key = if found.len() > 1 { format!("{} ", escaped(name)) } else { String::new() };
        let _ = write!(
            markup,
            "<span class=\"key k{at}\"><i></i>{key}{}</span>",
            escaped(&shown(curve.last.1))
        );
    }
    markup.push_str("</figcaption>\n");
    markup.push_str(&svg(&found, title, shown, number));
    markup.push_str("</figure>\n");
    page.raw(&markup);
}

/// Adds the sweep that found a learning rate.
pub(super) fn sweep(page: &mut Page, record: &Map<String, Value>) {
    let Some(sweep) = record.get("metrics").and_then(|it| it.get("learning_rate_sweep")) else {
        return;
    };
    let numbers = |name: &str| sweep[name].as_array().into_iter().flatten().map(Value::as_f64);
    let points = numbers("learning_rate").zip(numbers("loss"));
    let points = points.filter_map(|(rate, loss)| Some((rate?.log10(), loss?)));
    let Some(curve) = Curve::of(points) else { return };
    page.section("Learning rate sweep");
    if let Some(rate) = sweep["suggestion"].as_f64() {
        let text = format!("{rate:.2e} is in the middle of the loss's longest fall.");
        page.element("p", "soft", &text);
    }
    let power = |exponent: f64| format!("1e{exponent:.0}");
    page.raw("<div class=\"charts\"><figure>");
    page.raw(&svg(&[("loss", &curve)], "Loss by learning rate", number, power));
    page.raw("</figure></div>\n");
}

/// A scale from values to pixels.
struct Scale {
    from: f64,
    to: f64,
    start: f64,
    end: f64,
}

impl Scale {
    fn at(&self, value: f64) -> f64 {
        self.start + (value - self.from) / (self.to - self.from) * (self.end - self.start)
    }
}

fn svg(
    curves: &[(&str, &Curve)],
    title: &str,
    shown: impl Fn(f64) -> String,
    step: fn(f64) -> String,
) -> String {
    let all = || curves.iter().map(|(_, curve)| *curve);
    let min = |of: fn(&Curve) -> f64| all().map(of).fold(f64::INFINITY, f64::min);
    let max = |of: fn(&Curve) -> f64| all().map(of).fold(f64::NEG_INFINITY, f64::max);
    let (first, last) = (min(|it| it.first.0), max(|it| it.last.0));
    let (low, high) = (min(|it| it.lowest.1), max(|it| it.highest.1));
    let room = if high > low { (high - low) * 0.04 } else { high.abs().max(1.0) * 0.05 };
    let last = if last > first { last } else { first + 1.0 };
    let x = Scale { from: first, to: last, start: LEFT, end: WIDTH - RIGHT };
    let y = Scale { from: low - room, to: high + room, start: HEIGHT - BOTTOM, end: TOP };
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n",
        escaped(title)
    );
    for tick in ticks(y.from, y.to, 5) {
        let (at, end) = (y.at(tick), WIDTH - RIGHT);
        let _ = writeln!(
            svg,
            "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{end}\"/><text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            at + 4.0,
            escaped(&shown(tick))
        );
    }
    for tick in ticks(x.from, x.to, 6).into_iter().filter(|tick| tick.fract() == 0.0) {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{}</text>",
            x.at(tick),
            HEIGHT - 8.0,
            escaped(&step(tick))
        );
    }
    for (at, (_, curve)) in curves.iter().enumerate() {
        let point =
            |bucket: &Bucket, value: f64| format!("{:.1} {:.1}", x.at(bucket.step), y.at(value));
        if curve.points > curve.buckets.len() as u64 {
            let over = curve.buckets.iter().map(|it| point(it, it.most));
            let under = curve.buckets.iter().rev().map(|it| point(it, it.least));
            let band = over.chain(under).collect::<Vec<_>>().join("L");
            let _ = writeln!(svg, "<path class=\"band k{at}\" d=\"M{band}Z\"/>");
        }
        match curve.buckets.as_slice() {
            [one] => {
                let (cx, cy) = (x.at(one.step), y.at(one.mean()));
                let _ = writeln!(
                    svg,
                    "<circle class=\"dot k{at}\" cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"3\"/>"
                );
            }
            buckets => {
                let line = buckets.iter().map(|it| point(it, it.mean())).collect::<Vec<_>>();
                let _ = writeln!(svg, "<path class=\"line k{at}\" d=\"M{}\"/>", line.join("L"));
            }
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// Round values between two others, about `count` of them.
fn ticks(from: f64, to: f64, count: u32) -> Vec<f64> {
    let rough = (to - from) / f64::from(count);
    if !(rough.is_finite() && rough > 0.0) {
        return Vec::new();
    }
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|it| it * power);
    let step = step.into_iter().find(|step| *step >= rough).unwrap_or(10.0 * power);
    let first = (from / step).ceil();
    (0..=2 * count).map(|at| (first + f64::from(at)) * step).take_while(|it| *it <= to).collect()
}

/// A histogram as bars, with its limits below.
pub(super) fn bars(counts: &[serde_json::Value], from: f64, to: f64) -> String {
    let counts: Vec<f64> = counts.iter().map(|count| count.as_f64().unwrap_or(0.0)).collect();
    let most = counts.iter().copied().fold(1.0, f64::max);
    #[expect(clippy::cast_precision_loss, reason = "some dozens")]
    let width = WIDTH / counts.len().max(1) as f64;
    let mut svg =
        format!("<svg viewBox=\"0 0 {WIDTH} 120\" role=\"img\" aria-label=\"histogram\">\n");
    for (at, count) in counts.iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "some dozens")]
        let x = at as f64 * width;
        let height = 96.0 * count / most;
        let _ = writeln!(
            svg,
            "<rect class=\"bar\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\"/>",
            100.0 - height,
            (width - 1.0).max(0.5)
        );
    }
    let (from, to) = (number(from), number(to));
    let _ = writeln!(svg, "<text x=\"0\" y=\"116\">{from}</text>");
    let _ = writeln!(svg, "<text x=\"{WIDTH}\" y=\"116\" text-anchor=\"end\">{to}</text>\n</svg>");
    svg
}
