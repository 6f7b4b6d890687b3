//! Sums of tensors of one shape, element by element: `y = a + b`, dtypes and devices as candle's.

use rayon::prelude::*;

use super::dtypes;
use super::host;
use super::output::{Destination, Output};
use super::simd::simd;
use super::tape::Node;
use candle_core::Error;

/// Elements of one task.
const CHUNK: usize = 16 * 1024;

/// Adds two nodes of one shape.
///
/// # Errors
///
/// candle's error when the shapes differ or the device fails.
pub(crate) fn forward(one: &Node, other: &Node) -> Result<Node, Error> {
    let (a, b) = (one.tensor(), other.tensor());
    dtypes::check("add", ("one", a), [("other", Some(b))])?;
    let y = if host::is_contiguous(a) && host::is_contiguous(b) && a.shape() == b.shape() {
        host::read([a, b], |[a, b]| host::make(one.tensor().shape(), |y| both(y, a, b)))??
    } else {
        (a + b)?
    };
    let to = [one.handle(), other.handle()];
    Ok(one.tape().result(y, to, move |gradient, adjoints| {
        adjoints.share(to[0], &gradient)?;
        adjoints.share(to[1], &gradient)
    }))
}

/// Adds to each element, on all threads.
pub(crate) fn add(target: &mut [f32], from: &[f32]) {
    let pairs = target.par_chunks_mut(CHUNK).zip(from.par_chunks(CHUNK));
    pairs.for_each(|(target, from)| add_chunk(target, from));
}

/// Adds a gradient to its destination, or copies it there.
pub(crate) fn add_or_copy(target: Destination<'_>, from: &[f32]) {
    match target {
        Destination::Accumulate(target) => add(target, from),
        Destination::Overwrite(target) => {
            let pairs = target.par_chunks(CHUNK).zip(from.par_chunks(CHUNK));
            pairs.for_each(|(mut target, from)| _ = target.append_copy(from));
        }
    }
}

/// Adds slices of one length to a destination, in their order.
pub(crate) fn accumulate_all<'a>(
    target: Destination<'_>,
    tensors: impl IntoIterator<Item = &'a [f32]>,
) {
    let target = target.into_sum();
    for elements in tensors {
        add_chunk(target, elements);
    }
}

fn both(y: Output<'_>, a: &[f32], b: &[f32]) {
    let pairs = y.par_chunks(CHUNK).zip(a.par_chunks(CHUNK)).zip(b.par_chunks(CHUNK));
    pairs.for_each(|((y, a), b)| add_chunks(y, a, b));
}

simd! {
    /// Adds to each element, on this thread.
    pub(crate) fn add_chunk(target: &mut [f32], from: &[f32]) {
        for (target, from) in target.iter_mut().zip(from) {
            *target += *from;
        }
    }

    fn add_chunks(y: Output<'_>, a: &[f32], b: &[f32]) {
        let mut y = y;
        y.append_map2(a, b, |a, b| a + b);
    }
}
