//! The processor and its threads.

use super::Finding;
use crate::device::processors;

const GROUP: &str = "processor";

pub(super) fn findings() -> Vec<Finding> {
    vec![model(), vectors(), threads()]
}

fn model() -> Finding {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or(std::env::consts::ARCH, |(_, name)| name);
    Finding::fine(GROUP, "model", name)
}

/// The vector instructions that products of matrices use.
fn vectors() -> Finding {
    let finding = |units: &[&str]| Finding::fine(GROUP, "vector units", units.join(", "));
    #[cfg(target_arch = "x86_64")]
    {
        let units = [
            ("AVX2", is_x86_feature_detected!("avx2")),
            ("FMA", is_x86_feature_detected!("fma")),
            ("F16C", is_x86_feature_detected!("f16c")),
            ("AVX-512", is_x86_feature_detected!("avx512f")),
        ];
        let found: Vec<&str> = units.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect();
        if !(units[0].1 && units[1].1) {
            let finding = if found.is_empty() { finding(&["SSE2"]) } else { finding(&found) };
            return finding.limited(
                "products of matrices are several times slower without AVX2 and FMA; a virtual machine may hide them \
                 (`-cpu host`)",
            );
        }
        finding(&found)
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        finding(&[if cfg!(target_arch = "aarch64") { "NEON" } else { "unknown" }])
    }
}

fn threads() -> Finding {
    let set = std::env::var("RAYON_NUM_THREADS").ok();
    let value = match set.filter(|text| !text.is_empty()) {
        Some(number) => format!("{number}, by RAYON_NUM_THREADS"),
        None => format!("{}, one for each core", processors()),
    };
    Finding::fine(GROUP, "threads", value)
}
