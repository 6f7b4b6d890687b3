//! One pass over a weight, its gradient and its state on the CPU: each number is read once and written once.
//!
//! candle hands out one writable storage per in-place operation. The operations are nested here: inside the one on the
//! weight stands one on the first state, inside that one on the second, so all slices are at hand at once, without
//! `unsafe`. The threads share the work in chunks of a fixed size, so the result does not depend on their number.

use std::cell::RefCell;

use candle_core::{CpuStorage, DType, InplaceOp1, InplaceOp2, Layout, Tensor};
use rayon::prelude::*;

use super::host;
use crate::error::Error;

/// Elements in a chunk: 64 KiB for each slice, so that four fit into a core's second-level cache.
const CHUNK: usize = 16 * 1024;

/// Whether two tensors are stored in the same place, which a nested operation would wait for for ever.
pub(crate) fn same_storage(one: &Tensor, other: &Tensor) -> bool {
    // The guards are dropped at once: two read locks on one storage are never held together.
    let place = |tensor: &Tensor| std::ptr::from_ref(&*tensor.storage_and_layout().0);
    std::ptr::eq(place(one), place(other))
}

/// Whether [`each`] can do it: on the CPU, and [alike](are_alike).
pub(crate) fn fits(weight: &Tensor, gradient: &Tensor, states: &[&Tensor]) -> bool {
    [weight, gradient].iter().chain(states).all(|tensor| host::on_cpu(tensor))
        && are_alike(weight, gradient, states)
}

/// Whether one pass can go over all tensors: 32-bit floats without gaps, each tensor with a storage of its own.
pub(crate) fn are_alike(weight: &Tensor, gradient: &Tensor, states: &[&Tensor]) -> bool {
    let plain = |tensor: &Tensor| {
        tensor.dtype() == DType::F32 && tensor.is_contiguous() && tensor.dims() == weight.dims()
    };
    plain(weight)
        && plain(gradient)
        && !same_storage(weight, gradient)
        && states.iter().enumerate().all(|(at, state)| {
            plain(state)
                && !same_storage(state, weight)
                && !same_storage(state, gradient)
                && states[..at].iter().all(|other| !same_storage(state, other))
        })
}

/// Calls `work(weight, gradient, states)` on chunks of equal length of all slices, on all threads.
///
/// # Errors
///
/// [`Error::Tensor`] when the tensors do not [fit](fits).
pub(crate) fn each<const S: usize>(
    weight: &Tensor,
    gradient: &Tensor,
    states: [&Tensor; S],
    work: impl Fn(&mut [f32], &[f32], [&mut [f32]; S]) + Sync,
) -> Result<(), Error> {
    if !fits(weight, gradient, &states) {
        let reason =
            "a fused update asks for 32-bit floats without gaps, each in a storage of its own";
        return Err(candle_core::Error::msg(reason).into());
    }
    let pass = |weight: &mut [f32], gradient: &[f32], slices: Vec<&mut [f32]>| {
        let Ok(slices) = <[&mut [f32]; S]>::try_from(slices) else { return };
        let mut slices = slices.map(|slice| slice.chunks_mut(CHUNK));
        let jobs: Vec<_> = weight
            .chunks_mut(CHUNK)
            .zip(gradient.chunks(CHUNK))
            .map(|(weight, gradient)| {
                (
                    weight,
                    gradient,
                    slices.each_mut().map(|chunks| chunks.next().unwrap_or_default()),
                )
            })
            .collect();
        jobs.into_par_iter().for_each(|(weight, gradient, states)| work(weight, gradient, states));
    };
    Ok(weight.inplace_op2(gradient, &Weight { states: &states, pass: &pass })?)
}

/// The outermost operation: it has the weight and the gradient.
struct Weight<'a, F> {
    states: &'a [&'a Tensor],
    pass: &'a F,
}

impl<F: Fn(&mut [f32], &[f32], Vec<&mut [f32]>)> InplaceOp2 for Weight<'_, F> {
    fn name(&self) -> &'static str {
        "fused-update"
    }

    fn cpu_fwd(
        &self,
        weight: &mut CpuStorage,
        weight_layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> candle_core::Result<()> {
        let weight = slice_mut(weight, weight_layout)?;
        let gradient = match gradient_layout.contiguous_offsets() {
            Some((start, end)) => &gradient.as_slice::<f32>()?[start..end],
            None => return Err(gaps()),
        };
        descend(self.states, weight, gradient, Vec::new(), self.pass)
    }
}

/// An inner operation: it has one state more than the one around it.
struct State<'a, F> {
    rest: &'a [&'a Tensor],
    gradient: &'a [f32],
    /// What the operations around it opened. It is taken out: an operation has only `&self`.
    open: RefCell<Option<Open<'a>>>,
    pass: &'a F,
}

struct Open<'a> {
    weight: &'a mut [f32],
    states: Vec<&'a mut [f32]>,
}

impl<F: Fn(&mut [f32], &[f32], Vec<&mut [f32]>)> InplaceOp1 for State<'_, F> {
    fn name(&self) -> &'static str {
        "fused-update-state"
    }

    fn cpu_fwd(&self, state: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let Some(Open { weight, mut states }) = self.open.take() else {
            return Err(candle_core::Error::msg("a fused update ran twice"));
        };
        states.push(slice_mut(state, layout)?);
        descend(self.rest, weight, self.gradient, states, self.pass)
    }
}

fn descend<F: Fn(&mut [f32], &[f32], Vec<&mut [f32]>)>(
    rest: &[&Tensor],
    weight: &mut [f32],
    gradient: &[f32],
    states: Vec<&mut [f32]>,
    pass: &F,
) -> candle_core::Result<()> {
    match rest.split_first() {
        None => pass(weight, gradient, states),
        Some((next, rest)) => {
            let open = RefCell::new(Some(Open { weight, states }));
            next.inplace_op1(&State { rest, gradient, open, pass })?;
        }
    }
    Ok(())
}

fn slice_mut<'a>(
    storage: &'a mut CpuStorage,
    layout: &Layout,
) -> candle_core::Result<&'a mut [f32]> {
    let CpuStorage::F32(numbers) = storage else {
        return Err(candle_core::Error::msg("a fused update asks for 32-bit floats"));
    };
    let Some((start, end)) = layout.contiguous_offsets() else { return Err(gaps()) };
    Ok(&mut numbers[start..end])
}

fn gaps() -> candle_core::Error {
    candle_core::Error::msg("a fused update asks for tensors without gaps")
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    /// Lengths around the chunk's: the last chunk is short, and nothing is left out or done twice.
    #[test]
    fn every_element_once() {
        for length in [1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 17] {
            let zeros = || Var::zeros(length, DType::F32, &Device::Cpu).unwrap();
            let (weight, first, second) = (zeros(), zeros(), zeros());
            let gradient =
                Tensor::arange(0f32, u16::try_from(length).unwrap().into(), &Device::Cpu);
            let gradient = gradient.unwrap();
            each(&weight, &gradient, [&first, &second], |weight, gradient, [first, second]| {
                for at in 0..weight.len() {
                    weight[at] += gradient[at];
                    first[at] += 2.0 * gradient[at];
                    second[at] += 3.0;
                }
            })
            .unwrap();
            let vec = |tensor: &Tensor| tensor.to_vec1::<f32>().unwrap();
            assert_eq!(vec(&weight), vec(&gradient));
            assert_eq!(vec(&first), vec(&(&gradient * 2.0).unwrap()));
            assert_eq!(vec(&second), vec![3.0; length]);
            assert!(weight.is_variable() && first.is_variable());
        }
    }

    /// A part of a larger tensor begins somewhere inside its storage.
    #[test]
    fn parts_of_a_tensor_begin_where_they_begin() {
        let whole = Tensor::zeros((3, 2), DType::F32, &Device::Cpu).unwrap();
        let gradient = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu).unwrap();
        let part = whole.narrow(0, 1, 1).unwrap();
        each(&part, &gradient.narrow(0, 1, 1).unwrap(), [], |weight, gradient, []| {
            weight.copy_from_slice(gradient);
        })
        .unwrap();
        assert_eq!(whole.to_vec2::<f32>().unwrap(), [[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]]);
    }

    /// Not a wait for ever.
    #[test]
    fn one_tensor_twice_is_refused() {
        let zeros = || Tensor::zeros(4, DType::F32, &Device::Cpu).unwrap();
        let (a, b, c) = (zeros(), zeros(), zeros());
        for (weight, gradient, states) in
            [(&a, &a, [&b, &c]), (&a, &b, [&a, &c]), (&a, &b, [&b, &c]), (&a, &b, [&c, &c])]
        {
            assert!(each(weight, gradient, states, |_, _, _| {}).is_err());
        }
        let half = zeros().to_dtype(DType::F16).unwrap();
        assert!(each(&a, &half, [], |_, _, _| {}).is_err());
    }
}
