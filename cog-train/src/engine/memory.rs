//! The memory in use, and the errors of a device without room.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use candle_core::Device;

use cog_train_nn::__private::device_memory;

/// The resident set size of this process in bytes; 0 where the system does not say.
pub(super) fn resident() -> u64 {
    // proc(5): the second number counts pages. Reading it takes a tenth of the time of `status`, and each step does.
    let pages = || fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse().ok();
    pages().map_or(0, |pages: u64| pages * rustix::param::page_size() as u64)
}

/// Measures the peak memory from its start on: of the process, or of the GPU that holds the tensors.
///
/// A GPU reports no peak, so its memory is sampled: an allocation that is freed between two samples is missed, except for
/// what the driver's pool keeps.
pub(super) struct Gauge {
    base: u64,
    device: Option<Watch>,
}

struct Watch {
    most: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// The interval between two samples of a GPU's memory.
const WATCH: Duration = Duration::from_millis(1);

impl Gauge {
    pub(super) fn start(device: &Device) -> Self {
        let Some(base) = device_memory::used(device) else {
            let base = resident();
            forget_peak();
            return Self { base, device: None };
        };
        let device = device.clone();
        Self { base, device: Some(Watch::start(base, move || device_memory::used(&device))) }
    }

    /// Returns the bytes held at the start.
    pub(super) fn base(&self) -> u64 {
        self.base
    }

    /// Returns the most bytes held since.
    pub(super) fn peak(&self) -> u64 {
        self.device.as_ref().map_or_else(peak, |watch| watch.most.load(Ordering::Relaxed))
    }

    /// Whether it is a GPU's memory.
    pub(super) fn is_of_device(&self) -> bool {
        self.device.is_some()
    }
}

impl Watch {
    fn start(base: u64, used: impl Fn() -> Option<u64> + Send + 'static) -> Self {
        let (most, ended) = (Arc::new(AtomicU64::new(base)), Arc::<AtomicBool>::default());
        let (seen, end) = (Arc::clone(&most), Arc::clone(&ended));
        let watch = move || {
            while !end.load(Ordering::Relaxed) {
                seen.fetch_max(used().unwrap_or(0), Ordering::Relaxed);
                std::thread::sleep(WATCH);
            }
        };
        // Without a thread the peak is what was held at the start.
        let thread = std::thread::Builder::new().name("memory".to_owned()).spawn(watch).ok();
        Self { most, ended, thread }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It does nothing that panics.
            let _ended = thread.join();
        }
    }
}

/// Returns the peak of the process since [`forget_peak`] or its start, in bytes; 0 where the system does not say.
pub(super) fn peak() -> u64 {
    of_status("VmHWM:").unwrap_or(0)
}

/// Resets the peak to the present. Where the system does not allow it, the peak is that of the whole process.
fn forget_peak() {
    // proc(5): 5 resets the peak of the resident set.
    drop(fs::write("/proc/self/clear_refs", "5"));
}

fn of_status(key: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// The messages of the libraries under candle, in lower case, when an allocation fails.
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

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;

    /// Tests of the process's memory run one at a time; the margin is for other tests beside them.
    static ALONE: Mutex<()> = Mutex::new(());

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_that_is_touched_is_seen() {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let before = resident();
        let held = vec![1_u8; 256 << 20];
        assert!(resident() >= before + (128 << 20), "{before} and {}", resident());
        assert!(peak() >= before + (128 << 20));
        drop(held);
    }

    #[test]
    fn a_gauge_of_the_process_has_its_peak() {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let gauge = Gauge::start(&Device::Cpu);
        let before = gauge.base();
        drop(std::hint::black_box(vec![1_u8; 256 << 20]));
        assert!(!gauge.is_of_device());
        assert!(gauge.peak() >= before + (128 << 20), "{before} and {}", gauge.peak());
    }

    /// A device whose memory goes up and down: the most of it stays.
    #[test]
    fn a_watch_keeps_the_most() {
        let looks = AtomicU64::new(0);
        let levels = [5, 90, 7];
        let used = move || {
            let at = looks.fetch_add(1, Ordering::Relaxed).min(2);
            Some(levels[usize::try_from(at).unwrap()])
        };
        let watch = Watch::start(20, used);
        let most = Arc::clone(&watch.most);
        while most.load(Ordering::Relaxed) < 90 {
            std::thread::sleep(WATCH);
        }
        std::thread::sleep(4 * WATCH);
        drop(watch);
        assert_eq!(most.load(Ordering::Relaxed), 90);
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
}
