//! How the window of a convolution or of a pooling moves over a plane.

use std::ops::Range;

/// A window of `kernel` (height and width) numbers, `dilation` apart, that moves by `stride` over a plane with
/// `padding` around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: usize,
    pub(crate) padding: usize,
    pub(crate) dilation: usize,
}

impl Window {
    /// Numbers under the window.
    pub(crate) fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Where it fits on a plane, in rows and in columns: the size of the result. `None` if it fits nowhere.
    pub(crate) fn places(&self, plane: [usize; 2]) -> Option<[usize; 2]> {
        let &Self { kernel, stride, padding, dilation } = self;
        let along = |size: usize, kernel: usize| {
            let reach = kernel.checked_sub(1)?.checked_mul(dilation)? + 1;
            let room = size.checked_add(2 * padding)?.checked_sub(reach)?;
            (dilation > 0).then_some(room.checked_div(stride)? + 1)
        };
        Some([along(plane[0], kernel[0])?, along(plane[1], kernel[1])?])
    }

    /// What is under the window along one axis (0 is down), without the padding. For a dilation of 1.
    #[inline]
    pub(crate) fn span(&self, axis: usize, place: usize, size: usize) -> Range<usize> {
        let start = place * self.stride;
        let end = (start + self.kernel[axis]).saturating_sub(self.padding).min(size);
        start.saturating_sub(self.padding)..end
    }

    /// The places in a row of `places` for which the number `tap` under the window lies within the `size` numbers of the
    /// plane, and where it lies for the first of them. For a dilation of 1.
    #[inline]
    pub(crate) fn row(&self, tap: usize, size: usize, places: usize) -> (Range<usize>, usize) {
        let first = self.padding.saturating_sub(tap).div_ceil(self.stride).min(places);
        let end = (size + self.padding).saturating_sub(tap).div_ceil(self.stride).min(places);
        if first >= end {
            return (0..0, 0);
        }
        (first..end, first * self.stride + tap - self.padding)
    }

    /// For each place and each number under it, row by row: where that number is in the plane, `None` in the padding.
    pub(crate) fn table(&self, plane: [usize; 2], places: [usize; 2]) -> Vec<Option<u32>> {
        let &Self { kernel, stride, padding, dilation } = self;
        let inside = |place: usize, tap: usize, size: usize| {
            (place * stride + tap * dilation).checked_sub(padding).filter(|at| *at < size)
        };
        let mut table = Vec::with_capacity(places[0] * places[1] * self.taps());
        for (row, column) in pairs(places) {
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
    fn a_window_fits_where_it_fits() {
        let window =
            |kernel, stride, padding, dilation| Window { kernel, stride, padding, dilation };
        for (window, plane, places) in [
            (window([3, 3], 1, 1, 1), [5, 7], Some([5, 7])),
            (window([2, 2], 2, 0, 1), [5, 7], Some([2, 3])),
            (window([3, 1], 2, 1, 2), [5, 7], Some([2, 5])),
            (window([5, 5], 1, 0, 1), [4, 9], None),
            (window([0, 1], 1, 0, 1), [4, 9], None),
            (window([1, 1], 0, 0, 1), [4, 9], None),
            (window([1, 1], 1, 0, 0), [4, 9], None),
        ] {
            assert_eq!(window.places(plane), places, "{window:?}");
        }
    }

    #[test]
    fn a_span_ends_where_the_plane_does() {
        let window = Window { kernel: [3, 2], stride: 2, padding: 1, dilation: 1 };
        let spans = [0, 1, 2].map(|place| window.span(0, place, 5));
        assert_eq!((spans, window.span(1, 1, 4)), ([0..2, 1..4, 3..5], 1..3));
    }

    #[test]
    fn the_places_of_a_tap_are_those_of_the_table() {
        for (kernel, stride, padding, size) in
            [(3, 2, 1, 7), (2, 3, 1, 8), (5, 1, 2, 4), (2, 2, 0, 9)]
        {
            let window = Window { kernel: [1, kernel], stride, padding, dilation: 1 };
            let places = window.places([1, size]).map_or(0, |places| places[1]);
            for tap in 0..kernel {
                let (range, first) = window.row(tap, size, places);
                for place in 0..places {
                    let at = (place * stride + tap).checked_sub(padding).filter(|at| *at < size);
                    assert_eq!(at.is_some(), range.contains(&place), "{window:?} {tap} {place}");
                    if let Some(at) = at {
                        assert_eq!(at, first + (place - range.start) * stride);
                    }
                }
            }
        }
    }

    #[test]
    fn the_table_names_what_is_under_the_window() {
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
