//! The memory in use on a GPU.

use candle_core::Device;

/// Returns the bytes in use on the GPU, by this process and all others: its whole memory less the memory that the driver
/// reports as free. Memory that this process has freed and its pool retains counts as used.
///
/// `None` on the CPU, on a device of another kind, and where the driver does not report it.
#[cfg(feature = "cuda")]
pub fn used(device: &Device) -> Option<u64> {
    let Device::Cuda(device) = device else { return None };
    let (free, total) = device.cuda_stream().context().mem_get_info().ok()?;
    u64::try_from(total.checked_sub(free)?).ok()
}

/// Returns `None`: without the feature `cuda` there is no GPU.
#[cfg(not(feature = "cuda"))]
#[must_use]
pub fn used(_device: &Device) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_reports_no_device_memory() {
        assert_eq!(used(&Device::Cpu), None);
    }
}
