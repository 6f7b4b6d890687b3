//! The age and the peak memory of this process, as the system reports them.

use std::fs::read_to_string;

use cog_train::anyhow::{Context, Result};

/// Seconds since this process started, in steps of a clock tick (10 ms).
pub fn age() -> Result<f64> {
    let stat = read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let began: f64 = word(after_name, 19)?;
    let now: f64 = word(&read_to_string("/proc/uptime")?, 0)?;
    // 100 ticks a second, in what Linux reports to programs of any architecture that Rust has a compiler for.
    Ok(now - began / 100.0)
}

/// The most memory that this process ever held, in MiB.
pub fn peak_mib() -> Result<f64> {
    let status = read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    Ok(word::<f64>(line.context("the system does not report `VmHWM`")?, 0)? / 1024.0)
}

fn word<T: std::str::FromStr>(text: &str, at: usize) -> Result<T> {
    let word = text.split_whitespace().nth(at).and_then(|word| word.parse().ok());
    word.with_context(|| format!("no number at {at} of `{text}`"))
}
