//! Fused in-place updates: one pass over a weight, its gradient and its state on the CPU.
//!
//! candle borrows one storage mutably per in-place operation. The operations are nested here: the one on the first state
//! runs inside the one on the weight, and so on, so that all slices are borrowed at once without `unsafe`. The threads
//! share chunks of a fixed size, so the result does not depend on the number of threads.

use std::cell::RefCell;

use candle_core::{CpuStorage, DType, Error, InplaceOp1, InplaceOp2, Layout, Tensor};
use rayon::prelude::*;

use super::host;
use super::simd::LINE;

/// Elements in a chunk: 64 KiB of each slice, so that four fit into the second-level cache of a core.
const CHUNK: usize = 16 * 1024;

/// Whether two tensors share a storage, on which nested operations would deadlock.
#[must_use]
pub fn same_storage(one: &Tensor, other: &Tensor) -> bool {
    // One after the other: two read locks on one storage are never held together.
    host::storage_address(one) == host::storage_address(other)
}

/// Whether [`each`] supports the tensors: on the CPU, and contiguous 32-bit floats of one shape, each in a storage of its own.
#[must_use]
pub fn fits(weight: &Tensor, gradient: &Tensor, states: &[&Tensor]) -> bool {
    [weight, gradient].iter().chain(states).all(|tensor| host::on_cpu(tensor))
        && are_alike(weight, gradient, states)
}

/// Whether one pass can update all tensors: contiguous 32-bit floats of one shape, each in a storage of its own.
pub(crate) fn are_alike(weight: &Tensor, gradient: &Tensor, states: &[&Tensor]) -> bool {
    let has_layout = |tensor: &Tensor| {
        tensor.dtype() == DType::F32 && tensor.is_contiguous() && tensor.dims() == weight.dims()
    };
    has_layout(weight)
        && has_layout(gradient)
        && !same_storage(weight, gradient)
        && states.iter().enumerate().all(|(at, state)| {
            has_layout(state)
                && !same_storage(state, weight)
                && !same_storage(state, gradient)
                && states[..at].iter().all(|other| !same_storage(state, other))
        })
}

/// Updates the elements of `written` in place, on all threads: `update` maps their old values and the element of the
/// gradient to their new values.
///
/// # Errors
///
/// candle's error when the tensors do not [fit](fits).
pub fn each<const N: usize>(
    written: [&Tensor; N],
    gradient: &Tensor,
    update: impl Fn([f32; N], f32) -> [f32; N] + Sync,
) -> Result<(), Error> {
    let Some((weight, states)) = written.split_first().filter(|(w, s)| fits(w, gradient, s)) else {
        return Err(candle_core::Error::msg(
            "a fused update takes contiguous 32-bit floats of one shape, each in a storage of its own",
        ));
    };
    let pass = |gradient: &[f32], written: Vec<&mut [f32]>| {
        let Ok(written) = <[&mut [f32]; N]>::try_from(written) else {
            return Err(candle_core::Error::msg(
                "a fused update borrowed the wrong number of tensors",
            ));
        };
        let mut chunks = written.map(|slice| slice.chunks_mut(CHUNK));
        let next = |gradient| (chunks.each_mut().map(|it| it.next().unwrap_or_default()), gradient);
        let jobs: Vec<_> = gradient.chunks(CHUNK).map(next).collect();
        jobs.into_par_iter()
            .for_each(|(written, gradient)| update_chunk(written, gradient, &update));
        Ok(())
    };
    weight.inplace_op2(gradient, &WeightOp { states, pass: &pass })
}

fn update_chunk<const N: usize>(
    written: [&mut [f32]; N],
    gradient: &[f32],
    update: &impl Fn([f32; N], f32) -> [f32; N],
) {
    let (gradient_lines, gradient_rest) = gradient.as_chunks::<LINE>();
    let mut rests = [(); N].map(|()| <&mut [f32]>::default());
    let mut lines = [(); N].map(|()| <&mut [[f32; LINE]]>::default());
    for (slice, (lines, rest)) in written.into_iter().zip(lines.iter_mut().zip(&mut rests)) {
        (*lines, *rest) = slice.as_chunks_mut();
    }
    for (at, gradient) in gradient_lines.iter().enumerate() {
        // Between the reads and the writes there are only local arrays, which the compiler keeps in vector registers.
        let mut values = lines.each_ref().map(|lines| lines[at]);
        for (lane, gradient) in gradient.iter().enumerate() {
            let updated = update(values.each_ref().map(|values| values[lane]), *gradient);
            for (values, updated) in values.iter_mut().zip(updated) {
                values[lane] = updated;
            }
        }
        for (lines, values) in lines.iter_mut().zip(values) {
            lines[at] = values;
        }
    }
    for (at, gradient) in gradient_rest.iter().enumerate() {
        let updated = update(rests.each_ref().map(|rest| rest[at]), *gradient);
        for (rest, updated) in rests.iter_mut().zip(updated) {
            rest[at] = updated;
        }
    }
}

/// The outermost operation: it borrows the weight and the gradient.
struct WeightOp<'a, F> {
    states: &'a [&'a Tensor],
    pass: &'a F,
}

impl<F: Fn(&[f32], Vec<&mut [f32]>) -> candle_core::Result<()>> InplaceOp2 for WeightOp<'_, F> {
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
        let gradient = match gradient_layout.contiguous_offsets() {
            Some((start, end)) => &gradient.as_slice::<f32>()?[start..end],
            None => return Err(not_contiguous()),
        };
        descend(self.states, gradient, vec![slice_mut(weight, weight_layout)?], self.pass)
    }
}

/// An inner operation: it borrows one state more than the one around it.
struct StateOp<'a, F> {
    rest: &'a [&'a Tensor],
    gradient: &'a [f32],
    /// The slices that the outer operations borrowed. Taken by the operation, which has only `&self`.
    borrowed: RefCell<Option<Vec<&'a mut [f32]>>>,
    pass: &'a F,
}

impl<F: Fn(&[f32], Vec<&mut [f32]>) -> candle_core::Result<()>> InplaceOp1 for StateOp<'_, F> {
    fn name(&self) -> &'static str {
        "fused-update-state"
    }

    fn cpu_fwd(&self, state: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let Some(mut borrowed) = self.borrowed.take() else {
            return Err(candle_core::Error::msg("a fused update ran twice"));
        };
        borrowed.push(slice_mut(state, layout)?);
        descend(self.rest, self.gradient, borrowed, self.pass)
    }
}

fn descend<F: Fn(&[f32], Vec<&mut [f32]>) -> candle_core::Result<()>>(
    rest: &[&Tensor],
    gradient: &[f32],
    borrowed: Vec<&mut [f32]>,
    pass: &F,
) -> candle_core::Result<()> {
    match rest.split_first() {
        None => pass(gradient, borrowed),
        Some((next, rest)) => {
            let borrowed = RefCell::new(Some(borrowed));
            next.inplace_op1(&StateOp { rest, gradient, borrowed, pass })
        }
    }
}

fn slice_mut<'a>(
    storage: &'a mut CpuStorage,
    layout: &Layout,
) -> candle_core::Result<&'a mut [f32]> {
    let CpuStorage::F32(values) = storage else {
        return Err(candle_core::Error::msg("a fused update takes 32-bit floats"));
    };
    let Some((start, end)) = layout.contiguous_offsets() else { return Err(not_contiguous()) };
    Ok(&mut values[start..end])
}

fn not_contiguous() -> candle_core::Error {
    candle_core::Error::msg("a fused update takes contiguous tensors")
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    /// At lengths around that of a chunk, whose last chunk is short.
    #[test]
    fn every_element_is_updated_once() {
        for length in [1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 17] {
            let zeros = || Var::zeros(length, DType::F32, &Device::Cpu).unwrap();
            let (weight, first, second) = (zeros(), zeros(), zeros());
            let gradient =
                Tensor::arange(0f32, u16::try_from(length).unwrap().into(), &Device::Cpu);
            let gradient = gradient.unwrap();
            each([&weight, &first, &second], &gradient, |[weight, first, second], gradient| {
                [weight + gradient, first + 2.0 * gradient, second + 3.0]
            })
            .unwrap();
            let vec = |tensor: &Tensor| tensor.to_vec1::<f32>().unwrap();
            assert_eq!(vec(&weight), vec(&gradient));
            assert_eq!(vec(&first), vec(&(&gradient * 2.0).unwrap()));
            assert_eq!(vec(&second), vec![3.0; length]);
            assert!(weight.is_variable() && first.is_variable());
        }
    }

    #[test]
    fn an_update_of_a_narrowed_tensor_leaves_the_rest_of_its_storage() {
        let whole = Tensor::zeros((3, 2), DType::F32, &Device::Cpu).unwrap();
        let gradient = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu).unwrap();
        let part = whole.narrow(0, 1, 1).unwrap();
        each([&part], &gradient.narrow(0, 1, 1).unwrap(), |_, gradient| [gradient]).unwrap();
        assert_eq!(whole.to_vec2::<f32>().unwrap(), [[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]]);
    }

    #[test]
    fn tensors_that_share_a_storage_are_rejected_instead_of_a_deadlock() {
        let zeros = || Tensor::zeros(4, DType::F32, &Device::Cpu).unwrap();
        let (a, b, c) = (zeros(), zeros(), zeros());
        for (written, gradient) in
            [([&a, &b, &c], &a), ([&a, &a, &c], &b), ([&a, &b, &c], &b), ([&a, &c, &c], &b)]
        {
            assert!(each(written, gradient, |written, _| written).is_err());
        }
        let half = zeros().to_dtype(DType::F16).unwrap();
        assert!(each([&a], &half, |written, _| written).is_err());
    }
}
