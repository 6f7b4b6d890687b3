//! The losses of each row of a batch: minus the log-probabilities of its targets. Positions without a target are left out
//! before any score is computed.
//!
//! The forward pass saves the gradient of `h` for a loss whose own gradient is one; the backward pass scales its rows. The
//! scores are computed again for the gradient of the weight alone, whose rows are mixed.

use candle_core::{Error, Tensor};

use super::cpu::Rows;
use super::{mismatch, reference, rows_at_once};
use crate::kernels::cross_entropy::{IGNORED, checked, scale};
use crate::kernels::output::Buffer;
use crate::kernels::reference::fits;
use crate::kernels::tape::Node;
use crate::kernels::{dtypes, host, layout};

/// The positions that have a target, and what is added up.
struct Kept {
    targets: Vec<u32>,
    /// The row of the batch of each.
    rows: Vec<u32>,
    batch: usize,
}

/// The sum of the losses of each row of the batch, `[B]`.
///
/// # Errors
///
/// candle's error when the shapes do not fit, a target is no class, or the device fails.
pub(crate) fn forward(h: &Node, weight: &Tensor, targets: &Tensor) -> Result<Node, Error> {
    let (&[batch, length, d], &[classes, columns]) = (h.dims(), weight.dims()) else {
        return Err(mismatch(h, weight));
    };
    if columns != d || d == 0 {
        return Err(mismatch(h, weight));
    }
    if targets.dims() != [batch, length] {
        let (found, expected) = (targets.dims(), [batch, length]);
        let reason = format!("linear_cross_entropy: targets {found:?}, not {expected:?}");
        return Err(Error::msg(reason));
    }
    dtypes::check("linear_cross_entropy", ("h", h.tensor()), [("weight", Some(weight))])?;
    let targets = checked(targets, batch * length, classes)?;
    let (mut positions, mut kept) =
        (Vec::new(), Kept { targets: Vec::new(), rows: Vec::new(), batch });
    for (row, of_row) in (0u32..).zip(targets.chunks(length.max(1))) {
        for (at, target) in of_row.iter().enumerate().filter(|(_, target)| **target != IGNORED) {
            positions.push(u32::try_from(row as usize * length + at).map_err(Error::wrap)?);
            kept.targets.push(*target);
            kept.rows.push(row);
        }
    }
    let flat = h.map(|h| h.reshape((batch * length, d)))?;
    let positions = Tensor::new(positions, h.tensor().device())?;
    let h = layout::index_select(&flat, 0, &positions)?;
    let node = h.leaf(weight);
    if fits(h.tensor()) && fits(weight) {
        on_cpu(&h.map(host::contiguous)?, &node.map(host::contiguous)?, kept)
    } else {
        on_any(&h, &node, kept)
    }
}

fn on_cpu(h: &Node, weight: &Node, kept: Kept) -> Result<Node, Error> {
    let to = [h.handle(), weight.handle()];
    let (classes, d) = weight.tensor().dims2()?;
    let n = kept.targets.len();
    let mut of_h = to[0].map(|_| Buffer::new(n * d));
    let mut losses = vec![0.0; n];
    let (h_saved, weight_saved) = (h.tensor().clone(), weight.tensor().clone());
    host::read([&h_saved, &weight_saved], |[h, weight]| {
        let rows = Rows { h, weight, targets: &kept.targets, factors: None, classes, d };
        rows.all(&mut losses, of_h.as_mut().map(Buffer::output), None);
    })?;
    let mut sums = vec![0.0; kept.batch];
    for (row, loss) in kept.rows.iter().zip(&losses) {
        sums[*row as usize] += loss;
    }
    #[expect(clippy::cast_possible_truncation, reason = "a loss has 32 bits")]
    let sums = host::tensor(sums.into_iter().map(|sum| sum as f32).collect(), kept.batch)?;
    Ok(h.tape().result(sums, to, move |dsums, adjoints| {
        let dsums: Vec<f32> = dsums.to_vec1()?;
        let factors: Vec<f32> = kept.rows.iter().map(|row| dsums[*row as usize]).collect();
        if let Some(of_h) = of_h {
            let mut of_h = of_h.into_vec();
            of_h.chunks_mut(d).zip(&factors).for_each(|(row, factor)| scale(row, *factor));
            adjoints.give(to[0], host::tensor(of_h, (n, d))?)?;
        }
        if to[1].is_some() {
            let of_weight = host::read([&h_saved, &weight_saved], |[h, weight]| {
                let (targets, factors) = (&kept.targets, Some(factors.as_slice()));
                let rows = Rows { h, weight, targets, factors, classes, d };
                host::make((classes, d), |output| rows.all(&mut losses, None, Some(output)))
            })??;
            adjoints.give(to[1], of_weight)?;
        }
        Ok(())
    }))
}

/// In candle's operations.
fn on_any(h: &Node, weight: &Node, kept: Kept) -> Result<Node, Error> {
    let to = [h.handle(), weight.handle()];
    let (h, w) = (h.tensor().clone(), weight.tensor().contiguous()?);
    let most = rows_at_once(w.dim(0)?);
    let (n, device) = (kept.targets.len(), h.device().clone());
    let mut of_h = Vec::new();
    let mut losses = Vec::new();
    for (at, targets) in kept.targets.chunks(most).enumerate() {
        let part = reference::Part::new(&h.narrow(0, at * most, targets.len())?, &w, targets)?;
        if to[0].is_some() {
            of_h.push(part.gradient()?.matmul(&w)?);
        }
        losses.push(part.losses()?);
    }
    let rows = Tensor::new(kept.rows.as_slice(), &device)?;
    let wide = reference::wide(&h);
    let mut sums = Tensor::zeros(kept.batch, wide, &device)?;
    if n > 0 {
        sums = sums.index_add(&rows, &Tensor::cat(&losses, 0)?, 0)?;
    }
    let of_h = if of_h.is_empty() { None } else { Some(Tensor::cat(&of_h, 0)?) };
    Ok(weight.tape().result(sums, to, move |dsums, adjoints| {
        if n == 0 {
            return Ok(());
        }
        let factors = dsums.index_select(&rows, 0)?.unsqueeze(1)?.to_dtype(h.dtype())?;
        if let Some(of_h) = of_h {
            adjoints.give(to[0], of_h.broadcast_mul(&factors)?)?;
        }
        if to[1].is_none() {
            return Ok(());
        }
        let mut of_weight = w.zeros_like()?;
        for (at, targets) in kept.targets.chunks(most).enumerate() {
            let range = (at * most, targets.len());
            let h = h.narrow(0, range.0, range.1)?;
            let gradient = reference::Part::new(&h, &w, targets)?.gradient()?;
            let gradient = gradient.broadcast_mul(&factors.narrow(0, range.0, range.1)?)?;
            of_weight = (of_weight + gradient.t()?.matmul(&h)?)?;
        }
        adjoints.give(to[1], of_weight)
    }))
}
