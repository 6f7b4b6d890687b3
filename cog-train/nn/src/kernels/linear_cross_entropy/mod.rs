//! The cross-entropy of a linear layer's scores without the scores: `sum(cross_entropy(h W^T, targets))`.
//!
//! `h` `[.., d]` and `weight` `[classes, d]` of one float type, `targets` with one entry a row of `h`; the loss is a
//! scalar, as in [`cross_entropy`](super::cross_entropy). The scores of some rows at a time are computed, overwritten by their
//! gradient, and multiplied into the gradients of `h` and of the weight, all in the forward pass; the backward pass only
//! scales these. `[n, classes]` is never stored. Source: the idea is Liger Kernel's (Hsu et al., 2024). With label smoothing the targets are
//! those of [`cross_entropy`](super::cross_entropy) with weights of one. The gradient of scores of bfloat16 operands is rounded to bfloat16,
//! as in [`linear`](super::linear).

mod cpu;
mod cuda;
mod grouped;
mod reference;

use candle_core::{Error, Tensor};

use super::cross_entropy::{self, Smoothed, checked};
use super::gpu::Gpu;
use super::linear::{self, Operands};
use super::reference::fits;
use super::tape::Node;
use super::weight::Weight;

pub(crate) use grouped::forward as forward_grouped;

/// The sum of the losses of the rows.
///
/// # Errors
///
/// candle's error when the shapes do not fit, a target is no class, or the device fails.
pub(crate) fn forward(
    h: &Node,
    weight: impl Into<Weight>,
    targets: &Tensor,
) -> Result<Node, Error> {
    forward_smoothed(h, weight, targets, 0.0)
}

/// The sum of the losses of the rows against targets of which all classes have the share `smoothing` alike.
///
/// # Errors
///
/// Those of [`forward`].
pub(crate) fn forward_smoothed(
    h: &Node,
    weight: impl Into<Weight>,
    targets: &Tensor,
    smoothing: f64,
) -> Result<Node, Error> {
    let parameter = weight.into();
    let rows = checked_operands(h, &parameter, targets)?;
    let Weight::Tensor(weight) = &parameter else {
        if fits(h.tensor()) && parameter.fits() {
            return cpu::forward(&parameter.operand(h)?, &parameter, &rows, smoothing);
        }
        return stored(h, &parameter, targets, smoothing);
    };
    let (targets, node) = (rows, h.leaf(weight));
    // candle allocates no empty tensor on a GPU.
    if let Some(gpu) = Gpu::of([h.tensor(), weight]).filter(|_| !targets.is_empty()) {
        return cuda::forward(&gpu, h, (weight, &node), &targets, smoothing);
    }
    if fits(h.tensor()) && fits(weight) {
        cpu::forward(&parameter.operand(h)?, &parameter, &targets, smoothing)
    } else {
        reference::forward(h, &node, &targets, smoothing)
    }
}

/// Returns the target of each row of `h`.
fn checked_operands(h: &Node, weight: &Weight, targets: &Tensor) -> Result<Vec<u32>, Error> {
    let d = h.dims().last().copied().unwrap_or(0);
    let (classes, columns) = weight.dims2().map_err(|_| mismatch(h, weight))?;
    if columns != d || d == 0 {
        return Err(mismatch(h, weight));
    }
    weight.check_dtype("linear_cross_entropy", ("h", h.tensor()))?;
    checked(targets, h.tensor().elem_count() / d, classes)
}

/// Returns the rows of scores that are computed at a time, some 32 MiB: enough for products at full speed, beside which packing
/// the weight costs little.
fn rows_at_once(classes: usize) -> usize {
    ((8 << 20) / classes.max(1)).clamp(64, 512)
}

/// The same from stored scores, for a quantized weight where the CPU's kernels do not serve.
fn stored(h: &Node, weight: &Weight, targets: &Tensor, smoothing: f64) -> Result<Node, Error> {
    let (classes, _) = weight.dims2()?;
    let operands = Operands { weight, bias: None, to: None, scale: 1.0 };
    let scores = linear::forward(h, &operands)?;
    let scores = scores.map(|scores| scores.reshape(((), classes)))?;
    let options = Smoothed { weights: None, smoothing };
    cross_entropy::forward_weighted(&scores, &targets.flatten_all()?, &options)
}

fn mismatch(h: &Node, weight: &Weight) -> Error {
    let weight = match weight {
        Weight::Tensor(weight) => weight.dims().to_vec(),
        Weight::Quantized(weight) => vec![weight.dims().0, weight.dims().1],
    };
    let reason = format!("linear_cross_entropy: an input {:?} and a weight {weight:?}", h.dims());
    candle_core::Error::msg(reason)
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::super::cross_entropy::IGNORED;
    use super::super::parity;
    use super::*;
    use crate::kernels::cross_entropy;
    use crate::kernels::tape::{Buffers, collect, trace};

    /// More rows than are computed at a time, ignored targets, and smoothed ones.
    #[test]
    fn the_loss_equals_that_of_stored_scores() {
        for (n, d, classes, smoothing) in
            [(1, 1, 1, 0.0), (7, 5, 3, 0.0), (600, 9, 33, 0.0), (7, 5, 3, 1.0), (600, 9, 33, 0.1)]
        {
            let mut targets: Vec<u32> = (0..n).map(|at| at * 11 % classes).collect();
            targets[0] = if n > 1 { IGNORED } else { 0 };
            let tensor = Tensor::new(targets.as_slice(), &Device::Cpu).unwrap();
            let h = parity::draw(&[1, n as usize, d], 0);
            let weight = parity::draw(&[classes as usize, d], 1);
            let fast = |[h, weight]: [&Tensor; 2]| {
                trace([h], |[h]| forward_smoothed(&h, weight, &tensor, smoothing))?
                    .to_dtype(h.dtype())
            };
            let options = Smoothed { weights: None, smoothing };
            parity::check([&h, &weight], fast, |[h, weight]| {
                let scores = h.flatten_to(1)?.matmul(&weight.t()?)?;
                trace([&scores], |[scores]| {
                    cross_entropy::forward_weighted(&scores, &tensor, &options)
                })
            });
            parity::threads([&h, &weight], fast);
        }
    }

    /// On the CPU's fast path and in candle's operations, which computes in 64 bits here.
    ///
    /// ```python
    /// import torch
    /// h = torch.tensor([[1., 0.5], [-1, 2], [0.25, -0.75], [0.5, 1.5]], requires_grad=True)
    /// w = torch.tensor([[1., -1], [0.5, 2], [-0.25, 0.75]], requires_grad=True)
    /// targets = torch.tensor([2, 0, -100, 1])
    /// loss = torch.nn.functional.cross_entropy(h @ w.T, targets, label_smoothing=0.1, reduction="sum")
    /// loss.backward(); print(loss.item(), h.grad, w.grad)
    /// ```
    #[test]
    fn smoothed_values_and_gradients_equal_pytorchs() {
        let h = [[1f64, 0.5], [-1.0, 2.0], [0.25, -0.75], [0.5, 1.5]];
        let weight = [[1f64, -1.0], [0.5, 2.0], [-0.25, 0.75]];
        let of_h = [
            [0.679_822_56, 0.390_704_93],
            [-0.551_920_41, 2.653_006_55],
            [0.0; 2],
            [-0.055_897_86, -0.014_221_10],
        ];
        let of_weight = [
            [1.115_409_26, -1.798_172_59],
            [-0.253_956_74, 1.866_585_73],
            [-0.861_452_52, -0.068_413_34],
        ];
        let targets = Tensor::new(&[2i64, 0, -100, 1], &Device::Cpu).unwrap();
        for dtype in [DType::F32, DType::F64] {
            let var = |values: Result<Tensor, Error>| {
                candle_core::Var::from_tensor(&values.unwrap().to_dtype(dtype).unwrap()).unwrap()
            };
            let h = var(Tensor::new(&h, &Device::Cpu));
            let weight = var(Tensor::new(&weight, &Device::Cpu));
            let loss = trace([h.as_tensor()], |[h]| forward_smoothed(&h, &weight, &targets, 0.1));
            let loss = loss.unwrap();
            let gradients = loss.backward().unwrap();
            for (found, expected) in [
                (&loss, Tensor::new(8.415_735_24, &Device::Cpu)),
                (gradients.get(&h).unwrap(), Tensor::new(&of_h, &Device::Cpu)),
                (gradients.get(&weight).unwrap(), Tensor::new(&of_weight, &Device::Cpu)),
            ] {
                parity::close(found, &expected.unwrap(), 1e-6, "the loss or a gradient");
            }
        }
    }

    /// The sums of groups equal those of stored scores, each with a gradient of its own.
    #[test]
    fn losses_of_groups_equal_those_of_stored_scores() {
        for (n, count, classes) in [(1, 1, 1), (15, 3, 7), (600, 4, 33)] {
            let mut targets: Vec<u32> = (0..n).map(|at| at * 11 % classes).collect();
            // Gaps, and rows of a group that do not follow each other. The last group is empty.
            targets.iter_mut().skip(1).step_by(3).for_each(|at| *at = IGNORED);
            let groups: Vec<u32> = (0..n).map(|at| at % count).collect();
            let (count, classes) = (count as usize + 1, classes as usize);
            let h = parity::draw(&[1, n as usize, 9], 0);
            let weight = parity::draw(&[classes, 9], 1);
            let factors: Vec<f64> = (0..count).map(|at| [0.5, -2.0, 3.0][at % 3]).collect();
            let weighted = |losses: &Tensor| {
                let factors = Tensor::new(factors.as_slice(), losses.device())?;
                (losses * factors.to_dtype(losses.dtype())?)?.sum_all()
            };
            let fast = |[h, weight]: [&Tensor; 2]| {
                let targets = Tensor::new(targets.as_slice(), h.device())?;
                let groups = Tensor::new(groups.as_slice(), h.device())?;
                let losses =
                    trace([h], |[h]| forward_grouped(&h, weight, &targets, &groups, count))?;
                weighted(&losses)?.to_dtype(h.dtype())
            };
            parity::check([&h, &weight], fast, |[h, weight]| {
                let scores = h.flatten_to(1)?.matmul(&weight.t()?)?;
                let of_group = |group: usize| {
                    let of_group = |(target, other): (&u32, &u32)| {
                        if *other as usize == group { *target } else { IGNORED }
                    };
                    let targets: Vec<u32> = targets.iter().zip(&groups).map(of_group).collect();
                    let targets = Tensor::new(targets, h.device())?;
                    trace([&scores], |[scores]| cross_entropy::forward(&scores, &targets))
                };
                let losses = (0..count).map(of_group).collect::<Result<Vec<_>, _>>()?;
                weighted(&Tensor::stack(&losses, 0)?)
            });
            parity::threads([&h, &weight], fast);
        }
    }

    #[test]
    fn groups_that_do_not_fit_are_errors() {
        let (h, weight) = (parity::draw(&[3, 4], 0), parity::draw(&[5, 4], 1));
        let targets = Tensor::new(&[1u32, 4, 0], &Device::Cpu).unwrap();
        for (groups, expected) in [
            (&[0u32, 1][..], "linear_cross_entropy: groups [2] of U32, not 3 of U32"),
            (&[0, 2, 1], "linear_cross_entropy: group 2 of 2"),
        ] {
            let groups = Tensor::new(groups, &Device::Cpu).unwrap();
            let error = trace([&h], |[h]| forward_grouped(&h, &weight, &targets, &groups, 2));
            assert!(error.unwrap_err().to_string().starts_with(expected));
        }
    }

    /// The memory of the step before is written over, and a second micro-batch is added.
    #[test]
    fn gradients_in_buffers_are_those_of_the_present_step() {
        let weight =
            candle_core::Var::from_tensor(&parity::draw(&[5, 4], 1).to_dtype(DType::F32).unwrap())
                .unwrap();
        let targets = Tensor::new(&[1u32, 4, 0], &Device::Cpu).unwrap();
        let loss = |part: u64| {
            let h = parity::draw(&[3, 4], part).to_dtype(DType::F32)?;
            trace([&h], |[h]| forward(&h, &weight, &targets))
        };
        let values = |gradient: &Tensor| gradient.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let alone = |part| values(loss(part).unwrap().backward().unwrap().get(&weight).unwrap());
        let mut buffers = Buffers::new([weight.as_tensor()]);
        for step in 0..3 {
            buffers.clear();
            let mut expected = vec![0.0; 20];
            for part in [2 * step, 2 * step + 1] {
                collect(&mut buffers, || loss(part).unwrap().backward().unwrap());
                expected.iter_mut().zip(alone(part)).for_each(|(sum, value)| *sum += value);
                assert_eq!(values(buffers.get(&weight).unwrap()), expected, "part {part}");
            }
        }
    }

    /// The loss's own gradient is not always one: it is scaled against underflow.
    #[test]
    fn a_scaled_loss_has_scaled_gradients() {
        let (h, weight) = (parity::draw(&[3, 4], 0), parity::draw(&[5, 4], 1));
        let targets = Tensor::new(&[1u32, 4, 0], &Device::Cpu).unwrap();
        let scaled = |factor: f64| {
            parity::run([&h, &weight], DType::F64, |[h, weight]| {
                trace([h], |[h]| forward(&h, weight, &targets))? * factor
            })
        };
        let ((_, one), (_, eight)) = (scaled(1.0), scaled(8.0));
        for (one, eight) in one.iter().zip(&eight) {
            parity::close(eight, &(one * 8.0).unwrap(), 1e-12, "gradients");
        }
    }
}
