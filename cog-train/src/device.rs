//! The device of a run: `--device auto|cpu|cuda[:N]`, and one line that reports the choice. Apple's GPUs are not among
//! them: nothing here has been run on one, and they have no 64-bit floats, in which the engine adds up losses.

use std::str::FromStr;
use std::thread::available_parallelism;

use candle_core::Device;
use candle_core::utils::get_num_threads;

use crate::error::Error;

/// A device as a user asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The first GPU if there is one, else the CPU; under `build.gpu: true` a GPU or an error.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU of this number.
    Cuda(usize),
}

/// Returns the number of threads that compute on the CPU: one for each core, unless this process may use fewer, or `RAYON_NUM_THREADS`.
pub(crate) fn processors() -> usize {
    let cores = get_num_threads();
    available_parallelism().map_or(cores, |most| cores.min(most.get()))
}

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "auto" => return Ok(Self::Auto),
            "cpu" => return Ok(Self::Cpu),
            "cuda" => return Ok(Self::Cuda(0)),
            _ => {}
        }
        text.strip_prefix("cuda:")
            .and_then(|number| number.parse().ok())
            .map(Self::Cuda)
            .ok_or_else(|| Error::Arguments {
                reason: format!(
                    "`{text}` is not a device\nhint: write `auto`, `cpu`, `cuda` or `cuda:N`"
                ),
            })
    }
}

impl DeviceChoice {
    /// Opens the device. `gpu_wanted` is `build.gpu` of `cog.yaml`. The text says in one line what happened.
    ///
    /// Of the processes of a machine that train together each takes the GPU of its number, `local_rank`, counted from that of `cuda:N`. A
    /// process that sees one GPU alone, as by `srun --gpus-per-task 1`, takes that.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] when a GPU was asked for and cannot be had, or when there are fewer of them than processes.
    pub fn open(self, gpu_wanted: bool, local_rank: usize) -> Result<(Device, String), Error> {
        let visible = std::env::var("CUDA_VISIBLE_DEVICES").unwrap_or_default();
        let sees_one = !visible.is_empty() && !visible.contains(',');
        let offset = if sees_one { 0 } else { local_rank };
        match self {
            Self::Cpu => Ok((Device::Cpu, "device: cpu".to_owned())),
            Self::Cuda(first) => {
                let number = first + offset;
                cuda(number)
                    .map(|device| (device, format!("device: cuda:{number}")))
                    .map_err(|reason| Error::Device { device: format!("cuda:{number}"), reason })
            }
            Self::Auto => match cuda(offset) {
                Ok(device) => Ok((device, format!("device: cuda:{offset}"))),
                Err(reason) if offset > 0 && cuda(0).is_ok() => Err(Error::Device {
                    device: format!("cuda:{offset}"),
                    reason: format!(
                        "{reason}\nhint: start as many processes on a machine as it has GPUs"
                    ),
                }),
                Err(reason) if gpu_wanted => Err(Error::Device {
                    device: "auto".to_owned(),
                    reason: format!(
                        "cog.yaml says `gpu: true`, but {reason}\nhint: `--device cpu` computes on the CPU all the same"
                    ),
                }),
                Err(reason) => Ok((Device::Cpu, format!("device: cpu ({reason})"))),
            },
        }
    }
}

fn cuda(number: usize) -> Result<Device, String> {
    if !cfg!(feature = "cuda") {
        return Err("this binary was built without the feature `cuda`".to_owned());
    }
    Device::new_cuda(number).map_err(|error| {
        let text = crate::error::plain_tensor(&error);
        format!("no CUDA device could be opened: {}", text.lines().next().unwrap_or_default())
    })
}

/// The newest CUDA that the installed NVIDIA driver runs, such as `(12, 8)`; `None` where there is no such driver.
#[must_use]
pub fn driver_cuda() -> Option<(u32, u32)> {
    cuda_of_driver(&std::fs::read_to_string("/proc/driver/nvidia/version").ok()?)
}

/// From the kernel module's own line, `NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.26  ...`. The least driver of
/// each CUDA is that of NVIDIA's "CUDA Toolkit Release Notes", table 3.
fn cuda_of_driver(text: &str) -> Option<(u32, u32)> {
    const LEAST: [(u32, (u32, u32)); 12] = [
        (580, (13, 0)),
        (575, (12, 9)),
        (570, (12, 8)),
        (560, (12, 6)),
        (555, (12, 5)),
        (550, (12, 4)),
        (545, (12, 3)),
        (535, (12, 2)),
        (530, (12, 1)),
        (525, (12, 0)),
        (520, (11, 8)),
        (450, (11, 0)),
    ];
    let line = text.lines().find(|line| line.starts_with("NVRM version:"))?;
    let major =
        line.split_whitespace().find_map(|word| word.split_once('.')?.0.parse::<u32>().ok())?;
    LEAST.iter().find(|(least, _)| major >= *least).map(|(_, cuda)| *cuda)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_says_which_cuda_it_runs() {
        for (line, cuda) in [
            (
                "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.26  Sat Jan 1 00:00:00 UTC 2025\nGCC version: 12.2.0",
                Some((12, 8)),
            ),
            (
                "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build",
                Some((13, 0)),
            ),
            ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05", Some((12, 2))),
            ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  390.1", None),
            ("GCC version: 12.2.0", None),
            ("", None),
        ] {
            assert_eq!(cuda_of_driver(line), cuda, "{line}");
        }
    }

    #[test]
    fn choices_are_read() {
        for (text, choice) in [
            ("auto", DeviceChoice::Auto),
            ("cpu", DeviceChoice::Cpu),
            ("cuda", DeviceChoice::Cuda(0)),
            ("cuda:3", DeviceChoice::Cuda(3)),
        ] {
            assert_eq!(text.parse::<DeviceChoice>().unwrap(), choice);
        }
        for text in ["", "gpu", "cuda:", "cuda:x", "CPU", "cuda:-1"] {
            let error = text.parse::<DeviceChoice>().unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(&format!("`{text}`")), "{error}");
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_gpu_that_is_not_there_is_said_and_never_silently_replaced() {
        assert!(
            matches!(DeviceChoice::Auto.open(false, 0), Ok((Device::Cpu, line)) if line.contains("without the feature `cuda`"))
        );
        assert!(
            matches!(DeviceChoice::Auto.open(true, 0), Err(Error::Device { reason, .. }) if reason.contains("gpu: true"))
        );
        assert!(
            matches!(DeviceChoice::Cuda(1).open(false, 0), Err(Error::Device { device, .. }) if device == "cuda:1")
        );
    }
}
