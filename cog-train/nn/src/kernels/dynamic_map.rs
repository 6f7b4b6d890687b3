//! The values of codes of 8 bits whose relative precision falls with the magnitude: a decimal exponent in unary, and a linear
//! fraction in the bits that are left (Dettmers, "8-Bit Approximations for Parallelism in Deep Learning", 2016), as
//! bitsandbytes has them.

/// Decimal exponents, of which the largest is 0.
const EXPONENTS: i32 = 7;

/// Returns the 256 values of codes with a sign, from above -1 to 1, in order.
pub(crate) fn signed() -> Vec<f32> {
    map(1, |value| [Some(value), Some(-value)])
}

/// Returns the 256 values of codes from 0 to 1, in order.
pub(crate) fn unsigned() -> Vec<f32> {
    map(2, |value| [Some(value), None])
}

/// Returns 0, 1 and the values of each exponent: `fractions` of the lowest, and twice as many of each one after it.
fn map(fractions: i32, both: impl Fn(f32) -> [Option<f32>; 2]) -> Vec<f32> {
    let mut map = vec![0.0, 1.0];
    for exponent in 0..EXPONENTS {
        let count = fractions << exponent;
        #[expect(clippy::cast_possible_truncation, reason = "values are in 32 bits")]
        let factor = 10f64.powi(exponent + 1 - EXPONENTS) as f32;
        for at in 0..count {
            let value = factor * f32::midpoint(bound(at, count), bound(at + 1, count));
            map.extend(both(value).into_iter().flatten());
        }
    }
    map.sort_unstable_by(f32::total_cmp);
    map
}

/// Returns the bound `at` of `count` equal parts of the range from 0.1 to 1, as PyTorch's `linspace`.
#[expect(clippy::cast_precision_loss, reason = "at most 128")]
fn bound(at: i32, count: i32) -> f32 {
    let step = (1.0 - 0.1) / count as f32;
    if at < (count + 1) / 2 {
        step.mul_add(at as f32, 0.1)
    } else {
        (-step).mul_add((count - at) as f32, 1.0)
    }
}
