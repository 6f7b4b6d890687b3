//! NVIDIA's GPUs, driver and libraries, found without linking to any of them.

use std::process::Command;

use super::Finding;
use super::library::{Library, find};
use crate::device::{DeviceChoice, driver_cuda};

const GROUP: &str = "GPU";

/// A library that is loaded when it is first used.
struct Wanted {
    name: &'static str,
    /// The start of its file's name.
    file: &'static str,
    /// The consequence of its absence, and what to install.
    hint: &'static str,
    needed: bool,
}

const WANTED: [Wanted; 3] = [
    Wanted {
        name: "NVRTC",
        file: "libnvrtc.so",
        hint: "without it training on a GPU is several times slower: install NVIDIA's `cuda-nvrtc` of the driver's CUDA, or \
               `pip install nvidia-cuda-nvrtc-cu12` with its folder in `LD_LIBRARY_PATH`",
        needed: true,
    },
    Wanted {
        name: "cuDNN",
        file: "libcudnn.so",
        hint: "the feature `cudnn` needs it: install NVIDIA's `cudnn9-cuda-12`",
        needed: cfg!(feature = "cudnn"),
    },
    Wanted {
        name: "NCCL",
        file: "libnccl.so",
        hint: "the feature `nccl` needs it: install NVIDIA's `libnccl2`",
        needed: cfg!(feature = "nccl"),
    },
];

pub(super) fn findings() -> Vec<Finding> {
    let Some(driver) = driver() else {
        let value = "no NVIDIA driver: trainings compute on the CPU";
        return vec![Finding::fine(GROUP, "driver", value)];
    };
    let mut findings = vec![driver];
    findings.extend(devices());
    findings.push(device());
    for wanted in WANTED {
        let finding = match find(wanted.file) {
            Some(Library { version, path }) => {
                Finding::fine(GROUP, wanted.name, format!("{version} ({})", path.display()))
            }
            None if wanted.needed => {
                Finding::fine(GROUP, wanted.name, "not found").limited(wanted.hint)
            }
            None => Finding::fine(GROUP, wanted.name, "not found, and not needed by this build"),
        };
        findings.push(finding);
    }
    findings
}

fn driver() -> Option<Finding> {
    let text = std::fs::read_to_string("/proc/driver/nvidia/version").ok()?;
    let version = driver_version(&text)?;
    let cuda = match driver_cuda() {
        Some((major, minor)) => format!(", runs CUDA up to {major}.{minor}"),
        None => String::new(),
    };
    Some(Finding::fine(GROUP, "driver", format!("{version}{cuda}")))
}

/// The version in `NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.26  Sat ...`.
fn driver_version(text: &str) -> Option<&str> {
    let line = text.lines().find(|line| line.starts_with("NVRM version:"))?;
    let is_version =
        |word: &&str| word.contains('.') && word.chars().all(|c| c.is_ascii_digit() || c == '.');
    line.split_whitespace().find(is_version)
}

/// The GPUs by NVIDIA's own program.
fn devices() -> Vec<Finding> {
    const QUERY: &str = "--query-gpu=name,memory.total,compute_cap";
    let output = Command::new("nvidia-smi").args([QUERY, "--format=csv,noheader"]).output();
    let text = match output {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).into_owned()
        }
        _ => return Vec::new(),
    };
    text.lines().map(|line| Finding::fine(GROUP, "device", device_text(line))).collect()
}

/// `NVIDIA H200, 143771 MiB, 9.0` as `NVIDIA H200, 143771 MiB, compute capability 9.0`.
fn device_text(line: &str) -> String {
    match line.rsplit_once(", ") {
        Some((rest, capability)) => format!("{rest}, compute capability {capability}"),
        None => line.to_owned(),
    }
}

/// Whether this build computes on the first GPU.
fn device() -> Finding {
    if !cfg!(feature = "cuda") {
        let finding = Finding::fine(GROUP, "use", "this build computes on the CPU alone");
        return finding.limited(
            "install it once more with GPUs, which needs `nvcc`: `cargo install --locked --path cog-train --features cli,cuda`",
        );
    }
    match DeviceChoice::Cuda(0).open(true, 0) {
        Ok(_) => Finding::fine(GROUP, "use", "`--device auto` computes on cuda:0"),
        Err(error) => {
            let text = error.to_string();
            let reason = text.lines().next().unwrap_or_default();
            Finding::fine(GROUP, "use", reason).broken(
                "compare the driver with the CUDA of this build; `--device cpu` computes all the same",
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_of_nvidias_tools_are_read() {
        for line in [
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.26  Sat Jan 1 00:00:00 UTC 2025",
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.26  Release Build",
        ] {
            assert_eq!(driver_version(line), Some("570.26"));
        }
        assert_eq!(driver_version("GCC version: 12.2.0"), None);
        assert_eq!(
            device_text("NVIDIA H200, 143771 MiB, 9.0"),
            "NVIDIA H200, 143771 MiB, compute capability 9.0"
        );
    }
}
