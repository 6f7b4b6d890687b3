//! How much memory is in use, and what is done where it is short.

use std::fs;

use crate::job::Job;

/// The bytes that this process holds (resident set size); 0 where the system does not tell.
pub(super) fn resident() -> u64 {
    of_status("VmRSS:").unwrap_or(0)
}

/// The most bytes that it has held since [`forget_peak`].
pub(super) fn peak() -> u64 {
    of_status("VmHWM:").unwrap_or(0)
}

/// Lets the peak start again from what is held now. Where the system does not allow it, the peak is that of the process.
pub(super) fn forget_peak() {
    // Told in proc(5): 5 resets the peak of the resident set.
    drop(fs::write("/proc/self/clear_refs", "5"));
}

fn of_status(key: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Whether an error says that a device has no room. candle passes the driver's error on as text.
pub(super) fn is_short(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let text = cause.to_string().to_lowercase();
        text.contains("out of memory") || text.contains("out_of_memory")
    })
}

/// Half as many rows at once, and a line that says so.
///
/// # Errors
///
/// The error itself when there was only one row.
pub(super) fn smaller(rows: usize, error: anyhow::Error, job: &mut Job) -> anyhow::Result<usize> {
    if rows <= 1 {
        return Err(error.context("one row alone is too large for the device"));
    }
    let fewer = rows.div_ceil(2);
    job.line(format_args!(
        "out of memory with {rows} rows at once: going on with {fewer}, and the batch stays the same"
    ));
    Ok(fewer)
}

/// `1.5 GiB`, as people write it.
pub(super) fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 || value >= 99.5 {
        format!("{value:.0} {}", UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_that_is_touched_is_seen() {
        let before = resident();
        let held = vec![1_u8; 64 << 20];
        assert!(resident() >= before + (48 << 20), "{before} and {}", resident());
        assert!(peak() >= before + (48 << 20));
        drop(held);
    }

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (150 << 20, "150 MiB"),
            (1023 << 20, "1.0 GiB"),
            (5 << 40, "5.0 TiB"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }
}
