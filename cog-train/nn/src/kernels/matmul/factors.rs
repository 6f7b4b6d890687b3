//! The factors of a product.

use half::bf16;

use crate::kernels::quantized::Blocks;

/// A matrix in a slice: the element at row `r` and column `c` is at `r * stride.0 + c * stride.1`, which is in the slice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matrix<'a, T = f32> {
    pub(super) elements: &'a [T],
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) stride: (usize, usize),
}

impl<'a, T> Matrix<'a, T> {
    /// Contiguous rows.
    ///
    /// # Panics
    ///
    /// When the slice is too short.
    pub(crate) fn new(elements: &'a [T], rows: usize, columns: usize) -> Self {
        Self::strided(elements, rows, columns, columns)
    }

    /// Rows that begin `stride` elements apart.
    ///
    /// # Panics
    ///
    /// When the slice is too short.
    pub(crate) fn strided(elements: &'a [T], rows: usize, columns: usize, stride: usize) -> Self {
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
    pub(super) fn from(&self, row: usize, column: usize) -> &'a [T] {
        &self.elements[row * self.stride.0 + column * self.stride.1..]
    }
}

/// Contiguous rows of floats, which are either factor of a product.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    elements: Elements<'a>,
    columns: usize,
}

#[derive(Debug, Clone, Copy)]
enum Elements<'a> {
    F32(&'a [f32]),
    Bf16(&'a [bf16]),
}

impl<'a> Rows<'a> {
    pub(crate) fn new(elements: &'a [f32], columns: usize) -> Self {
        Self { elements: Elements::F32(elements), columns }
    }

    pub(crate) fn of_bf16(elements: &'a [bf16], columns: usize) -> Self {
        Self { elements: Elements::Bf16(elements), columns }
    }

    /// Returns `count` rows from the row `start` on.
    pub(crate) fn narrow(self, start: usize, count: usize) -> Self {
        let range = start * self.columns..(start + count) * self.columns;
        let elements = match self.elements {
            Elements::F32(elements) => Elements::F32(&elements[range]),
            Elements::Bf16(elements) => Elements::Bf16(&elements[range]),
        };
        Self { elements, ..self }
    }

    /// Returns the rows as a left factor.
    pub(crate) fn left(self) -> Left<'a> {
        let (columns, rows) = (self.columns, self.count());
        match self.elements {
            Elements::F32(elements) => Matrix::new(elements, rows, columns).into(),
            Elements::Bf16(elements) => Matrix::new(elements, rows, columns).into(),
        }
    }

    /// Returns the rows as a right factor.
    pub(crate) fn right(self) -> Right<'a> {
        let (columns, rows) = (self.columns, self.count());
        match self.elements {
            Elements::F32(elements) => Matrix::new(elements, rows, columns).into(),
            Elements::Bf16(elements) => Blocks::of_bf16(elements, (rows, columns)).into(),
        }
    }

    pub(crate) fn are_bf16(&self) -> bool {
        matches!(self.elements, Elements::Bf16(_))
    }

    fn count(&self) -> usize {
        let elements = match self.elements {
            Elements::F32(elements) => elements.len(),
            Elements::Bf16(elements) => elements.len(),
        };
        elements / self.columns.max(1)
    }
}

/// The left factor of a product.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Left<'a> {
    Matrix(Matrix<'a>),
    Bf16(Matrix<'a, bf16>),
}

impl Left<'_> {
    /// Returns the transpose.
    pub(crate) fn t(self) -> Self {
        match self {
            Self::Matrix(matrix) => Self::Matrix(matrix.t()),
            Self::Bf16(matrix) => Self::Bf16(matrix.t()),
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.sizes().0
    }

    pub(super) fn columns(&self) -> usize {
        self.sizes().1
    }

    fn sizes(&self) -> (usize, usize) {
        match self {
            Self::Matrix(matrix) => (matrix.rows, matrix.columns),
            Self::Bf16(matrix) => (matrix.rows, matrix.columns),
        }
    }
}

impl<'a> From<Matrix<'a>> for Left<'a> {
    fn from(matrix: Matrix<'a>) -> Self {
        Self::Matrix(matrix)
    }
}

impl<'a> From<Matrix<'a, bf16>> for Left<'a> {
    fn from(matrix: Matrix<'a, bf16>) -> Self {
        Self::Bf16(matrix)
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
    /// Whether it is a matrix of bfloat16.
    pub(crate) fn is_bf16(&self) -> bool {
        matches!(self, Self::Blocks { blocks, .. } if blocks.as_bf16().is_some())
    }

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
