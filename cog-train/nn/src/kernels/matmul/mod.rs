//! Products of matrices of 32-bit floats on the CPU: large ones [block by block](blocked), the others by the `gemm` crate.
//! Both have the innermost loops of that crate, with AVX-512 where the processor has it.
//!
//! The threads share rows and columns of the result and never a sum, so the bits do not depend on their number.
#![expect(unsafe_code, reason = "the loops take pointers and strides; `Matrix` has checked them")]

mod blocked;
mod kernel;
mod pack;

use gemm::Parallelism;

use super::sum;

/// A matrix in a slice: the number at row `r` and column `c` is at `r * stride.0 + c * stride.1`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matrix<'a> {
    numbers: &'a [f32],
    rows: usize,
    columns: usize,
    stride: (usize, usize),
}

impl<'a> Matrix<'a> {
    /// Row after row without gaps.
    ///
    /// # Panics
    ///
    /// When the slice is too short.
    pub(crate) fn new(numbers: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::strided(numbers, rows, columns, columns)
    }

    /// Rows that begin `stride` numbers apart.
    ///
    /// # Panics
    ///
    /// When the slice is too short.
    pub(crate) fn strided(numbers: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        assert!(
            numbers.len() >= extent(rows, columns, stride),
            "a matrix is longer than its slice"
        );
        Self { numbers, rows, columns, stride: (stride, 1) }
    }

    /// Rows and columns exchanged.
    pub(crate) fn t(self) -> Self {
        let Self { numbers, rows, columns, stride } = self;
        Self { numbers, rows: columns, columns: rows, stride: (stride.1, stride.0) }
    }
}

/// How many numbers a matrix reaches over.
fn extent(rows: usize, columns: usize, stride: usize) -> usize {
    if rows == 0 || columns == 0 { 0 } else { (rows - 1) * stride + columns }
}

/// Whether a product may use the threads of the pool, or runs within one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Threads {
    One,
    All,
}

/// Where a product goes.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    numbers: &'a mut [f32],
    stride: usize,
    /// Whether the product is added to what is there.
    adds: bool,
    after: After<'a>,
}

/// What is added to a product once its sums are complete.
#[derive(Debug, Clone, Copy)]
pub(crate) struct After<'a> {
    /// One number for each column.
    pub(crate) bias: Option<&'a [f32]>,
    /// As long as the target, without gaps.
    pub(crate) to: Option<&'a [f32]>,
}

impl After<'_> {
    pub(crate) const NOTHING: Self = Self { bias: None, to: None };

    fn is_nothing(&self) -> bool {
        self.bias.is_none() && self.to.is_none()
    }

    /// To numbers of a row of the target.
    fn add(&self, numbers: &mut [f32], start: usize, column: usize) {
        if let Some(to) = self.to {
            sum::add_chunk(numbers, &to[start..][..numbers.len()]);
        }
        if let Some(bias) = self.bias {
            sum::add_chunk(numbers, &bias[column..][..numbers.len()]);
        }
    }
}

impl<'a> Target<'a> {
    /// Over what is there, row after row without gaps for a product of `columns`.
    pub(crate) fn set(numbers: &'a mut [f32], columns: usize) -> Self {
        Self { numbers, stride: columns, adds: false, after: After::NOTHING }
    }

    /// Added to what is there.
    pub(crate) fn add(numbers: &'a mut [f32], columns: usize) -> Self {
        Self { numbers, stride: columns, adds: true, after: After::NOTHING }
    }

    /// Added to what is there, if `adds`.
    pub(crate) fn to(numbers: &'a mut [f32], columns: usize, adds: bool) -> Self {
        Self { numbers, stride: columns, adds, after: After::NOTHING }
    }

    /// With something that is added afterwards. Its lengths are those of a row, and of the target.
    pub(crate) fn after(self, after: After<'a>) -> Self {
        assert!(after.bias.is_none_or(|bias| bias.len() == self.stride));
        assert!(after.to.is_none_or(|to| to.len() == self.numbers.len()));
        Self { after, ..self }
    }
}

/// `target = left right * scale`, or that much more.
///
/// # Panics
///
/// When the matrices do not fit together or the target is too short.
pub(crate) fn matmul(
    mut target: Target<'_>,
    left: Matrix<'_>,
    right: Matrix<'_>,
    scale: f32,
    threads: Threads,
) {
    let (rows, columns) = (left.rows, right.columns);
    assert_eq!(left.columns, right.rows, "the inner sizes of a product differ");
    assert!(
        target.stride >= columns && target.numbers.len() >= extent(rows, columns, target.stride)
    );
    if rows == 0 || columns == 0 {
        return;
    }
    if blocked::fits(&left, &right) {
        blocked::multiply(&mut target, left, right, scale, threads);
    } else {
        small(&mut target, left, right, scale, threads);
        if !target.after.is_nothing() {
            let (stride, after) = (target.stride, target.after);
            let rows = target.numbers.chunks_mut(stride).take(rows).enumerate();
            rows.for_each(|(row, numbers)| after.add(&mut numbers[..columns], row * stride, 0));
        }
    }
}

/// By the `gemm` crate, which has ways for vectors and thin matrices.
fn small(
    target: &mut Target<'_>,
    left: Matrix<'_>,
    right: Matrix<'_>,
    scale: f32,
    threads: Threads,
) {
    let (rows, columns, inner) = (left.rows, right.columns, left.columns);
    let Target { numbers, stride, adds, .. } = target;
    if inner == 0 {
        if !*adds {
            numbers.chunks_mut(*stride).take(rows).for_each(|row| row[..columns].fill(0.0));
        }
        return;
    }
    let parallelism = match threads {
        Threads::One => Parallelism::None,
        Threads::All => Parallelism::Rayon(0),
    };
    // SAFETY: 1. each matrix reaches no further than its slice, which `Matrix` and `matmul` have looked at;
    // 2. the target is borrowed mutably, so it overlaps neither; 3. it is read only where it is added to.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            numbers.as_mut_ptr(),
            1,
            stride.cast_signed(),
            *adds,
            left.numbers.as_ptr(),
            left.stride.1.cast_signed(),
            left.stride.0.cast_signed(),
            right.numbers.as_ptr(),
            right.stride.1.cast_signed(),
            right.stride.0.cast_signed(),
            1.0,
            scale,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn draw(count: usize, at: u64) -> Vec<f32> {
        let mut stream = Rng::new(5, "test").at(at);
        #[expect(clippy::cast_possible_truncation, reason = "a number for a test")]
        (0..count).map(|_| stream.normal() as f32).collect()
    }

    /// Columns one after the other.
    fn turned(numbers: &[f32], (rows, columns): (usize, usize), stride: usize) -> Vec<f32> {
        (0..rows * columns)
            .map(|at| numbers[at % rows.max(1) * stride + at / rows.max(1)])
            .collect()
    }

    /// Every way to store the operands, with gaps, against sums that are written out.
    #[test]
    fn products_are_sums_of_products() {
        let small = [(1, 1, 1), (3, 5, 7), (17, 33, 65), (4, 1, 300), (2, 3, 0)];
        let blocks = [(13, 100, 1100), (97, 600, 30), (2100, 31, 5), (31, 2100, 5), (200, 70, 513)];
        for (rows, columns, inner) in small.into_iter().chain(blocks) {
            let (left, right) = (draw(rows * (inner + 2), 0), draw(inner * (columns + 1), 1));
            let turned_left = turned(&left, (rows, inner), inner + 2);
            let turned_right = turned(&right, (inner, columns), columns + 1);
            let start = draw(rows * (columns + 3), 2);
            for adds in [false, true] {
                let expected = |row: usize, column: usize| {
                    let sum: f64 = (0..inner)
                        .map(|at| {
                            f64::from(left[row * (inner + 2) + at])
                                * f64::from(right[at * (columns + 1) + column])
                        })
                        .sum();
                    let before = if adds { start[row * (columns + 3) + column] } else { 0.0 };
                    0.5 * sum + f64::from(before)
                };
                let a = Matrix::strided(&left, rows, inner, inner + 2);
                let b = Matrix::strided(&right, inner, columns, columns + 1);
                let turned_a = Matrix::new(&turned_left, inner, rows).t();
                let turned_b = Matrix::new(&turned_right, columns, inner).t();
                for (a, b) in [(a, b), (turned_a, b), (a, turned_b), (turned_a, turned_b)] {
                    let mut found = start.clone();
                    let target =
                        Target { stride: columns + 3, ..Target::to(&mut found, columns, adds) };
                    matmul(target, a, b, 0.5, Threads::All);
                    for row in 0..rows {
                        for column in 0..columns + 3 {
                            let at = row * (columns + 3) + column;
                            if column < columns {
                                let wrong = f64::from(found[at]) - expected(row, column);
                                assert!(wrong.abs() < 1e-4, "{rows}x{columns}x{inner}: {wrong}");
                            } else {
                                assert_eq!(found[at].to_bits(), start[at].to_bits(), "the gap");
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn the_same_bits_under_any_number_of_threads() {
        for (rows, columns, inner) in
            [(300, 500, 700), (33, 1000, 129), (1024, 8, 384), (8, 384, 1024)]
        {
            let (left, right) = (draw(rows * inner, 3), draw(inner * columns, 4));
            let under = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let mut found = vec![0.0; rows * columns];
                pool.install(|| {
                    let (left, right) =
                        (Matrix::new(&left, rows, inner), Matrix::new(&right, inner, columns));
                    matmul(Target::set(&mut found, columns), left, right, 1.0, Threads::All);
                });
                found.into_iter().map(f32::to_bits).collect::<Vec<_>>()
            };
            let one = under(1);
            for threads in [2, 3, 4, 7] {
                assert!(one == under(threads), "{rows}x{columns}x{inner}, {threads} threads");
            }
        }
    }

    /// A batch of 300 rows gives the bits that its parts give: a sum is cut by its length alone.
    #[test]
    fn the_same_bits_in_any_company() {
        let (rows, columns, inner) = (300, 200, 1100);
        let (left, right) = (draw(rows * inner, 5), draw(inner * columns, 6));
        let product = |left: &[f32]| {
            let mut found = vec![0.0; left.len() / inner * columns];
            let left = Matrix::new(left, left.len() / inner, inner);
            let right = Matrix::new(&right, columns, inner).t();
            matmul(Target::set(&mut found, columns), left, right, 1.0, Threads::All);
            found.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        let parts: Vec<u32> = left.chunks(13 * inner).flat_map(product).collect();
        assert!(left.len().is_multiple_of(inner) && parts.len() == rows * columns);
        // The last part is of one row, which goes another way.
        let whole = product(&left);
        assert!(parts[..299 * columns] == whole[..299 * columns]);
    }

    #[test]
    fn what_comes_after_is_added_once() {
        for (rows, columns, inner) in [(3, 5, 7), (30, 70, 1300)] {
            let (left, right) = (draw(rows * inner, 7), draw(inner * columns, 8));
            let (bias, to) = (draw(columns, 9), draw(rows * columns, 10));
            let product = |after| {
                let mut found = vec![0.0; rows * columns];
                let (left, right) =
                    (Matrix::new(&left, rows, inner), Matrix::new(&right, inner, columns));
                let target = Target::set(&mut found, columns).after(after);
                matmul(target, left, right, 1.0, Threads::All);
                found
            };
            let alone = product(After::NOTHING);
            let with = product(After { bias: Some(&bias), to: Some(&to) });
            for (at, (with, alone)) in with.into_iter().zip(alone).enumerate() {
                let expected = alone + to[at] + bias[at % columns];
                assert_eq!(with.to_bits(), expected.to_bits(), "{rows}x{columns}x{inner}, {at}");
            }
        }
    }
}
