//! The factors of a product.

use crate::kernels::quantized::Blocks;

/// A matrix in a slice: the element at row `r` and column `c` is at `r * stride.0 + c * stride.1`, which is in the slice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(super) elements: &'a [f32],
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) stride: (usize, usize),
}

impl<'a> Matrix<'a> {
    /// Contiguous rows.
    ///
    /// # Panics
    ///
    /// When the slice is too short.
    pub(crate) fn new(elements: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::strided(elements, rows, columns, columns)
    }

    /// Rows that begin `stride` elements apart.
    ///
    /// # Panics
    ///
    /// When the slice is too short.
    pub(crate) fn strided(elements: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        assert!(
            elements.len() >= extent(rows, columns, stride),
            "a matrix is longer than its slice"
        );
        Self { elements, rows, columns, stride: (stride, 1) }
    }

    /// Returns the transpose.
    pub(crate) fn t(self) -> Self {
        let Self { elements, rows, columns, stride } = self;
        Self { elements, rows: columns, columns: rows, stride: (stride.1, stride.0) }
    }

    /// Returns the elements from a row and column on.
    pub(super) fn from(&self, row: usize, column: usize) -> &'a [f32] {
        &self.elements[row * self.stride.0 + column * self.stride.1..]
    }
}

/// The right factor of a product.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Right<'a> {
    Matrix(Matrix<'a>),
    /// A matrix that is decoded into panels, part by part.
    Blocks {
        blocks: Blocks<'a>,
        transposed: bool,
    },
}

impl Right<'_> {
    /// Returns the transpose.
    pub(crate) fn t(self) -> Self {
        match self {
            Self::Matrix(matrix) => Self::Matrix(matrix.t()),
            Self::Blocks { blocks, transposed } => Self::Blocks { blocks, transposed: !transposed },
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.sizes().0
    }

    pub(super) fn columns(&self) -> usize {
        self.sizes().1
    }

    /// Returns the steps from a row to the next one and from a column, in elements of a matrix with contiguous rows.
    pub(super) fn stride(&self) -> (usize, usize) {
        match self {
            Self::Matrix(matrix) => matrix.stride,
            Self::Blocks { blocks, transposed: false } => (blocks.dims().1, 1),
            Self::Blocks { blocks, transposed: true } => (1, blocks.dims().1),
        }
    }

    fn sizes(&self) -> (usize, usize) {
        match self {
            Self::Matrix(matrix) => (matrix.rows, matrix.columns),
            Self::Blocks { blocks, transposed: false } => blocks.dims(),
            Self::Blocks { blocks, transposed: true } => {
                let (outputs, inputs) = blocks.dims();
                (inputs, outputs)
            }
        }
    }
}

impl<'a> From<Matrix<'a>> for Right<'a> {
    fn from(matrix: Matrix<'a>) -> Self {
        Self::Matrix(matrix)
    }
}

impl<'a> From<Blocks<'a>> for Right<'a> {
    fn from(blocks: Blocks<'a>) -> Self {
        Self::Blocks { blocks, transposed: false }
    }
}

/// Returns the number of elements from the first to the last of a matrix.
pub(super) fn extent(rows: usize, columns: usize, stride: usize) -> usize {
    if rows == 0 || columns == 0 { 0 } else { (rows - 1) * stride + columns }
}
