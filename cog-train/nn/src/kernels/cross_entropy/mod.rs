//! The cross-entropy of scores, added up over the targets (PyTorch's `cross_entropy` with `reduction="sum"`):
//!
//! ```text
//! loss = sum over i of log(sum over j of exp(logits[i, j])) - logits[i, targets[i]]
//! ```
//!
//! `logits` `[n, classes]` of a float type, `targets` `[n]` of an integer type; the loss is a scalar, in 32 bits for
//! scores of 16. A row whose target is [`IGNORED`] counts for nothing. Backward: `dlogits[i] = dloss * (softmax(logits[i]) - onehot(targets[i]))`.

mod cpu;
mod cuda;
mod reference;
mod weighted;

use candle_core::{DType, Error, Tensor};

use super::gpu::Gpu;
use super::reference::dispatch_wide;
use super::tape::Node;

pub(crate) use cpu::{scale, scaled, softmax_row, total};
pub(crate) use cuda::softmax_rows;
pub(crate) use weighted::{Expected, Smoothed, forward_weighted};

/// The target of a row that does not count: padding, or a prompt that is not to be learned.
pub const IGNORED: u32 = u32::MAX;

/// The sum of the losses of the rows.
///
/// # Errors
///
/// candle's error when the shapes do not fit, a target is no class, or the device fails.
pub(crate) fn forward(logits: &Node, targets: &Tensor) -> Result<Node, Error> {
    let n = rows_of(logits)?;
    let targets = checked(targets, n, logits.dims()[1])?;
    if let Some(gpu) = Gpu::of([logits.tensor()]) {
        return cuda::forward(&gpu, logits, &targets, 0.0);
    }
    let again = targets.clone();
    dispatch_wide(
        [logits],
        move |[logits]| cpu::forward(&logits, &targets),
        move |[logits]| reference::forward(logits, &again),
    )
}

/// Returns the number of rows of scores `[rows, classes]`.
fn rows_of(logits: &Node) -> Result<usize, Error> {
    let &[rows, _] = logits.dims() else {
        let reason =
            format!("cross_entropy: scores {:?}, which are to be [rows, classes]", logits.dims());
        return Err(candle_core::Error::msg(reason));
    };
    Ok(rows)
}

/// Returns the targets, of which there must be `n`, each a class or [`IGNORED`]. A negative one, such as PyTorch's
/// -100, is ignored too.
pub(crate) fn checked(targets: &Tensor, n: usize, classes: usize) -> Result<Vec<u32>, Error> {
    let refused = |reason: String| candle_core::Error::msg(reason);
    let targets = targets.flatten_all()?;
    let targets: Vec<u32> = match targets.dtype() {
        DType::I64 => {
            let wide: Vec<i64> = targets.to_vec1()?;
            wide.into_iter().map(|target| u32::try_from(target).unwrap_or(IGNORED)).collect()
        }
        _ => targets.to_dtype(DType::U32)?.to_vec1()?,
    };
    if targets.len() != n {
        return Err(refused(format!(
            "cross_entropy: the rows of scores are {n}, and the targets {}",
            targets.len()
        )));
    }
    match targets.iter().find(|target| **target != IGNORED && **target as usize >= classes) {
        Some(target) => {
            Err(refused(format!("cross_entropy: target {target} of {classes} classes")))
        }
        None => Ok(targets),
    }
}

#[cfg(test)]
mod tests;
