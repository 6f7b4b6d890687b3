//! Products of bfloat16 beside those of their values in 64 and in 32 bits.

use half::bf16;

use super::tests::draw;
use super::*;
use crate::kernels::quantized::Blocks;

/// Rows, columns and terms: odd numbers of terms and one alone, part tiles, and products that are too small for pairs.
const SHAPES: [[usize; 3]; 10] = [
    [1, 1, 1],
    [3, 5, 7],
    [13, 17, 3],
    [12, 16, 1367],
    [13, 100, 1101],
    [97, 600, 31],
    [520, 520, 1],
    [31, 2100, 5],
    [200, 70, 513],
    [65, 129, 2050],
];

fn narrow(elements: &[f32]) -> Vec<bf16> {
    elements.iter().copied().map(bf16::from_f32).collect()
}

fn wide(elements: &[bf16]) -> Vec<f32> {
    elements.iter().copied().map(bf16::to_f32).collect()
}

/// Returns a matrix column by column.
fn transposed(elements: &[bf16], (rows, columns): (usize, usize)) -> Vec<bf16> {
    (0..rows * columns).map(|at| elements[at % rows * columns + at / rows]).collect()
}

/// The factors of a product, by rows.
struct Factors {
    left: Vec<bf16>,
    right: Vec<bf16>,
    shape: [usize; 3],
}

impl Factors {
    fn draw(shape: [usize; 3]) -> Self {
        let [rows, columns, inner] = shape;
        let (left, right) = (narrow(&draw(rows * inner, 0)), narrow(&draw(inner * columns, 1)));
        Self { left, right, shape }
    }

    /// Calls `check` with the products of both layouts of both factors.
    fn products(&self, before: &[f32], check: impl Fn(&[f32])) {
        let [rows, columns, inner] = self.shape;
        let left_t = transposed(&self.left, (rows, inner));
        let right_t = transposed(&self.right, (inner, columns));
        let lefts =
            [Rows::of_bf16(&self.left, inner).left(), Rows::of_bf16(&left_t, rows).left().t()];
        let rights = [
            Rows::of_bf16(&self.right, columns).right(),
            Rows::of_bf16(&right_t, inner).right().t(),
        ];
        for left in lefts {
            for right in rights {
                let mut found = before.to_vec();
                matmul(Target::add(&mut found, columns), left, right, 0.5, Threads::All);
                check(&found);
            }
        }
    }

    /// Returns the product in 32 bits.
    fn widened(&self) -> Vec<f32> {
        let [rows, columns, inner] = self.shape;
        let (left, right) = (wide(&self.left), Blocks::of_bf16(&self.right, (inner, columns)));
        let mut found = vec![0.0; rows * columns];
        let left = Matrix::new(&left, rows, inner);
        matmul(Target::add(&mut found, columns), left, right, 0.5, Threads::All);
        found
    }
}

/// The error of a sum of `n` rounded terms is at most `n` units in the last place of the sum of their sizes.
#[test]
fn products_of_pairs_are_sums_of_products() {
    for shape @ [rows, columns, inner] in SHAPES {
        let factors = Factors::draw(shape);
        let before = draw(rows * columns, 2);
        let [mut sums, mut sizes] = [const { Vec::new() }; 2];
        for (at, before) in before.iter().enumerate() {
            let terms = (0..inner).map(|term| {
                let left = factors.left[at / columns * inner + term].to_f64();
                0.5 * left * factors.right[term * columns + at % columns].to_f64()
            });
            let start = f64::from(*before);
            sums.push(terms.clone().sum::<f64>() + start);
            sizes.push(terms.map(f64::abs).sum::<f64>() + start.abs());
        }
        let unit = f64::from(f32::EPSILON) * f64::from(u32::try_from(inner).unwrap() + 2);
        factors.products(&before, |found| {
            for ((found, sum), size) in found.iter().zip(&sums).zip(&sizes) {
                let wrong = (f64::from(*found) - sum).abs();
                assert!(wrong <= unit * size, "{shape:?}: {found} is not {sum}");
            }
        });
        // The product in 32 bits is as near.
        for ((found, sum), (size, before)) in
            factors.widened().iter().zip(&sums).zip(sizes.iter().zip(&before))
        {
            assert!((f64::from(*found) + f64::from(*before) - sum).abs() <= unit * size);
        }
    }
}

/// In an odd last term too, beside which there is no other.
#[test]
fn infinity_and_nan_propagate_to_their_row_and_column_alone() {
    for shape @ [rows, columns, inner] in [[31, 129, 137], [64, 64, 128]] {
        for (value, term) in [
            (bf16::INFINITY, 0),
            (bf16::NEG_INFINITY, inner - 1),
            (bf16::NAN, inner - 1),
            (bf16::NAN, inner - 2),
        ] {
            let mut factors = Factors::draw(shape);
            factors.left[7 * inner + term] = value;
            factors.right[term * columns + 11] = bf16::ZERO;
            factors.right[3] = value;
            let expected = factors.widened();
            let special = expected.iter().filter(|value| !value.is_finite()).count();
            assert_eq!(special, rows + columns - 1);
            factors.products(&vec![0.0; rows * columns], |found| {
                for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
                    let same = found.is_nan() == expected.is_nan()
                        && found.is_infinite() == expected.is_infinite()
                        && (!found.is_infinite() || found.to_bits() == expected.to_bits());
                    assert!(same, "{shape:?}, {at}: {found} is not {expected}");
                }
            });
        }
        let zeros = Factors {
            left: vec![bf16::NEG_ZERO; rows * inner],
            right: vec![bf16::ZERO; inner * columns],
            shape,
        };
        zeros.products(&vec![0.0; rows * columns], |found| {
            assert!(found.iter().all(|found| found.to_bits() == 0));
        });
    }
}

#[test]
fn bits_of_pairs_depend_neither_on_the_threads_nor_on_other_rows() {
    let (rows, columns, inner) = (299, 515, 1101);
    let Factors { left, right, .. } = Factors::draw([rows, columns, inner]);
    let product = |left: &[bf16]| {
        let mut found = vec![0.0; left.len() / inner * columns];
        let (left, right) = (Rows::of_bf16(left, inner), Rows::of_bf16(&right, inner));
        matmul(Target::set(&mut found, columns), left.left(), right.right().t(), 1.0, Threads::All);
        found.into_iter().map(f32::to_bits).collect::<Vec<_>>()
    };
    let under = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| product(&left))
    };
    let one = under(1);
    assert!([2, 3, 7].into_iter().all(|threads| under(threads) == one));
    assert!(left.chunks(13 * inner).flat_map(product).eq(one));
}
