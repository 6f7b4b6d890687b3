//! Inner loops for the processor at hand: each body is compiled for AVX-512, for AVX2 with FMA and for the baseline, and the
//! widest version that the processor supports is selected at run time.
//!
//! Sums run in [`LANES`] lanes in every version and a fused multiplication is fused in every version, so that all three
//! round alike.

use std::sync::OnceLock;

/// The widest vectors that the processor supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Baseline,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
}

/// Returns the level of this processor.
#[inline]
pub(crate) fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(detect)
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Level {
    let avx512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    match (avx512, is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")) {
        (true, true) => Level::Avx512,
        (false, true) => Level::Avx2,
        (_, false) => Level::Baseline,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> Level {
    Level::Baseline
}

/// Compiles a function three times and calls the widest version that the processor supports.
///
/// The body has slices and loops, which the compiler vectorizes.
macro_rules! simd {
    ($($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $out:ty)? $body:block)*) => {$(
        $(#[$meta])*
        #[allow(clippy::too_many_arguments, clippy::inline_always, clippy::let_and_return, clippy::let_unit_value)]
        $vis fn $name($($arg: $type),*) $(-> $out)? {
            #[inline(always)]
            fn body($($arg: $type),*) $(-> $out)? $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            fn avx512($($arg: $type),*) $(-> $out)? { body($($arg),*) }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($arg: $type),*) $(-> $out)? { body($($arg),*) }
            // Of the versions alone: a body must say for itself that it is unsafe.
            #[allow(unsafe_code)]
            let out = match $crate::kernels::simd::level() {
                // SAFETY: the processor has the features of the version: `level` has detected them.
                #[cfg(target_arch = "x86_64")]
                $crate::kernels::simd::Level::Avx512 => unsafe { avx512($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::kernels::simd::Level::Avx2 => unsafe { avx2($($arg),*) },
                _ => body($($arg),*),
            };
            out
        }
    )*};
}
pub(crate) use simd;

/// Elements of a cache line.
pub(crate) const LINE: usize = 16;

/// Prefetches the cache line of an element, if the slice has it.
#[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "an intrinsic"))]
#[expect(clippy::inline_always, reason = "a call would cost more than it saves")]
#[inline(always)]
#[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables, reason = "it is a hint"))]
pub(crate) fn prefetch(elements: &[f32], at: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(element) = elements.get(at) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: 1. every x86-64 processor has SSE; 2. the address is that of an element.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(element).cast()) };
    }
}

/// Parallel partial sums: two registers of AVX-512. Fixed: it decides the rounding.
pub(crate) const LANES: usize = 32;

/// Returns e to the power of `x`, to a relative error of 1e-7, beyond 88 of 3e-7; without a branch, so that a loop of it vectorizes.
///
/// NaN stays NaN, below -87.3 the result is 0 and above 88.7 infinite.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    /// 1.5 * 2^23: added to a small element it leaves the nearest integer in the low bits.
    const MAGIC: f32 = 12_582_912.0;
    const LOW: f32 = -87.336_54;
    const HIGH: f32 = 88.722_83;
    // Comparisons, not `min` and `max`: those would lose a NaN.
    let bounded = if x < LOW { LOW } else { x };
    let bounded = if bounded > HIGH { HIGH } else { bounded };
    let shifted = bounded.mul_add(std::f32::consts::LOG2_E, MAGIC);
    let shifted = if shifted > MAGIC + 127.0 { MAGIC + 127.0 } else { shifted };
    let whole = shifted - MAGIC;
    // ln 2 in two parts, the first with few bits, so that the difference is exact.
    let rest = whole.mul_add(-0.693_359_4, bounded);
    let rest = whole.mul_add(2.121_944_4e-4, rest);
    let series = 1.987_569_1e-4f32;
    let series = series.mul_add(rest, 1.398_199_9e-3);
    let series = series.mul_add(rest, 8.333_452e-3);
    let series = series.mul_add(rest, 4.166_579_6e-2);
    let series = series.mul_add(rest, 1.666_666_5e-1);
    let series = series.mul_add(rest, 0.5);
    // The sum with 1 last: it alone rounds at the size of the result.
    let power = (series * rest).mul_add(rest, rest) + 1.0;
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    let value = power * scale;
    let value = if x < LOW { 0.0 } else { value };
    if x > HIGH { f32::INFINITY } else { value }
}

/// Returns the hyperbolic tangent, to a relative error of about 2e-7; without a branch. NaN stays NaN.
#[expect(clippy::inline_always, reason = "it must take the width of the loop around it")]
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    // Near 0 the difference from 1 would lose all digits: there an odd polynomial, of least relative error on
    // [0, 0.625] by weighted least squares.
    let square = x * x;
    let series = -5.704_934e-3f32;
    let series = series.mul_add(square, 2.063_904_1e-2);
    let series = series.mul_add(square, -5.373_97e-2);
    let series = series.mul_add(square, 0.133_314_42);
    let series = series.mul_add(square, -0.333_332_8);
    let near = (series * square).mul_add(x, x);
    let size = x.abs();
    let far = 1.0 - 2.0 / (exp(2.0 * size) + 1.0);
    if size < 0.625 { near } else { far.copysign(x) }
}

/// Folds elements into lanes by `fold`, and the lanes into one value by `join`.
#[expect(clippy::inline_always, reason = "it must take the width of the loop around it")]
#[inline(always)]
pub(crate) fn lanes(
    elements: &[f32],
    start: f32,
    fold: impl Fn(f32, f32) -> f32,
    join: impl Fn(f32, f32) -> f32,
) -> f32 {
    let mut sums = [start; LANES];
    let mut groups = elements.chunks_exact(LANES);
    for group in &mut groups {
        for lane in 0..LANES {
            sums[lane] = fold(sums[lane], group[lane]);
        }
    }
    for (sum, element) in sums.iter_mut().zip(groups.remainder()) {
        *sum = fold(*sum, *element);
    }
    halves(sums, join)
}

/// Joins lanes pairwise.
#[expect(clippy::inline_always, reason = "it must take the width of the loop around it")]
#[inline(always)]
fn halves(mut sums: [f32; LANES], join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] = join(sums[lane], sums[lane + width]);
        }
        width /= 2;
    }
    sums[0]
}

/// Returns the sum.
#[expect(clippy::inline_always, reason = "it must take the width of the loop around it")]
#[inline(always)]
pub(crate) fn sum(elements: &[f32]) -> f32 {
    lanes(elements, 0.0, |sum, element| sum + element, |one, other| one + other)
}

/// Returns the maximum; NaN if an element is NaN, minus infinity if there is none.
#[expect(clippy::inline_always, reason = "it must take the width of the loop around it")]
#[inline(always)]
pub(crate) fn max(elements: &[f32]) -> f32 {
    // `!(a >= b)` takes b when it is greater and when it is NaN; a NaN that is there stays.
    let greater = |one: f32, other: f32| if one >= other || one.is_nan() { one } else { other };
    lanes(elements, f32::NEG_INFINITY, greater, greater)
}

/// Returns the dot product.
#[expect(clippy::inline_always, reason = "it must take the width of the loop around it")]
#[inline(always)]
pub(crate) fn dot(one: &[f32], other: &[f32]) -> f32 {
    let mut sums = [0f32; LANES];
    let (mut ones, mut others) = (one.chunks_exact(LANES), other.chunks_exact(LANES));
    for (one, other) in (&mut ones).zip(&mut others) {
        for lane in 0..LANES {
            sums[lane] = one[lane].mul_add(other[lane], sums[lane]);
        }
    }
    for ((sum, one), other) in sums.iter_mut().zip(ones.remainder()).zip(others.remainder()) {
        *sum = one.mul_add(*other, *sum);
    }
    halves(sums, |one, other| one + other)
}

#[cfg(test)]
mod tests {
    use super::*;

    simd! {
        fn exp_of(elements: &[f32], powers: &mut [f32]) {
            for (element, power) in elements.iter().zip(powers) {
                *power = exp(*element);
            }
        }
        fn sum_of(elements: &[f32]) -> f32 { sum(elements) }
        fn max_of(elements: &[f32]) -> f32 { max(elements) }
        fn dot_of(one: &[f32], other: &[f32]) -> f32 { dot(one, other) }
    }

    #[test]
    fn exp_is_accurate_in_its_range_and_saturates_outside() {
        let elements: Vec<f32> = (-8730..8872i16).map(|at| f32::from(at) / 100.0 + 0.003).collect();
        let mut powers = vec![0.0; elements.len()];
        exp_of(&elements, &mut powers);
        for (element, power) in elements.iter().zip(&powers) {
            let exact = f64::from(*element).exp();
            let wrong = (f64::from(*power) / exact - 1.0).abs();
            // Beyond 88 there is no greater power of 2, and the series has a longer way.
            let bound = if *element < 88.0 { 9e-8 } else { 3e-7 };
            assert!(
                wrong < bound || exact > f64::from(f32::MAX),
                "e^{element} is {exact}, not {power}"
            );
        }
        let edges = [f32::NEG_INFINITY, -1e4, -88.0, 0.0, -0.0, 89.0, f32::INFINITY, f32::NAN];
        let mut powers = [0.0; 8];
        exp_of(&edges, &mut powers);
        assert_eq!(powers[..7], [0.0, 0.0, 0.0, 1.0, 1.0, f32::INFINITY, f32::INFINITY]);
        assert!(powers[7].is_nan());
    }

    /// The version that the processor selects rounds as the baseline, which is called here.
    #[test]
    fn every_version_returns_the_same_bits() {
        for length in [0, 1, 31, 32, 33, 1000] {
            let elements: Vec<f32> =
                (0..length).map(|at: u16| (f32::from(at) * 0.7).sin() * 3.1).collect();
            let others: Vec<f32> = elements.iter().map(|x| x * 0.3 - 1.0).collect();
            assert_eq!(sum_of(&elements).to_bits(), sum(&elements).to_bits());
            assert_eq!(dot_of(&elements, &others).to_bits(), dot(&elements, &others).to_bits());
            assert_eq!(max_of(&elements).to_bits(), max(&elements).to_bits());
            let mut powers = vec![0.0; elements.len()];
            exp_of(&elements, &mut powers);
            assert!(elements.iter().zip(&powers).all(|(x, y)| exp(*x).to_bits() == y.to_bits()));
        }
    }

    #[test]
    fn max_finds_every_position_and_propagates_nan() {
        for at in [0, 5, 31, 32, 63, 70] {
            let mut elements = vec![-1.0; 71];
            elements[at] = 2.0;
            assert_eq!(max(&elements).to_bits(), 2f32.to_bits());
            elements[at] = f32::NAN;
            assert!(max(&elements).is_nan());
        }
        assert_eq!(max(&[]).to_bits(), f32::NEG_INFINITY.to_bits());
    }
}
