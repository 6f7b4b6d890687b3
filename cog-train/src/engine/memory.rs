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

/// What the libraries under candle write, in small letters, when memory cannot be had.
///
/// candle passes the errors of cudarc on as their `Debug` text, so that there is no type to ask:
/// `DriverError(CUDA_ERROR_OUT_OF_MEMORY, "out of memory")` from the driver, `CublasError(CUBLAS_STATUS_ALLOC_FAILED)`,
/// `CudnnError(CUDNN_STATUS_ALLOC_FAILED)` and `CurandError(CURAND_STATUS_ALLOCATION_FAILED)` from the libraries that
/// make workspaces. The driver's second part is missing where it cannot be asked for its words. cuDNN's versions 9 and
/// later name the parts: `CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED`.
const SHORT: [&str; 4] =
    ["out of memory", "out_of_memory", "status_alloc_failed", "allocation_failed"];

/// Whether an error says that a device has no room.
pub(super) fn is_short(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let text = cause.to_string().to_lowercase();
        SHORT.iter().any(|short| text.contains(short))
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

    /// The texts are those that candle 0.11 and cudarc 0.19 write.
    #[test]
    fn a_device_without_room_is_known_by_its_text() {
        let wrapped = |text: &str| {
            anyhow::Error::from(crate::Error::from(candle_core::Error::msg(text).bt()))
                .context("step 3")
        };
        for text in [
            r#"DriverError(CUDA_ERROR_OUT_OF_MEMORY, "out of memory")"#,
            r#"DriverError(CUDA_ERROR_OUT_OF_MEMORY, "<Failure when calling cuGetErrorString()>")"#,
            "CublasError(CUBLAS_STATUS_ALLOC_FAILED)",
            "CudnnError(CUDNN_STATUS_ALLOC_FAILED)",
            "CudnnError(CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED)",
            "CurandError(CURAND_STATUS_ALLOCATION_FAILED)",
        ] {
            assert!(is_short(&wrapped(text)), "{text}");
        }
        for text in [
            r#"DriverError(CUDA_ERROR_ILLEGAL_ADDRESS, "an illegal memory access was encountered")"#,
            r#"DriverError(CUDA_ERROR_NO_DEVICE, "no CUDA-capable device is detected")"#,
            "CublasError(CUBLAS_STATUS_NOT_INITIALIZED)",
        ] {
            assert!(!is_short(&wrapped(text)), "{text}");
        }
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
