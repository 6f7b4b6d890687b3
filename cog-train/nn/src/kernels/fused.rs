//! One pass over a weight, its gradient and its state on the CPU: each number is read once and written once.
//!
//! candle hands out one writable storage per in-place operation. The operations are nested here: inside the one on the
//! weight stands one on the first state, inside that one on the second, so all slices are at hand at once. The threads share the work in chunks of a fixed size, so the result does not depend on their number.

use std::cell::{Cell, RefCell};
use std::ops::Range;

use candle_core::{CpuStorage, DType, Error, InplaceOp1, InplaceOp2, Layout, Tensor};
use rayon::prelude::*;

use super::simd::{self, LINE};
use super::{host, spare};

/// Elements in a chunk: 64 KiB for each slice, so that four fit into a core's second-level cache.
const CHUNK: usize = 16 * 1024;

/// Whether two tensors are stored in the same place, which a nested operation would wait for for ever.
pub fn same_storage(one: &Tensor, other: &Tensor) -> bool {
    // One after the other: two read locks on one storage are never held together.
    host::storage_address(one) == host::storage_address(other)
}

/// Whether [`each`] can do it: on the CPU, and [alike](are_alike).
pub fn fits(weight: &Tensor, gradient: &Tensor, states: &[&Tensor]) -> bool {
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

/// Calls `work` with each element of `written` and of the gradient, on all threads, and writes what it gives.
///
/// It is written in place, or into [spare] memory where somebody reads what was there.
///
/// # Errors
///
/// candle's error when the tensors do not [fit](fits).
pub fn each<const N: usize>(
    written: [&Tensor; N],
    gradient: &Tensor,
    work: impl Fn([f32; N], f32) -> [f32; N] + Sync,
) -> Result<(), Error> {
    let Some((weight, states)) = written.split_first().filter(|(w, s)| fits(w, gradient, s)) else {
        let reason =
            "a fused update asks for 32-bit floats without gaps, each in a storage of its own";
        return Err(candle_core::Error::msg(reason).into());
    };
    let spares = RefCell::new(spare::take(written));
    let pass = |gradient: &[f32], written: Vec<Written<'_>>| {
        let Ok(written) = <[Written<'_>; N]>::try_from(written) else {
            return Err(candle_core::Error::msg(
                "a fused update has opened another number of tensors",
            ));
        };
        match &mut *spares.borrow_mut() {
            Some(spares) => elsewhere(written, spares, gradient, &work),
            None => in_place(written.map(|it| &mut it.storage[it.range]), gradient, &work),
        }
        Ok(())
    };
    weight.inplace_op2(gradient, &Weight { states, pass: &pass })?;
    if let Some(old) = spares.into_inner() {
        spare::put_back(written, old);
    }
    Ok(())
}

/// What an update writes to: a storage, and the part of it that is the tensor's.
struct Written<'a> {
    storage: &'a mut Vec<f32>,
    range: Range<usize>,
}

fn in_place<const N: usize>(
    written: [&mut [f32]; N],
    gradient: &[f32],
    work: &(impl Fn([f32; N], f32) -> [f32; N] + Sync),
) {
    let mut written = written.map(|slice| slice.chunks_mut(CHUNK));
    let next = |gradient| (written.each_mut().map(|it| it.next().unwrap_or_default()), gradient);
    let jobs: Vec<_> = gradient.chunks(CHUNK).map(next).collect();
    jobs.into_par_iter().for_each(|(written, gradient)| {
        let cells = written.map(cells);
        advance(cells, cells, gradient, work, |line, numbers| {
            line.iter().zip(numbers).for_each(|(cell, number)| cell.set(number));
        });
    });
}

#[expect(unsafe_code, reason = "streamed writes need a fence")]
/// Writes into `spares`, which become the storages, and the storages the spares.
fn elsewhere<const N: usize>(
    mut written: [Written<'_>; N],
    spares: &mut [Vec<f32>; N],
    gradient: &[f32],
    work: &(impl Fn([f32; N], f32) -> [f32; N] + Sync),
) {
    let mut old = written.each_mut().map(|it| it.storage.chunks_mut(CHUNK));
    let mut new = spares.each_mut().map(|spare| spare.chunks_mut(CHUNK));
    let next = |gradient| {
        let old = old.each_mut().map(|it| it.next().unwrap_or_default());
        (old, new.each_mut().map(|it| it.next().unwrap_or_default()), gradient)
    };
    let jobs: Vec<_> = gradient.chunks(CHUNK).map(next).collect();
    jobs.into_par_iter().for_each(|(old, new, gradient)| {
        // SAFETY: the fence below comes before anything else accesses the lines.
        let write = |line: &[_; LINE], values| unsafe { simd::stream(line, values) };
        advance(old.map(cells), new.map(cells), gradient, work, write);
        simd::stream_fence();
    });
    for (written, spare) in written.into_iter().zip(spares) {
        std::mem::swap(written.storage, spare);
    }
}

fn cells(slice: &mut [f32]) -> &[Cell<f32>] {
    Cell::from_mut(slice).as_slice_of_cells()
}

fn lines(slice: &[Cell<f32>]) -> &[[Cell<f32>; LINE]] {
    slice.as_chunks().0
}

/// Reads `old`, and writes `new`, which may be the same, a whole line by `write`.
fn advance<const N: usize>(
    old: [&[Cell<f32>]; N],
    new: [&[Cell<f32>]; N],
    gradient: &[f32],
    work: &impl Fn([f32; N], f32) -> [f32; N],
    write: impl Fn(&[Cell<f32>; LINE], [f32; LINE]),
) {
    let (gradients, rest) = gradient.as_chunks::<LINE>();
    let (old_lines, new_lines) = (old.map(lines), new.map(lines));
    for (at, gradient) in gradients.iter().enumerate() {
        // Between what is read and what is written the compiler sees no memory, and takes registers.
        let mut numbers = old_lines.map(|lines| lines[at].each_ref().map(Cell::get));
        for (lane, gradient) in gradient.iter().enumerate() {
            let made = work(numbers.each_ref().map(|numbers| numbers[lane]), *gradient);
            for (numbers, made) in numbers.iter_mut().zip(made) {
                numbers[lane] = made;
            }
        }
        for (lines, numbers) in new_lines.into_iter().zip(numbers) {
            write(&lines[at], numbers);
        }
    }
    for (at, gradient) in (gradients.len() * LINE..).zip(rest) {
        let made = work(old.map(|slice| slice[at].get()), *gradient);
        for (slice, made) in new.into_iter().zip(made) {
            slice[at].set(made);
        }
    }
}

/// The outermost operation: it has the weight and the gradient.
struct Weight<'a, F> {
    states: &'a [&'a Tensor],
    pass: &'a F,
}

impl<F: Fn(&[f32], Vec<Written<'_>>) -> candle_core::Result<()>> InplaceOp2 for Weight<'_, F> {
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
            None => return Err(gaps()),
        };
        descend(self.states, gradient, vec![opened(weight, weight_layout)?], self.pass)
    }
}

/// An inner operation: it has one state more than the one around it.
struct State<'a, F> {
    rest: &'a [&'a Tensor],
    gradient: &'a [f32],
    /// What the operations around it opened. It is taken out: an operation has only `&self`.
    open: RefCell<Option<Vec<Written<'a>>>>,
    pass: &'a F,
}

impl<F: Fn(&[f32], Vec<Written<'_>>) -> candle_core::Result<()>> InplaceOp1 for State<'_, F> {
    fn name(&self) -> &'static str {
        "fused-update-state"
    }

    fn cpu_fwd(&self, state: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let Some(mut open) = self.open.take() else {
            return Err(candle_core::Error::msg("a fused update ran twice"));
        };
        open.push(opened(state, layout)?);
        descend(self.rest, self.gradient, open, self.pass)
    }
}

fn descend<F: Fn(&[f32], Vec<Written<'_>>) -> candle_core::Result<()>>(
    rest: &[&Tensor],
    gradient: &[f32],
    open: Vec<Written<'_>>,
    pass: &F,
) -> candle_core::Result<()> {
    match rest.split_first() {
        None => pass(gradient, open),
        Some((next, rest)) => {
            next.inplace_op1(&State { rest, gradient, open: RefCell::new(Some(open)), pass })
        }
    }
}

fn opened<'a>(storage: &'a mut CpuStorage, layout: &Layout) -> candle_core::Result<Written<'a>> {
    let CpuStorage::F32(storage) = storage else {
        return Err(candle_core::Error::msg("a fused update asks for 32-bit floats"));
    };
    let Some((start, end)) = layout.contiguous_offsets() else { return Err(gaps()) };
    Ok(Written { storage, range: start..end })
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

    /// A part of a larger tensor begins somewhere inside its storage.
    #[test]
    fn parts_of_a_tensor_begin_where_they_begin() {
        let whole = Tensor::zeros((3, 2), DType::F32, &Device::Cpu).unwrap();
        let gradient = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu).unwrap();
        let part = whole.narrow(0, 1, 1).unwrap();
        each([&part], &gradient.narrow(0, 1, 1).unwrap(), |_, gradient| [gradient]).unwrap();
        assert_eq!(whole.to_vec2::<f32>().unwrap(), [[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]]);
    }

    /// Not a wait for ever.
    #[test]
    fn one_tensor_twice_is_refused() {
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
