//! The losses of groups of rows, such as the tokens of one text: minus the log-probability of the group's targets.
//!
//! The forward pass saves the gradient of `h` for a loss whose own gradient is one; the backward pass scales its rows. The
//! scores are computed again for the gradient of the weight alone, in which rows are mixed.

use candle_core::{DType, Error, Tensor};

use super::cpu::Scores;
use super::{checked_operands, reference, rows_at_once};
use crate::kernels::cross_entropy::scale;
use crate::kernels::output::Buffer;
use crate::kernels::reference::fits;
use crate::kernels::tape::{Handle, Node};
use crate::kernels::weight::Weight;
use crate::kernels::{host, rows};

/// The target and the group of each row.
struct Grouped {
    targets: Vec<u32>,
    groups: Vec<u32>,
    count: usize,
}

/// The sum of the losses of each group, `[count]`. `groups` has one index of 32 bits for each row of `h`.
///
/// # Errors
///
/// candle's error when the shapes do not fit, a target is no class, a group is not below `count`, or the device fails.
pub(crate) fn forward(
    h: &Node,
    weight: impl Into<Weight>,
    targets: &Tensor,
    groups: &Tensor,
    count: usize,
) -> Result<Node, Error> {
    let weight = weight.into();
    let targets = checked_operands(h, &weight, targets)?;
    let (n, (_, d)) = (targets.len(), weight.dims2()?);
    if groups.elem_count() != n || groups.dtype() != DType::U32 {
        let (found, dtype) = (groups.dims(), groups.dtype());
        return Err(Error::msg(format!(
            "linear_cross_entropy: groups {found:?} of {dtype:?}, not {n} of U32"
        )));
    }
    let groups: Vec<u32> = groups.flatten_all()?.to_vec1()?;
    if let Some(group) = groups.iter().find(|group| **group as usize >= count) {
        return Err(Error::msg(format!("linear_cross_entropy: group {group} of {count}")));
    }
    let grouped = Grouped { targets, groups, count };
    let h = h.map(|h| h.reshape((n, d)))?;
    if fits(h.tensor()) && weight.fits() {
        let (weight, to) = weight.on(&h)?;
        return on_cpu(&weight.operand(&h)?, weight, to, grouped);
    }
    // A quantized weight is decoded here: its kernels are the CPU's.
    on_any(&h, &h.leaf(&weight.to_tensor()?), grouped)
}

/// `to` is the node of the weight.
fn on_cpu(h: &Node, weight: Weight, to: Handle, grouped: Grouped) -> Result<Node, Error> {
    let to = [h.handle(), to];
    let (classes, d) = weight.dims2()?;
    let n = grouped.targets.len();
    let mut of_h = to[0].map(|_| Buffer::new(n * d));
    let mut losses = vec![0.0; n];
    // Only the gradient of the weight needs the rows again.
    let saved = to[1].map(|_| h.saved());
    rows::read(h.tensor(), d, |h| {
        weight.read(|weight| {
            let (targets, smoothed) = (&grouped.targets, None);
            let rows = Scores { h, weight, targets, smoothed, factors: None, classes, d };
            rows.all(&mut losses, of_h.as_mut().map(Buffer::output), None);
        })
    })??;
    let mut sums = vec![0.0; grouped.count];
    for (group, loss) in grouped.groups.iter().zip(&losses) {
        sums[*group as usize] += loss;
    }
    #[expect(clippy::cast_possible_truncation, reason = "a loss has 32 bits")]
    let sums = host::tensor(sums.into_iter().map(|sum| sum as f32).collect(), grouped.count)?;
    Ok(h.tape().result(sums, to, move |dsums, adjoints| {
        let dsums: Vec<f32> = dsums.to_vec1()?;
        let factors: Vec<f32> = grouped.groups.iter().map(|group| dsums[*group as usize]).collect();
        if let Some(of_h) = of_h {
            let mut of_h = of_h.into_vec();
            of_h.chunks_mut(d).zip(&factors).for_each(|(row, factor)| scale(row, *factor));
            adjoints.give(to[0], host::tensor(of_h, (n, d))?)?;
        }
        if let Some(saved) = saved {
            let of_weight = rows::read(&saved.tensor()?, d, |h| {
                weight.read(|weight| {
                    let (targets, factors) = (&grouped.targets, Some(factors.as_slice()));
                    let rows = Scores { h, weight, targets, smoothed: None, factors, classes, d };
                    host::make((classes, d), |output| rows.all(&mut losses, None, Some(output)))
                })
            })???;
            adjoints.give(to[1], of_weight)?;
        }
        Ok(())
    }))
}

/// In candle's operations.
fn on_any(h: &Node, weight: &Node, grouped: Grouped) -> Result<Node, Error> {
    let to = [h.handle(), weight.handle()];
    let (h, w) = (h.tensor().clone(), weight.tensor().contiguous()?);
    let most = rows_at_once(w.dim(0)?);
    let (n, device) = (grouped.targets.len(), h.device().clone());
    let mut of_h = Vec::new();
    let mut losses = Vec::new();
    for (at, targets) in grouped.targets.chunks(most).enumerate() {
        let part = reference::Part::new(&h.narrow(0, at * most, targets.len())?, &w, targets, 0.0)?;
        if to[0].is_some() {
            of_h.push(part.gradient()?.matmul(&w)?);
        }
        losses.push(part.losses()?);
    }
    let groups = Tensor::new(grouped.groups.as_slice(), &device)?;
    let wide = reference::wide(&h);
    let mut sums = Tensor::zeros(grouped.count, wide, &device)?;
    if n > 0 {
        sums = sums.index_add(&groups, &Tensor::cat(&losses, 0)?, 0)?;
    }
    let of_h = if of_h.is_empty() { None } else { Some(Tensor::cat(&of_h, 0)?) };
    Ok(weight.tape().result(sums, to, move |dsums, adjoints| {
        if n == 0 {
            return Ok(());
        }
        let factors = dsums.index_select(&groups, 0)?.unsqueeze(1)?.to_dtype(h.dtype())?;
        if let Some(of_h) = of_h {
            adjoints.give(to[0], of_h.broadcast_mul(&factors)?)?;
        }
        if to[1].is_none() {
            return Ok(());
        }
        let mut of_weight = w.zeros_like()?;
        for (at, targets) in grouped.targets.chunks(most).enumerate() {
            let range = (at * most, targets.len());
            let h = h.narrow(0, range.0, range.1)?;
            let gradient = reference::Part::new(&h, &w, targets, 0.0)?.gradient()?;
            let gradient = gradient.broadcast_mul(&factors.narrow(0, range.0, range.1)?)?;
            of_weight = (of_weight + gradient.t()?.matmul(&h)?)?;
        }
        adjoints.give(to[1], of_weight)
    }))
}
