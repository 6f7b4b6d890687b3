//! Parts of a matrix that threads write at the same time: some rows of some columns.
#![expect(unsafe_code, reason = "the columns of two parts lie between each other in memory")]

use std::marker::PhantomData;

/// Rows of some columns, which nothing else reads or writes while it is there.
pub(super) struct Piece<'a> {
    first: *mut f32,
    rows: usize,
    columns: usize,
    /// Numbers between the beginnings of two rows.
    stride: usize,
    owner: PhantomData<&'a mut [f32]>,
}

// SAFETY: a piece is the only way to its numbers, as a mutable slice is; see `split_columns` and `split_rows`.
unsafe impl Send for Piece<'_> {}

/// Cuts a matrix with rows of `width` numbers into pieces of `columns` columns.
///
/// # Panics
///
/// When the sizes leave a rest.
pub(super) fn split_columns(numbers: &mut [f32], width: usize, columns: usize) -> Vec<Piece<'_>> {
    assert!(numbers.len().is_multiple_of(width) && width.is_multiple_of(columns));
    let rows = numbers.len() / width;
    let first = numbers.as_mut_ptr();
    let piece = |at: usize| Piece {
        first: first.wrapping_add(at * columns),
        rows,
        columns,
        stride: width,
        owner: PhantomData,
    };
    (0..width / columns).map(piece).collect()
}

impl<'a> Piece<'a> {
    /// Cuts it into pieces of `rows` rows, the last of which may have fewer.
    pub(super) fn split_rows(self, rows: usize) -> impl Iterator<Item = Piece<'a>> {
        (0..self.rows).step_by(rows).map(move |row| Piece {
            first: self.first.wrapping_add(row * self.stride),
            rows: rows.min(self.rows - row),
            ..self
        })
    }

    /// Its rows.
    pub(super) fn rows(&mut self) -> impl Iterator<Item = &mut [f32]> {
        (0..self.rows).map(|row| {
            // SAFETY: 1. row and columns are within the slice that was cut, which is borrowed mutably for 'a; 2. pieces
            // of one cut have no row and column in common, and a piece that is cut further is gone; 3. the rows of a
            // piece do not overlap, for it has at most as many columns as the stride, and each is given once while
            // the piece is borrowed.
            unsafe {
                std::slice::from_raw_parts_mut(self.first.add(row * self.stride), self.columns)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_a_matrix_and_do_not_overlap() {
        let mut numbers = vec![0.0; 5 * 6];
        let pieces = split_columns(&mut numbers, 6, 2).into_iter();
        for (at, mut piece) in (1u8..).zip(pieces.flat_map(|piece| piece.split_rows(2))) {
            piece.rows().flatten().for_each(|number| *number += f32::from(at));
        }
        let row = |at: u8| [at, at, at + 3, at + 3, at + 6, at + 6].map(f32::from);
        let expected: Vec<f32> = [1, 1, 2, 2, 3].into_iter().flat_map(row).collect();
        assert_eq!(numbers, expected);
    }
}
