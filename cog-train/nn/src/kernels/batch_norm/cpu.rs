//! The fast form on the CPU: one thread takes one channel, or some planes. Sums are added up in 64 bits.

use candle_core::{Device, Error, Tensor};
use rayon::prelude::*;

use super::{Sizes, Statistics};
use crate::kernels::host;
use crate::kernels::tape::Node;

/// One channel of `[rows, channels, length]`, plane by plane.
fn planes(x: &[f32], sizes: Sizes, channel: usize) -> impl Iterator<Item = &[f32]> {
    let Sizes { rows, channels, length } = sizes;
    (0..rows).map(move |row| &x[(row * channels + channel) * length..][..length])
}

/// The sum of `term` over pairs, in eight lanes.
fn sum(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f64 {
    let mut lanes = [0f64; 8];
    let (a, b) = (a.chunks(8), b.chunks(8));
    for (a, b) in a.zip(b) {
        for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += f64::from(term(*a, *b));
        }
    }
    lanes.iter().sum()
}

#[expect(clippy::cast_possible_truncation, reason = "rounded to 32 bits")]
pub(super) fn statistics(x: &Tensor, sizes: Sizes) -> Result<Statistics, Error> {
    let (mean, variance): (Vec<f32>, Vec<f32>) = host::read([x], |[x]| {
        let of_channel = |channel| {
            let total: f64 = planes(x, sizes, channel).map(|x| sum(x, x, |x, _| x)).sum();
            let mean = (total / sizes.count()) as f32;
            let squares: f64 =
                planes(x, sizes, channel).map(|x| sum(x, x, |x, _| (x - mean) * (x - mean))).sum();
            (mean, (squares / sizes.count()) as f32)
        };
        (0..sizes.channels).into_par_iter().map(of_channel).unzip()
    })?;
    let tensor = |values: Vec<f32>| Tensor::from_vec(values, sizes.channels, &Device::Cpu);
    Ok(Statistics { mean: tensor(mean)?, variance: tensor(variance)? })
}

/// `of_batch`: the statistics depend on `x`, and its gradient has the terms that go through them.
#[expect(clippy::cast_possible_truncation, reason = "rounded to 32 bits")]
pub(super) fn forward(
    [x, weight, bias]: [Node; 3],
    statistics: &Statistics,
    epsilon: f64,
    sizes: Sizes,
    of_batch: bool,
) -> Result<Node, Error> {
    let [mean, variance] = [&statistics.mean, &statistics.variance]
        .map(|tensor| host::contiguous(tensor)?.to_vec1::<f32>());
    let (mean, variance) = (mean?, variance?);
    let inverse: Vec<f32> =
        variance.iter().map(|it| (1.0 / (f64::from(*it) + epsilon).sqrt()) as f32).collect();
    let factors = weight.tensor().to_vec1::<f32>()?;
    let y = host::read([x.tensor(), bias.tensor()], |[x, bias]| {
        each_plane(x, None, sizes, |channel| {
            let factor = inverse[channel] * factors[channel];
            let term = bias[channel] - mean[channel] * factor;
            move |x, _| x * factor + term
        })
    })?;
    let shape = x.tensor().shape().clone();
    let to = [x.handle(), weight.handle(), bias.handle()];
    let kept = x.tensor().clone();
    Ok(x.tape().result(host::tensor(y, shape.clone())?, to, move |gradient, adjoints| {
        let (of_weight, of_bias): (Vec<f32>, Vec<f32>) =
            host::read([&kept, &gradient], |[x, dy]| {
                let of_channel = |channel| {
                    let (mean, inverse) = (mean[channel], inverse[channel]);
                    let pairs = || planes(x, sizes, channel).zip(planes(dy, sizes, channel));
                    let of_weight: f64 =
                        pairs().map(|(x, dy)| sum(x, dy, |x, dy| (x - mean) * inverse * dy)).sum();
                    let of_bias: f64 = pairs().map(|(_, dy)| sum(dy, dy, |dy, _| dy)).sum();
                    (of_weight as f32, of_bias as f32)
                };
                (0..sizes.channels).into_par_iter().map(of_channel).unzip()
            })?;
        if to[0].is_some() {
            let part = if of_batch { (1.0 / sizes.count()) as f32 } else { 0.0 };
            let of_x = host::read([&kept, &gradient], |[x, dy]| {
                each_plane(x, Some(dy), sizes, |channel| {
                    // dx = factor * (dy - part * of_bias - h * part * of_weight), h = (x - mean) * inverse.
                    let factor = inverse[channel] * factors[channel];
                    let slope = -factor * part * of_weight[channel] * inverse[channel];
                    let term = -factor * part * of_bias[channel] - slope * mean[channel];
                    move |x, dy| factor * dy + slope * x + term
                })
            })?;
            adjoints.give(to[0], host::tensor(of_x, shape)?)?;
        }
        adjoints.give(to[1], host::tensor(of_weight, sizes.channels)?)?;
        adjoints.give(to[2], host::tensor(of_bias, sizes.channels)?)
    }))
}

/// A value for each of `x`, and of `other` beside it, by the function of its channel.
fn each_plane<F: Fn(f32, f32) -> f32>(
    x: &[f32],
    other: Option<&[f32]>,
    sizes: Sizes,
    of_channel: impl Fn(usize) -> F + Sync,
) -> Vec<f32> {
    let length = sizes.length.max(1);
    let mut y = vec![0.0; x.len()];
    y.par_chunks_mut(length).enumerate().with_min_len((16 * 1024 / length).max(1)).for_each(
        |(plane, y)| {
            let value = of_channel(plane % sizes.channels);
            let x = &x[plane * length..][..length];
            let other = other.map_or(x, |other| &other[plane * length..][..length]);
            for ((y, x), other) in y.iter_mut().zip(x).zip(other) {
                *y = value(*x, *other);
            }
        },
    );
    y
}
