//! The links between GPUs.

/// GPUs in machines of eight, or all in one.
pub(crate) struct Cluster {
    pub(crate) name: &'static str,
    pub(crate) gpus: usize,
    pub(crate) gpus_per_machine: usize,
    /// Bytes per second that a GPU sends within its machine, and as many that it receives.
    pub(crate) inside: f64,
    /// Bytes per second between machines, for all GPUs of a machine together.
    pub(crate) outside: f64,
}

/// `NVLink` 4 has 450 GB/s each way (NVIDIA, H100 data sheet: 900 GB/s both ways); two thirds of it.
const NVLINK: f64 = 300e9;
/// `PCIe` 5.0 x16 has 64 GB/s each way (the same data sheet: 128 GB/s both ways), 4.0 has 32; what GPUs without `NVLink` reach through one host's memory.
const PCIE: f64 = 25e9;
/// 400 Gb/s is 50 GB/s each way; nine tenths of it.
const NETWORK: f64 = 45e9;

/// NVIDIA's DGX H100 has eight adapters of 400 Gb/s, one for each GPU.
const ADAPTERS: f64 = 8.0;

const fn cluster(name: &'static str, gpus: usize, inside: f64, outside: f64) -> Cluster {
    let gpus_per_machine = if outside == f64::INFINITY { gpus } else { 8 };
    Cluster { name, gpus, gpus_per_machine, inside, outside }
}

pub(crate) const CLUSTERS: [Cluster; 5] = [
    cluster("NVLink", 8, NVLINK, f64::INFINITY),
    cluster("PCIe", 8, PCIE, f64::INFINITY),
    cluster("NVLink", 64, NVLINK, f64::INFINITY),
    cluster("8 x NVLink, 400 Gb/s a GPU", 64, NVLINK, ADAPTERS * NETWORK),
    cluster("8 x PCIe, 400 Gb/s a machine", 64, PCIE, NETWORK),
];

impl Cluster {
    pub(crate) fn is_together(&self, one: usize, other: usize) -> bool {
        one / self.gpus_per_machine == other / self.gpus_per_machine
    }

    /// Returns the seconds in which the bytes of `sent[from][to]` arrive, all at once.
    pub(crate) fn exchange(&self, sent: &dyn Fn(usize, usize) -> f64) -> f64 {
        let machines = self.gpus / self.gpus_per_machine;
        let mut longest: f64 = 0.0;
        let mut crossing = vec![[0.0; 2]; machines];
        for gpu in 0..self.gpus {
            let mut inside = [0.0; 2];
            for other in (0..self.gpus).filter(|other| *other != gpu) {
                let (out, back) = (sent(gpu, other), sent(other, gpu));
                let sums = if self.is_together(gpu, other) {
                    &mut inside
                } else {
                    &mut crossing[gpu / self.gpus_per_machine]
                };
                sums[0] += out;
                sums[1] += back;
            }
            longest = longest.max(inside[0].max(inside[1]) / self.inside);
        }
        crossing
            .iter()
            .fold(longest, |longest, [out, back]| longest.max(out.max(*back) / self.outside))
    }

    /// Returns the seconds in which the bytes of one GPU arrive at all others, passed on from each to the next.
    pub(crate) fn broadcast(&self, bytes: f64) -> f64 {
        bytes / self.inside.min(self.outside)
    }
}
