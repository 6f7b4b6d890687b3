//! Tokens and the places in a text that they come from.

use std::ops::Range;

/// Tokens with the bytes of the text that each one comes from.
pub(super) struct Spans {
    pub(super) ids: Vec<u32>,
    pub(super) offsets: Vec<(usize, usize)>,
}

impl Spans {
    /// Returns for each token whether it has a part in one of the ranges, which are in order.
    pub(super) fn overlap(&self, ranges: &[Range<usize>]) -> Vec<bool> {
        let mut ranges = ranges.iter().peekable();
        let overlaps = |(start, end): &(usize, usize)| {
            while ranges.next_if(|range| *start >= range.end).is_some() {}
            ranges.peek().is_some_and(|range| *end > range.start)
        };
        self.offsets.iter().map(overlaps).collect()
    }
}
