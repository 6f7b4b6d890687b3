//! Memory that updates write into, so that the numbers before them stay for somebody who still reads them.
//!
//! An update in place destroys what it read. A copy made before it moves every number twice more. An update that writes
//! elsewhere costs little beside one in place: [`fused::each`](super::fused::each) looks for memory here, writes into it,
//! and exchanges the two. The tensor has the new memory then, and the old one, with the old numbers, is here.

use std::cell::RefCell;
use std::collections::BTreeMap;

use candle_core::{CpuStorage, Storage, Tensor};
use rayon::prelude::*;

use super::host::{self, storage_address as place};
use super::loan;

/// Memory for the numbers of tensors, by where those are stored.
#[derive(Default)]
pub struct Spares(BTreeMap<usize, Spare>);

enum Spare {
    /// As much memory as the tensor has; the numbers in it are anything.
    Room(Vec<f32>),
    /// The numbers that the tensor had.
    Kept(Vec<f32>),
    /// An update writes into it.
    Out,
}

impl Spares {
    /// Whether an update could exchange the memory of a tensor for other: it is all of a vector of 32-bit floats, and no
    /// tensor with memory here shares that.
    pub fn can_exchange(&self, tensor: &Tensor) -> bool {
        is_whole(tensor) && !self.0.contains_key(&place(tensor))
    }

    /// Takes memory for a tensor that it [can exchange](Self::can_exchange) and that is about to change; makes it where what
    /// is given is of another type or size.
    pub fn offer(&mut self, tensor: &Tensor, memory: Option<CpuStorage>) {
        let count = tensor.elem_count();
        let memory = match memory {
            Some(CpuStorage::F32(memory)) if memory.len() == count => memory,
            _ => vec![0.0; count],
        };
        self.0.insert(place(tensor), Spare::Room(memory));
    }

    /// The numbers that tensors had when they were [offered](Self::offer) memory. `None` where one was not, or where an
    /// update of it did not come to its end.
    pub fn into_numbers(mut self, tensors: &[&Tensor]) -> Option<Vec<Vec<f32>>> {
        let take = |tensor: &&Tensor| Some((*tensor).clone()).zip(self.0.remove(&place(tensor)));
        let taken: Option<Vec<(Tensor, Spare)>> = tensors.iter().map(take).collect();
        let numbers = |(tensor, spare)| match spare {
            Spare::Kept(numbers) => Some(numbers),
            Spare::Room(mut memory) => copy(&tensor, &mut memory).then_some(memory),
            Spare::Out => None,
        };
        taken?.into_par_iter().map(numbers).collect()
    }
}

thread_local! {
    /// The memory for the updates that run on this thread. A rule is anybody's code, and is called without a word of who
    /// reads its tensors.
    static OPEN: RefCell<Option<Spares>> = const { RefCell::new(None) };
}

/// Runs `work`, in which tensors change by [`fused::each`](super::fused::each), or after [`keep`].
pub fn lend<R>(spares: &mut Spares, work: impl FnOnce() -> R) -> R {
    loan::lend(&OPEN, spares, work)
}

/// Copies the numbers of a tensor that is about to change, if they are to stay.
pub fn keep(tensor: &Tensor) {
    let place = place(tensor);
    // What is copied on many threads may run other work on this one: the memory is out meanwhile, and nothing borrowed.
    let Some(mut memory) = take_out(place) else { return };
    if copy(tensor, &mut memory) {
        set(place, Spare::Kept(memory));
    }
}

/// The memory for all of `tensors`, which an update is about to write into. Where only some have any, those are
/// [kept](keep), for the update to be in place.
pub(super) fn take<const N: usize>(tensors: [&Tensor; N]) -> Option<[Vec<f32>; N]> {
    let has_room = |tensor: &Tensor| {
        let spare = |spares: &Spares| match spares.0.get(&place(tensor)) {
            Some(Spare::Room(memory)) => memory.len() == tensor.elem_count(),
            _ => false,
        };
        OPEN.with_borrow(|open| open.as_ref().is_some_and(spare))
    };
    if tensors.into_iter().all(has_room) {
        return Some(tensors.map(|tensor| take_out(place(tensor)).unwrap_or_default()));
    }
    tensors.into_iter().for_each(keep);
    None
}

/// Gives the old numbers of what was [taken](take) back.
pub(super) fn put_back<const N: usize>(tensors: [&Tensor; N], numbers: [Vec<f32>; N]) {
    for (tensor, numbers) in tensors.into_iter().zip(numbers) {
        set(place(tensor), Spare::Kept(numbers));
    }
}

/// The memory that a place has, if it is still to be written.
fn take_out(place: usize) -> Option<Vec<f32>> {
    OPEN.with_borrow_mut(|open| {
        let spare = open.as_mut()?.0.get_mut(&place)?;
        match std::mem::replace(spare, Spare::Out) {
            Spare::Room(memory) => Some(memory),
            other => {
                *spare = other;
                None
            }
        }
    })
}

fn set(place: usize, spare: Spare) {
    OPEN.with_borrow_mut(|open| open.as_mut().and_then(|spares| spares.0.insert(place, spare)));
}

/// Whether a tensor is all of a vector of 32-bit floats.
fn is_whole(tensor: &Tensor) -> bool {
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cpu(CpuStorage::F32(numbers)) = &*storage else { return false };
    layout.contiguous_offsets() == Some((0, numbers.len()))
}

/// Whether it could copy a [whole](is_whole) tensor.
fn copy(tensor: &Tensor, into: &mut [f32]) -> bool {
    let (storage, _) = tensor.storage_and_layout();
    let Storage::Cpu(CpuStorage::F32(numbers)) = &*storage else { return false };
    let fits = numbers.len() == into.len();
    if fits {
        host::copy(into, numbers);
    }
    fits
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Var};

    use super::*;
    use crate::kernels::fused;

    fn numbers(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    fn address(tensor: &Tensor) -> usize {
        host::read([tensor], |[numbers]| numbers.as_ptr().addr()).unwrap()
    }

    /// Tensors of this length, all different, and a gradient.
    fn tensors<const N: usize>(length: u16) -> ([Var; N], Tensor) {
        let numbers = |from: f32| {
            let arange = Tensor::arange(0.0, f32::from(length), &Device::Cpu).unwrap();
            (arange + f64::from(from)).unwrap()
        };
        let mut from = 0.0;
        let tensor = |()| {
            from += 0.5;
            Var::from_tensor(&numbers(from)).unwrap()
        };
        ([(); N].map(tensor), numbers(-7.0))
    }

    fn move_by(written: [&Tensor; 2], gradient: &Tensor) {
        fused::each(written, gradient, |[w, m], g| [w - 0.3 * g * m, m + g]).unwrap();
    }

    /// The new numbers are those of an update in place, and so are those of the next one; the old ones are all there.
    #[test]
    fn an_update_elsewhere_is_one_in_place_and_leaves_the_old_numbers() {
        for length in [1, 5, 16 * 1024 - 1, 16 * 1024 + 1, 50_001] {
            let ([a, b], gradient) = tensors(length);
            let ([c, d], _) = tensors(length);
            let old = [numbers(&a), numbers(&b)];
            let view = a.reshape((1, usize::from(length))).unwrap();

            let mut spares = Spares::default();
            spares.offer(&a, None);
            let memory = vec![3.0; usize::from(length)];
            let (before, offered) = (address(&b), memory.as_ptr().addr());
            spares.offer(&b, Some(CpuStorage::F32(memory)));
            lend(&mut spares, || move_by([&a, &b], &gradient));
            assert_eq!(address(&b), offered, "written where it was offered");
            move_by([&c, &d], &gradient);
            assert_eq!((numbers(&a), numbers(&b)), (numbers(&c), numbers(&d)));
            assert_eq!(numbers(&view), numbers(&a), "what shares the storage sees the new numbers");

            // The memory is given away once.
            move_by([&a, &b], &gradient);
            move_by([&c, &d], &gradient);
            assert_eq!((numbers(&a), numbers(&b)), (numbers(&c), numbers(&d)));
            let left = spares.into_numbers(&[&a, &b]).unwrap();
            assert_eq!(left, old);
            assert_eq!(left[1].as_ptr().addr(), before, "and not copied");
        }
    }

    /// Changed twice, changed by other means, not changed, changed where a part has no memory: as they were when the memory
    /// was offered.
    #[test]
    fn numbers_stay_however_their_tensors_change() {
        let ([twice, other, still, partly, alone], gradient) = tensors(9);
        let all = [&twice, &other, &still, &partly].map(Var::as_tensor);
        let old: Vec<_> = all.into_iter().map(numbers).collect();
        let mut spares = Spares::default();
        for tensor in all {
            assert!(spares.can_exchange(tensor));
            // Memory of another size is none.
            spares.offer(tensor, Some(CpuStorage::F32(vec![1.0; 2])));
            assert!(!spares.can_exchange(tensor), "it has memory already");
        }
        lend(&mut spares, || {
            for _ in 0..2 {
                fused::each([&twice], &gradient, |[w], g| [w + g]).unwrap();
            }
            keep(&other);
            keep(&alone);
            other.set(&gradient).unwrap();
            move_by([&partly, &alone], &gradient);
        });
        let new: Vec<_> = all.into_iter().map(numbers).collect();
        assert!(new.iter().zip(&old).map(|(new, old)| new == old).eq([false, false, true, false]));
        assert_eq!(spares.into_numbers(&all).unwrap(), old);
    }

    /// Numbers that are lost are not made up.
    #[test]
    fn an_update_that_breaks_off_leaves_nothing() {
        let ([a, b], gradient) = tensors(4);
        let mut spares = Spares::default();
        spares.offer(&a, None);
        spares.offer(&b, None);
        let panics = || {
            let update = |_, _| panic!("on its way");
            fused::each([&a], &gradient, update).unwrap();
        };
        let run = std::panic::AssertUnwindSafe(|| lend(&mut spares, panics));
        assert!(std::panic::catch_unwind(run).is_err());
        assert!(spares.into_numbers(&[&b, &a]).is_none());
        assert!(Spares::default().into_numbers(&[&b]).is_none(), "nothing was offered");
    }

    #[test]
    fn only_whole_vectors_of_floats_are_exchanged() {
        let spares = Spares::default();
        let whole = Tensor::zeros((4, 2), DType::F32, &Device::Cpu).unwrap();
        assert!(spares.can_exchange(&whole) && spares.can_exchange(&whole.reshape(8).unwrap()));
        for other in [
            whole.narrow(0, 0, 2).unwrap(),
            whole.narrow(0, 2, 2).unwrap(),
            whole.t().unwrap(),
            whole.to_dtype(DType::F64).unwrap(),
        ] {
            assert!(!spares.can_exchange(&other));
        }
    }
}
