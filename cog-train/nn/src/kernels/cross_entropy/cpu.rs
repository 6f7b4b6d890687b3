//! The scores are overwritten by their gradient in one pass: only that is saved.

use rayon::prelude::*;

use super::IGNORED;
use crate::kernels::host;
use crate::kernels::output::Buffer;
use crate::kernels::simd::{self, simd};
use crate::kernels::tape::Node;
use candle_core::Error;

pub(super) fn forward(logits: &Node, targets: &[u32]) -> Result<Node, Error> {
    sum_of_rows(logits, targets, softmax_row, loss_of_row)
}

/// Adds up the losses of the rows. `with_gradient` returns that of a row of scores and overwrites them by their gradient; `alone` returns
/// the loss where nothing is differentiated.
pub(super) fn sum_of_rows(
    logits: &Node,
    targets: &[u32],
    with_gradient: impl Fn(&mut [f32], u32) -> f64 + Sync,
    alone: impl Fn(&[f32], u32) -> f64 + Sync,
) -> Result<Node, Error> {
    let classes = logits.dims()[1].max(1);
    let mut gradient = logits.handle().map(|_| Buffer::new(logits.tensor().elem_count()));
    let losses: Vec<f64> = host::read([logits.tensor()], |[logits]| {
        let rows = logits.par_chunks(classes).zip(targets);
        match &mut gradient {
            Some(gradient) => {
                let rows = rows.zip(gradient.output().par_chunks(classes));
                rows.map(|((row, target), mut gradient)| {
                    with_gradient(gradient.append_copy(row), *target)
                })
                .collect()
            }
            None => rows.map(|(row, target)| alone(row, *target)).collect(),
        }
    })?;
    let loss = total(&losses)?;
    let to = logits.handle();
    let shape = logits.tensor().shape().clone();
    Ok(logits.tape().result(loss, [to], move |dloss, adjoints| {
        let Some(gradient) = gradient else { return Ok(()) };
        let gradient = gradient.into_tensor(shape)?;
        scaled(&gradient, dloss.to_scalar()?)?;
        adjoints.give(to, gradient)
    }))
}

/// Adds up the losses of the rows, in order and in 64 bits, to a tensor of 32 bits.
#[expect(clippy::cast_possible_truncation, reason = "a loss has 32 bits")]
pub(crate) fn total(losses: &[f64]) -> Result<candle_core::Tensor, Error> {
    host::tensor(vec![losses.iter().sum::<f64>() as f32], ())
}

/// Multiplies in place; a factor of one is skipped.
pub(crate) fn scaled(tensor: &candle_core::Tensor, factor: f32) -> Result<(), Error> {
    if factor.to_bits() == 1f32.to_bits() {
        return Ok(());
    }
    host::write(tensor, |values| {
        values.par_chunks_mut(16 * 1024).for_each(|values| scale(values, factor));
    })
}

/// Returns the loss of a row of scores, and overwrites them by their gradient.
pub(crate) fn softmax_row(row: &mut [f32], target: u32) -> f64 {
    if target == IGNORED {
        row.fill(0.0);
        return 0.0;
    }
    let score = row[target as usize];
    let loss = exponentials(row) - score;
    row[target as usize] -= 1.0;
    f64::from(loss)
}

fn loss_of_row(row: &[f32], target: u32) -> f64 {
    if target == IGNORED {
        return 0.0;
    }
    f64::from(log_sum_exp(row) - row[target as usize])
}

simd! {
    /// Computes the softmax in place, and returns the logarithm of the sum of the exponentials.
    pub(super) fn exponentials(row: &mut [f32]) -> f32 {
        let most = simd::max(row);
        for value in row.iter_mut() {
            *value = simd::exp(*value - most);
        }
        let sum = simd::sum(row);
        let share = 1.0 / sum;
        for value in row.iter_mut() {
            *value *= share;
        }
        most + sum.ln()
    }

    fn log_sum_exp(row: &[f32]) -> f32 {
        let most = simd::max(row);
        let sum = simd::lanes(row, 0.0, |sum, x| sum + simd::exp(x - most), |one, other| one + other);
        most + sum.ln()
    }

    pub(crate) fn scale(values: &mut [f32], factor: f32) {
        for value in values {
            *value *= factor;
        }
    }
}
