//! Sums of tensors of one shape, element by element: `y = a + b`, dtypes and devices as candle's.

use rayon::prelude::*;

use super::host;
use super::simd::simd;
use super::tape::Node;
use candle_core::Error;

/// Elements that one thread takes at once.
const CHUNK: usize = 16 * 1024;

/// The sum of two nodes of one shape.
///
/// # Errors
///
/// candle's error when the shapes differ or the device fails.
pub(crate) fn forward(one: &Node, other: &Node) -> Result<Node, Error> {
    let (a, b) = (one.tensor(), other.tensor());
    let y = if host::is_plain(a) && host::is_plain(b) && a.shape() == b.shape() {
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

/// Adds to each number.
pub(crate) fn add(target: &mut [f32], from: &[f32]) {
    let pairs = target.par_chunks_mut(CHUNK).zip(from.par_chunks(CHUNK));
    pairs.for_each(|(target, from)| add_chunk(target, from));
}

/// Adds to each number, or copies over it.
pub(crate) fn add_or_copy(target: &mut [f32], from: &[f32], adds: bool) {
    if adds {
        add(target, from);
    } else {
        let pairs = target.par_chunks_mut(CHUNK).zip(from.par_chunks(CHUNK));
        pairs.for_each(|(target, from)| target.copy_from_slice(from));
    }
}

/// The sum of parts of one length, in their order, or that much more.
pub(crate) fn of_parts<'a>(
    target: &mut [f32],
    parts: impl IntoIterator<Item = &'a [f32]>,
    adds: bool,
) {
    if !adds {
        target.fill(0.0);
    }
    for part in parts {
        add_chunk(target, part);
    }
}

fn both(y: &mut [f32], a: &[f32], b: &[f32]) {
    let pairs = y.par_chunks_mut(CHUNK).zip(a.par_chunks(CHUNK)).zip(b.par_chunks(CHUNK));
    pairs.for_each(|((y, a), b)| add_chunks(y, a, b));
}

simd! {
    /// Adds to each number, on one thread.
    pub(crate) fn add_chunk(target: &mut [f32], from: &[f32]) {
        for (target, from) in target.iter_mut().zip(from) {
            *target += *from;
        }
    }

    fn add_chunks(y: &mut [f32], a: &[f32], b: &[f32]) {
        for ((y, a), b) in y.iter_mut().zip(a).zip(b) {
            *y = *a + *b;
        }
    }
}
