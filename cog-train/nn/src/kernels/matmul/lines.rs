//! The lines of a factor as micro-kernels read them.

use super::kernel::Kernel;

/// Rows or columns as micro-kernels read them: in panels, or in the matrix itself.
pub(super) struct Lines<'a> {
    pub(super) elements: &'a [f32],
    /// From a line to the next where a panel begins.
    pub(super) panel: usize,
    /// From one element of a sum to the next, and from one line to the next.
    pub(super) steps: (usize, usize),
    /// The lines in `elements`; the others are in a panel of their own.
    pub(super) full: usize,
    pub(super) last: &'a [f32],
}

impl<'a> Lines<'a> {
    /// Returns the elements from a line on, and their steps.
    pub(super) fn at(&self, line: usize) -> (&'a [f32], (usize, usize)) {
        if line < self.full {
            (&self.elements[line * self.panel..], self.steps)
        } else {
            (self.last, (Kernel::new().columns, 1))
        }
    }
}
