//! The time and the memory of a run, and the machine that it ran on.

use serde_json::{Map, Value};

use super::curves::Curves;
use super::html::Page;
use super::text::{bytes, number, seconds, value};

pub(super) fn time_and_memory(page: &mut Page, record: &Map<String, Value>, curves: &Curves) {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
    if let Some(time) = record.get("metrics").and_then(|it| it.get("predict_time")?.as_f64()) {
        row("time of this process", seconds(time));
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
    if !rows.is_empty() {
        page.section("Time and memory");
        page.table("plain", &[], &rows);
    }
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
