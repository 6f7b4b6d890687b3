use super::*;
use crate::rng::Rng;

pub(super) fn draw(count: usize, at: u64) -> Vec<f32> {
    let mut stream = Rng::new(5, "test").at(at);
    #[expect(clippy::cast_possible_truncation, reason = "a value for a test")]
    (0..count).map(|_| stream.normal() as f32).collect()
}

/// Returns a matrix column by column.
fn transposed(elements: &[f32], (rows, columns): (usize, usize), stride: usize) -> Vec<f32> {
    (0..rows * columns).map(|at| elements[at % rows.max(1) * stride + at / rows.max(1)]).collect()
}

/// Every layout of the operands, strided too, against sums that are written out.
#[test]
fn products_are_sums_of_products() {
    let small = [(1, 1, 1), (3, 5, 7), (17, 33, 65), (4, 1, 300), (2, 3, 0), (5, 70, 77)];
    let blocks = [
        (13, 100, 1100),
        (97, 600, 30),
        (2100, 31, 5),
        (31, 2100, 5),
        (200, 70, 513),
        (520, 520, 1),
    ];
    for (rows, columns, inner) in small.into_iter().chain(blocks) {
        let (left, right) = (draw(rows * (inner + 2), 0), draw(inner * (columns + 1), 1));
        let left_t = transposed(&left, (rows, inner), inner + 2);
        let right_t = transposed(&right, (inner, columns), columns + 1);
        let start = draw(rows * (columns + 3), 2);
        for accumulate in [false, true] {
            let expected = |row: usize, column: usize| {
                let sum: f64 = (0..inner)
                    .map(|at| {
                        f64::from(left[row * (inner + 2) + at])
                            * f64::from(right[at * (columns + 1) + column])
                    })
                    .sum();
                let before = if accumulate { start[row * (columns + 3) + column] } else { 0.0 };
                0.5 * sum + f64::from(before)
            };
            let a = Matrix::strided(&left, rows, inner, inner + 2);
            let b = Matrix::strided(&right, inner, columns, columns + 1);
            let a_t = Matrix::new(&left_t, inner, rows).t();
            let b_t = Matrix::new(&right_t, columns, inner).t();
            for (a, b) in [(a, b), (a_t, b), (a, b_t), (a_t, b_t)] {
                let mut found = start.clone();
                let target = if accumulate { Target::add } else { Target::set };
                let target = target(&mut found, columns + 3);
                matmul(target, a, b, 0.5, Threads::All);
                for row in 0..rows {
                    for column in 0..columns + 3 {
                        let at = row * (columns + 3) + column;
                        if column < columns {
                            let wrong = f64::from(found[at]) - expected(row, column);
                            assert!(wrong.abs() < 1e-4, "{rows}x{columns}x{inner}: {wrong}");
                        } else {
                            assert_eq!(found[at].to_bits(), start[at].to_bits(), "between rows");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    for (rows, columns, inner) in [(300, 500, 700), (33, 1000, 129), (1024, 8, 384), (8, 384, 1024)]
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

/// A batch of 300 rows has the bits of its parts: a sum is split by its length alone.
#[test]
fn bits_of_a_row_do_not_depend_on_the_other_rows() {
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
    // The last part has one row, which is multiplied by dot products.
    let whole = product(&left);
    assert!(parts[..299 * columns] == whole[..299 * columns]);
}

#[test]
fn an_epilogue_is_added_once() {
    for (rows, columns, inner) in [(3, 5, 7), (3, 70, 130), (30, 70, 1300)] {
        let (left, right) = (draw(rows * inner, 7), draw(inner * columns, 8));
        let (bias, to) = (draw(columns, 9), draw(rows * columns, 10));
        let product = |epilogue| {
            let mut found = vec![0.0; rows * columns];
            let (left, right) =
                (Matrix::new(&left, rows, inner), Matrix::new(&right, inner, columns));
            let target = Target::set(&mut found, columns).with_epilogue(epilogue);
            matmul(target, left, right, 1.0, Threads::All);
            found
        };
        let alone = product(Epilogue::NONE);
        let with = product(Epilogue { bias: Some(&bias), to: Some(&to) });
        for (at, (with, alone)) in with.into_iter().zip(alone).enumerate() {
            let expected = alone + to[at] + bias[at % columns];
            assert_eq!(with.to_bits(), expected.to_bits(), "{rows}x{columns}x{inner}, {at}");
        }
    }
}

/// Also of few rows, which are added up in lanes.
#[test]
fn exact_sums_have_about_half_of_the_rounding_errors() {
    let (rows, columns, inner) = (24, 300, 512);
    let (left, right) = (draw(rows * inner, 11), draw(columns * inner, 12));
    let error = |rows: usize, target: fn(&mut [f32]) -> Target<'_>| {
        let mut found = vec![0.0; rows * columns];
        let (a, b) = (Matrix::new(&left[..rows * inner], rows, inner), &right);
        matmul(target(&mut found), a, Matrix::new(b, columns, inner).t(), 1.0, Threads::All);
        let squares = found.iter().enumerate().map(|(at, found)| {
            let [row, column] = [(&left, at / columns), (&right, at % columns)]
                .map(|(all, line)| &all[line * inner..][..inner]);
            let sum: f64 = row.iter().zip(column).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            (f64::from(*found) - sum).powi(2)
        });
        (squares.sum::<f64>() / f64::from(u32::try_from(found.len()).unwrap())).sqrt()
    };
    let plain = error(rows, |found| Target::set(found, 300));
    let exact = error(rows, |found| Target::set(found, 300).exact());
    let few = error(11, |found| Target::set(found, 300));
    assert!(exact < 0.65 * plain && few < 0.65 * plain, "{plain:e}, exact {exact:e}, few {few:e}");
}
