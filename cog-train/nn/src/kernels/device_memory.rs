//! How much of a GPU's memory is taken.

use candle_core::Device;

/// The bytes in use on the GPU, by this process and all others: its whole memory less what the driver calls free. What
/// this process has freed and its pool still keeps counts as used.
///
/// `None` on the CPU, on a device of another kind, and where the driver does not say.
#[cfg(feature = "cuda")]
pub fn used(device: &Device) -> Option<u64> {
    let Device::Cuda(device) = device else { return None };
    let (free, total) = device.cuda_stream().context().mem_get_info().ok()?;
    u64::try_from(total.checked_sub(free)?).ok()
}

/// Without the feature `cuda` there is no GPU to ask.
#[cfg(not(feature = "cuda"))]
pub fn used(_device: &Device) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_has_no_memory_of_its_own() {
        assert_eq!(used(&Device::Cpu), None);
    }
}
