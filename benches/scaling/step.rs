//! A step of `fit` on many GPUs: what is sent, and when.

use std::cmp::Reverse;

use crate::cluster::Cluster;
use crate::job::{Job, MEMORY, MICRO_BATCHES};

/// The elements of a bucket, as in `cog-train/src/engine/owners.rs`.
const BUCKET: u64 = 1 << 22;
/// The seconds of an operation beside its bytes: a launch, and the host that waits for it.
const LATENCY: f64 = 30e-6;
/// Exchanges of losses, flags and norms over TCP, by way of rank 0.
const GATHERS: f64 = 5.0;
const GATHER: f64 = 100e-6;
const GATHER_OF_RANK: f64 = 20e-6;

/// The ways in which gradients travel.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Way {
    /// A tensor has one owner; nothing is sent before the backward pass has ended.
    Tensors,
    /// Ranks own equal ranges of rows of large tensors.
    Ranges,
    /// And buckets are sent during the last backward pass.
    Overlapped,
}

/// The elements of the buckets of each owner.
fn buckets(job: &Job, gpus: usize, way: Way) -> Vec<Vec<u64>> {
    let mut tensors: Vec<u64> = job.trained();
    if way != Way::Tensors {
        // A large tensor is one of each rank.
        let split = |count: u64| {
            if count > BUCKET { vec![count / gpus as u64; gpus] } else { vec![count] }
        };
        tensors = tensors.into_iter().flat_map(split).collect();
    }
    tensors.sort_by_key(|count| Reverse(*count));
    let mut held = vec![0; gpus];
    let mut buckets: Vec<Vec<u64>> = vec![Vec::new(); gpus];
    for count in tensors {
        let owner = (0..gpus).min_by_key(|gpu| held[*gpu]).unwrap_or(0);
        held[owner] += count;
        match buckets[owner].last_mut() {
            Some(bucket) if *bucket + count <= BUCKET => *bucket += count,
            _ => buckets[owner].push(count),
        }
    }
    buckets
}

/// A step, in seconds and bytes.
pub(crate) struct Step {
    pub(crate) seconds: f64,
    /// The bytes that rank 0's GPU sends: gradients, and the weights that it owns once.
    pub(crate) sent: f64,
}

/// The step of one GPU, which sends nothing.
pub(crate) fn alone(job: &Job) -> f64 {
    let trained: u64 = job.trained().iter().sum();
    MICRO_BATCHES as f64 * job.micro_batch() + update(trained)
}

/// `AdamW` reads gradient, weight and two moments in 32 bits, and writes all but the gradient.
fn update(elements: u64) -> f64 {
    28.0 * elements as f64 / MEMORY
}

pub(crate) fn step(job: &Job, cluster: &Cluster, way: Way) -> Step {
    let gpus = cluster.gpus;
    let buckets = buckets(job, gpus, way);
    let rounds = buckets.iter().map(Vec::len).max().unwrap_or(0);
    let trained: f64 = job.trained().iter().sum::<u64>() as f64;
    // Gradients in 32 bits go to their owners, a bucket of each at once.
    let bucket =
        |owner: usize, round: usize| 4.0 * buckets[owner].get(round).copied().unwrap_or(0) as f64;
    let gradients: f64 =
        (0..rounds).map(|round| LATENCY + cluster.exchange(&|_, to| bucket(to, round))).sum();
    let hidden = if way == Way::Overlapped {
        job.backward().min(gradients * (1.0 - 1.0 / rounds as f64))
    } else {
        0.0
    };
    // Weights of 16 bits come back, one bucket after the other.
    let all = || buckets.iter().flatten();
    let weights: f64 = all().map(|count| LATENCY + cluster.broadcast(2.0 * *count as f64)).sum();
    let most = buckets.iter().map(|own| own.iter().sum::<u64>()).max().unwrap_or(0);
    // The sum of the parts of all ranks, and the copies into buckets and out of them.
    let added = 4.0 * (gpus as f64 + 1.0) * most as f64 / MEMORY;
    let copied = (8.0 + 4.0) * trained / MEMORY;
    let control = GATHERS * (GATHER + GATHER_OF_RANK * gpus as f64);
    let computed = (MICRO_BATCHES / gpus as u64) as f64 * job.micro_batch();
    let own: u64 = buckets[0].iter().sum();
    Step {
        seconds: computed + gradients - hidden + added + copied + update(most) + weights + control,
        sent: 4.0 * (trained - own as f64) + 2.0 * own as f64,
    }
}
