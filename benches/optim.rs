//! AdamW's update of 16 million parameters: the fused pass, candle's op by op, and a plain pass over the same bytes.
//!
//! The three take turns, so that a busy machine is busy for all of them. The medians count.

#![expect(clippy::print_stdout, reason = "a bench prints")]
#![expect(clippy::cast_precision_loss, reason = "far below 2^53")]

use std::hint::black_box;
use std::time::Instant;

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::optim::{Optimizer as _, ParamsAdamW};
use cog_train::engine::{Gradients, Params};
use cog_train::optim::{AdamW, Optimizer};
use cog_train::rng::Rng;
use cog_train::{anyhow, candle_core, candle_nn};
use rayon::prelude::*;

/// Sixteen matrices of a million, so 64 MiB of weights.
const MATRICES: u64 = 16;
const SIDE: usize = 1024;
const ROUNDS: usize = 21;

/// The weight, the gradient and two moments are read, and all but the gradient written.
const BYTES: f64 = 7.0 * 4.0 * (SIDE * SIDE) as f64 * MATRICES as f64;

fn main() -> anyhow::Result<()> {
    let rng = Rng::new(0, "bench");
    let matrix =
        |index| rng.at(index).normal_tensor((SIDE, SIDE), 0.0, 1.0, DType::F32, &Device::Cpu);
    let mut tensors = Vec::new();
    for index in 0..MATRICES {
        tensors.push((format!("layer{index:02}.weight"), matrix(index)?));
    }
    let params = Params::new(tensors.iter().cloned())?;
    let mut fused = Optimizer::new(AdamW::default());
    fused.prepare(&params)?;

    let variables: Result<Vec<_>, _> =
        tensors.iter().map(|(_, tensor)| Var::from_tensor(tensor)).collect();
    let variables = variables?;
    let mut plain = candle_nn::AdamW::new(
        variables.clone(),
        ParamsAdamW { lr: 1e-3, ..ParamsAdamW::default() },
    )?;
    // A backward pass through `sum(w * g)` gives `g` as the gradient of `w`.
    let mut sum = Tensor::zeros((), DType::F32, &Device::Cpu)?;
    for (variable, (_, tensor)) in variables.iter().zip(&tensors) {
        sum = (sum + (variable.as_tensor() * tensor)?.sum_all()?)?;
    }
    let store = sum.backward()?;
    let gradients: Gradients = tensors.iter().cloned().collect();

    // Seven streams in all: four are read and three written, by chunks, as the fused pass does.
    let length = SIDE * SIDE * usize::try_from(MATRICES)?;
    let mut streams = [vec![1f32; length], vec![2f32; length], vec![3f32; length]];
    let source = vec![0.5f32; length];

    let mut times: [Vec<f64>; 3] = Default::default();
    for round in 0..=ROUNDS {
        let step = u64::try_from(round)? + 1;
        let begin = Instant::now();
        fused.step(&params, &gradients, step, 1e-3, 1.0)?;
        let after_fused = Instant::now();
        plain.step(&store)?;
        let after_plain = Instant::now();
        pass(&mut streams, &source);
        black_box(&streams);
        let end = Instant::now();
        // The first round touches the pages.
        if round > 0 {
            times[0].push((after_fused - begin).as_secs_f64());
            times[1].push((after_plain - after_fused).as_secs_f64());
            times[2].push((end - after_plain).as_secs_f64());
        }
    }
    println!(
        "{:.1} million parameters, medians of {ROUNDS}, {} threads",
        length as f64 / 1e6,
        rayon::current_num_threads()
    );
    // Ratios are taken round by round: what disturbs a round disturbs both.
    let ratio = |over: &[f64], under: &[f64]| {
        let ratios = over.iter().zip(under).map(|(over, under)| over / under);
        let mut ratios: Vec<f64> = ratios.collect();
        ratios.sort_unstable_by(f64::total_cmp);
        ratios[ROUNDS / 2]
    };
    let against: Vec<(f64, f64)> =
        times.iter().map(|each| (ratio(&times[1], each), ratio(&times[2], each))).collect();
    println!(
        "what          | median, ms [least, most] | GB/s | times as fast as op by op | share of memory's speed"
    );
    for ((name, times), (faster, share)) in
        ["fused update", "op by op", "plain pass"].iter().zip(&mut times).zip(against)
    {
        times.sort_unstable_by(f64::total_cmp);
        let median = times[ROUNDS / 2];
        println!(
            "{name:<13} | {:.1} [{:.1}, {:.1}] | {:.1} | {faster:.2} | {:.0} %",
            median * 1e3,
            times[0] * 1e3,
            times[ROUNDS - 1] * 1e3,
            BYTES / median / 1e9,
            100.0 * share
        );
    }
    Ok(())
}

/// The least that can be done with the same bytes: each stream plus the source.
fn pass([first, second, third]: &mut [Vec<f32>; 3], source: &[f32]) {
    const CHUNK: usize = 16 * 1024;
    let chunks = first
        .par_chunks_mut(CHUNK)
        .zip(second.par_chunks_mut(CHUNK))
        .zip(third.par_chunks_mut(CHUNK))
        .zip(source.par_chunks(CHUNK));
    chunks.for_each(|(((first, second), third), source)| {
        for (((a, b), c), s) in first.iter_mut().zip(second).zip(third).zip(source) {
            *a += *s;
            *b += *s;
            *c += *s;
        }
    });
}
