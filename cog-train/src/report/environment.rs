//! The time and the memory of a run, and the machine that it ran on.

use serde_json::{Map, Value};

use super::curves::Curves;
use super::html::{Page, Part};
use super::text::{bytes, number, value};
use crate::message::duration;

pub(super) fn time_and_memory(page: &mut Page, record: &Map<String, Value>, curves: &Curves) {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
    if let Some(time) = record.get("metrics").and_then(|it| it.get("predict_time")?.as_f64()) {
        row("time of this process", duration(time));
    }
    if let Some(loss) = curves.get("loss") {
        row("steps", number(loss.last.0));
    }
    for (name, shown) in [
        ("time/rows_per_second", "rows per second, mean"),
        ("time/tokens_per_second", "tokens per second, mean"),
    ] {
        if let Some(curve) = curves.get(name) {
            row(shown, number(curve.mean()));
        }
    }
    if let Some(wait) = curves.get("time/data_wait") {
        row("share of time waiting for data, mean", format!("{:.1} %", 100.0 * wait.mean()));
    }
    for (name, shown) in [
        ("time/memory_bytes", "memory of the process, most"),
        ("time/device_memory_bytes", "memory of the device, most"),
    ] {
        if let Some(curve) = curves.get(name) {
            row(shown, bytes(curve.highest.1));
        }
    }
    if rows.is_empty() {
        return;
    }
    page.section("Time and memory");
    page.table("plain", &[], &rows);
    let Some(usage) = record.get("metrics").and_then(|it| it.get("usage")) else { return };
    page.raw("<div class=\"pair\">\n");
    page.shares("Time of this process", &times(usage, record));
    page.shares("Memory at the most", &memory(usage));
    page.raw("</div>\n");
}

/// The time by category. A GPU works while the next pass is prepared, so that its two passes are known together.
fn times(usage: &Value, record: &Map<String, Value>) -> Vec<Part> {
    let of = |name: &str| usage["time"][name].as_f64().unwrap_or(0.0);
    let is_on_cpu = record.get("device").is_none_or(|device| device == "cpu");
    let (forward, backward) = (of("forward"), of("backward"));
    let passes = if is_on_cpu {
        vec![("forward", forward), ("backward", backward)]
    } else {
        vec![("forward and backward", forward + backward)]
    };
    let others = ["optimizer", "evaluation", "checkpoint"].map(|name| (name, of(name)));
    let mut parts = [&[("data", of("data"))], &passes[..], &others[..]].concat();
    let known: f64 = parts.iter().map(|(_, seconds)| seconds).sum();
    if let Some(all) = record.get("metrics").and_then(|it| it.get("predict_time")?.as_f64()) {
        parts.push(("other", (all - known).max(0.0)));
    }
    let part = |(name, size): (&'static str, f64)| Part { name, size, shown: duration(size) };
    parts.into_iter().map(part).collect()
}

/// The memory by category: counted, and for activations the rest of the peak.
fn memory(usage: &Value) -> Vec<Part> {
    let names =
        ["weights", "gradients", "optimizer", "averages", "activations", "checkpoint", "other"];
    let part = |name: &'static str| {
        let size = usage["memory"][name].as_f64().filter(|size| *size > 0.0)?;
        Some(Part { name, size, shown: bytes(size) })
    };
    names.into_iter().filter_map(part).collect()
}

pub(super) fn machine(page: &mut Page, record: &Map<String, Value>) {
    page.section("Environment");
    let mut rows: Vec<Vec<String>> = Vec::new();
    let versions = record.get("versions").and_then(Value::as_object).into_iter().flatten();
    rows.extend(versions.map(|(name, version)| vec![name.clone(), value(version)]));
    if let Some(device) = record.get("device") {
        rows.push(vec!["device".to_owned(), value(device)]);
    }
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let processors = read("/proc/cpuinfo");
    let model =
        processors.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let processor = model.unwrap_or(std::env::consts::ARCH);
    rows.push(vec![
        "processor".to_owned(),
        format!("{processor}, {cores} threads for this process"),
    ]);
    let memory = read("/proc/meminfo");
    let total =
        memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().split(' ').next());
    if let Some(total) = total.and_then(|kib| kib.parse::<f64>().ok()) {
        rows.push(vec!["memory of the machine".to_owned(), bytes(1024.0 * total)]);
    }
    let kernel = read("/proc/sys/kernel/osrelease");
    let system = format!("{} {}", std::env::consts::OS, kernel.trim());
    rows.push(vec!["system".to_owned(), system.trim().to_owned()]);
    page.table("plain", &[], &rows);
}
