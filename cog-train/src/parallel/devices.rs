//! The devices of all ranks.

use candle_core::{Device, DeviceLocation};

use crate::error::Error;

/// Returns the kind of a device, as the other ranks see it.
pub(super) fn kind(device: &Device) -> &'static str {
    match device.location() {
        DeviceLocation::Cpu => "the CPU",
        DeviceLocation::Cuda { .. } => "a GPU of NVIDIA",
        DeviceLocation::Metal { .. } => "a GPU of Apple",
    }
}

/// Checks that all ranks compute on devices of one kind. `names` and `kinds` are in the order of ranks.
///
/// # Errors
///
/// [`Error::Ranks`], the same on all ranks.
pub(super) fn check(names: &[String], kinds: &[Vec<u8>]) -> Result<(), Error> {
    let Some(other) = kinds.iter().position(|kind| *kind != kinds[0]) else { return Ok(()) };
    let on = |rank: usize| format!("{} on {}", names[rank], String::from_utf8_lossy(&kinds[rank]));
    Err(Error::Ranks {
        reason: format!(
            "{}, and {}\nhint: `--device cuda` says why a rank finds no GPU, and `--device cpu` trains without",
            on(0),
            on(other)
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_on_devices_of_two_kinds_are_refused_by_both_names() {
        let names = [0, 1, 2].map(|rank| format!("rank {rank} (node{rank}, pid 40)"));
        let (cpu, gpu) = (kind(&Device::Cpu).as_bytes().to_vec(), b"a GPU of NVIDIA".to_vec());
        check(&names, &[gpu.clone(), gpu.clone(), gpu.clone()]).unwrap();
        let error = check(&names, &[gpu.clone(), gpu, cpu]).unwrap_err().to_string();
        let expected = "rank 0 (node0, pid 40) on a GPU of NVIDIA, and rank 2 (node2, pid 40) on the CPU\nhint: ";
        assert!(error.starts_with(expected), "{error}");
    }
}
