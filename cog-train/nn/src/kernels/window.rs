//! The window of a convolution or a pooling, and its positions on a plane.

use std::ops::Range;

/// A window of `kernel` (height and width) elements, `dilation` apart, that moves by `stride` over a plane with
/// `padding` around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: usize,
    pub(crate) padding: usize,
    pub(crate) dilation: usize,
}

impl Window {
    /// Returns the number of elements under the window.
    pub(crate) fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Returns the number of positions on a plane, in rows and in columns: the size of the result. `None` if it fits nowhere.
    pub(crate) fn positions(&self, plane: [usize; 2]) -> Option<[usize; 2]> {
        let &Self { kernel, stride, padding, dilation } = self;
        let along = |size: usize, kernel: usize| {
            let reach = kernel.checked_sub(1)?.checked_mul(dilation)? + 1;
            let room = size.checked_add(2 * padding)?.checked_sub(reach)?;
            (dilation > 0).then_some(room.checked_div(stride)? + 1)
        };
        Some([along(plane[0], kernel[0])?, along(plane[1], kernel[1])?])
    }

    /// Returns the range under the window along one axis (0 is down), without the padding. For a dilation of 1.
    #[inline]
    pub(crate) fn span(&self, axis: usize, position: usize, size: usize) -> Range<usize> {
        let start = position * self.stride;
        let end = (start + self.kernel[axis]).saturating_sub(self.padding).min(size);
        start.saturating_sub(self.padding)..end
    }

    /// Returns the positions in a row of `positions` for which the element `tap` under the window lies within the `size`
    /// elements of the plane, and its index at the first of them. For a dilation of 1.
    #[inline]
    pub(crate) fn row(&self, tap: usize, size: usize, positions: usize) -> (Range<usize>, usize) {
        let first = self.padding.saturating_sub(tap).div_ceil(self.stride).min(positions);
        let end = (size + self.padding).saturating_sub(tap).div_ceil(self.stride).min(positions);
        if first >= end {
            return (0..0, 0);
        }
        (first..end, first * self.stride + tap - self.padding)
    }

    /// Returns, for each position and each element under the window, row by row, its index in the plane; `None` in the
    /// padding.
    pub(crate) fn table(&self, plane: [usize; 2], positions: [usize; 2]) -> Vec<Option<u32>> {
        let &Self { kernel, stride, padding, dilation } = self;
        let inside = |position: usize, tap: usize, size: usize| {
            (position * stride + tap * dilation).checked_sub(padding).filter(|at| *at < size)
        };
        let mut table = Vec::with_capacity(positions[0] * positions[1] * self.taps());
        for (row, column) in pairs(positions) {
            for (down, right) in pairs(kernel) {
                let at = inside(row, down, plane[0]).zip(inside(column, right, plane[1]));
                table.push(at.and_then(|(y, x)| u32::try_from(y * plane[1] + x).ok()));
            }
        }
        table
    }
}

fn pairs(sizes: [usize; 2]) -> impl Iterator<Item = (usize, usize)> {
    (0..sizes[0]).flat_map(move |y| (0..sizes[1]).map(move |x| (y, x)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_of_a_window_count_those_inside_the_padded_plane() {
        let window =
            |kernel, stride, padding, dilation| Window { kernel, stride, padding, dilation };
        for (window, plane, positions) in [
            (window([3, 3], 1, 1, 1), [5, 7], Some([5, 7])),
            (window([2, 2], 2, 0, 1), [5, 7], Some([2, 3])),
            (window([3, 1], 2, 1, 2), [5, 7], Some([2, 5])),
            (window([5, 5], 1, 0, 1), [4, 9], None),
            (window([0, 1], 1, 0, 1), [4, 9], None),
            (window([1, 1], 0, 0, 1), [4, 9], None),
            (window([1, 1], 1, 0, 0), [4, 9], None),
        ] {
            assert_eq!(window.positions(plane), positions, "{window:?}");
        }
    }

    #[test]
    fn spans_end_at_the_edge_of_the_plane() {
        let window = Window { kernel: [3, 2], stride: 2, padding: 1, dilation: 1 };
        let spans = [0, 1, 2].map(|position| window.span(0, position, 5));
        assert_eq!((spans, window.span(1, 1, 4)), ([0..2, 1..4, 3..5], 1..3));
    }

    #[test]
    fn rows_of_taps_agree_with_the_table() {
        for (kernel, stride, padding, size) in
            [(3, 2, 1, 7), (2, 3, 1, 8), (5, 1, 2, 4), (2, 2, 0, 9)]
        {
            let window = Window { kernel: [1, kernel], stride, padding, dilation: 1 };
            let positions = window.positions([1, size]).map_or(0, |positions| positions[1]);
            for tap in 0..kernel {
                let (range, first) = window.row(tap, size, positions);
                for position in 0..positions {
                    let at = (position * stride + tap).checked_sub(padding).filter(|at| *at < size);
                    assert_eq!(
                        at.is_some(),
                        range.contains(&position),
                        "{window:?} {tap} {position}"
                    );
                    if let Some(at) = at {
                        assert_eq!(at, first + (position - range.start) * stride);
                    }
                }
            }
        }
    }

    #[test]
    fn the_table_has_the_elements_under_the_window() {
        let window = Window { kernel: [2, 2], stride: 2, padding: 1, dilation: 1 };
        let table = window.table([2, 3], [2, 2]);
        let expected = [
            [None, None, None, Some(0)], //
            [None, None, Some(1), Some(2)],
            [None, Some(3), None, None],
            [Some(4), Some(5), None, None],
        ];
        assert_eq!(table, expected.concat());
    }
}
