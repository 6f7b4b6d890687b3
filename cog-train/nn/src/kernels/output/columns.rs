//! Columns of a result that is a matrix, for threads that write their columns at the same time.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Output;

/// Some columns of some rows, which are filled row by row. Nothing else refers to them.
pub(crate) struct Columns<'a> {
    first: *mut MaybeUninit<f32>,
    rows: usize,
    width: usize,
    /// Elements between the beginnings of two rows.
    stride: usize,
    /// The rows that are filled.
    filled: usize,
    written: Option<&'a AtomicUsize>,
    owner: PhantomData<&'a mut [MaybeUninit<f32>]>,
}

// SAFETY: `Columns` is the only way to its elements, as a mutable slice is (see `split_columns` and `split_rows`), and a
// mutable slice of floats may go to another thread. The counter is an atomic.
unsafe impl Send for Columns<'_> {}

impl<'a> Output<'a> {
    /// Splits a matrix with rows of `width` elements into parts of `columns` columns.
    ///
    /// # Panics
    ///
    /// When the sizes leave a rest.
    pub(crate) fn split_columns(mut self, width: usize, columns: usize) -> Vec<Columns<'a>> {
        let (slots, written) = self.take();
        assert!(slots.len().is_multiple_of(width) && width.is_multiple_of(columns));
        let (rows, first) = (slots.len() / width, slots.as_mut_ptr());
        let part = |at: usize| Columns {
            first: first.wrapping_add(at * columns),
            rows,
            width: columns,
            stride: width,
            filled: 0,
            written,
            owner: PhantomData,
        };
        (0..width / columns).map(part).collect()
    }
}

impl<'a> Columns<'a> {
    /// Returns the number of rows, filled or not.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Splits it into parts of `rows` rows, the last of which may have fewer.
    pub(crate) fn split_rows(self, rows: usize) -> impl Iterator<Item = Columns<'a>> {
        assert_eq!(self.filled, 0, "columns are split before they are filled");
        let Self { first, rows: all, width, stride, written, .. } = self;
        (0..all).step_by(rows).map(move |row| Columns {
            first: first.wrapping_add(row * stride),
            rows: rows.min(all - row),
            width,
            stride,
            filled: 0,
            written,
            owner: PhantomData,
        })
    }

    /// Fills the next row with `f` of the first elements of `from`.
    ///
    /// # Panics
    ///
    /// When all rows are filled, or when there are fewer elements than columns.
    #[inline]
    pub(crate) fn append_map(&mut self, from: &[f32], f: impl Fn(f32) -> f32) {
        let width = self.width;
        self.next_row().append_map(&from[..width], f);
        self.filled += 1;
    }

    /// Fills the next row with a copy of the first elements of `from`.
    ///
    /// # Panics
    ///
    /// When all rows are filled, or when there are fewer elements than columns.
    pub(crate) fn append_copy(&mut self, from: &[f32]) {
        let width = self.width;
        self.next_row().append_copy(&from[..width]);
        self.filled += 1;
    }

    /// Returns the first row that is not filled, as an output that is not counted.
    fn next_row(&mut self) -> Output<'_> {
        assert!(self.filled < self.rows, "there are more rows than columns have");
        let start = self.first.wrapping_add(self.filled * self.stride);
        // SAFETY: 1. row and columns are within the slots that were split, which are borrowed mutably for 'a; 2. parts of one
        // split have no row and column in common, and what is split further is gone; 3. the row is borrowed from `self`.
        let slots = unsafe { std::slice::from_raw_parts_mut(start, self.width) };
        Output { slots, filled: 0, written: None }
    }
}

impl Drop for Columns<'_> {
    fn drop(&mut self) {
        if let Some(written) = self.written {
            written.fetch_add(self.filled * self.width, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Buffer;

    #[test]
    fn parts_cover_a_matrix_and_do_not_overlap() {
        let mut buffer = Buffer::new(5 * 6);
        let parts = buffer.output().split_columns(6, 2).into_iter();
        for (at, mut part) in (1u8..).zip(parts.flat_map(|part| part.split_rows(2))) {
            for row in 0..part.rows() {
                if row == 0 {
                    part.append_map(&[0.0, 0.0, 99.0], |zero| zero + f32::from(at));
                } else {
                    part.append_copy(&[f32::from(at), f32::from(at), 99.0]);
                }
            }
        }
        let row = |at: u8| [at, at, at + 3, at + 3, at + 6, at + 6].map(f32::from);
        let expected: Vec<f32> = [1, 1, 2, 2, 3].into_iter().flat_map(row).collect();
        assert_eq!(buffer.into_vec(), expected);
    }

    #[test]
    fn a_row_that_was_left_out_panics() {
        let mut buffer = Buffer::new(2 * 2);
        for mut part in buffer.output().split_columns(2, 1) {
            part.append_copy(&[1.0]);
        }
        let run = std::panic::AssertUnwindSafe(|| drop(buffer.into_vec()));
        assert!(std::panic::catch_unwind(run).is_err());
    }
}
