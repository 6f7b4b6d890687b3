//! The micro-kernel of bfloat16: dot products of pairs of terms, summed in 32 bits (`vdpbf16ps`).
//!
//! The processor rounds each sum to the nearest value, and takes subnormal terms and sums as zero.

use std::arch::x86_64::{
    __m512bh, __m512i, _mm512_dpbf16_ps, _mm512_fmadd_ps, _mm512_loadu_epi32,
    _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps, _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps,
    _mm512_setzero_ps,
};

use gemm_common::microkernel::MicroKernelFn;

/// Pairs of a register.
pub(super) const LANES: usize = 16;
/// The most rows: with four registers of columns their sums fill 24 registers of 32.
const ROWS: usize = 6;

/// The functions, by the registers of columns and by the rows. They need AVX-512 F and BF16.
pub(super) static FUNCTIONS: [[MicroKernelFn<f32>; ROWS]; 4] =
    [by_rows::<1>(), by_rows::<2>(), by_rows::<3>(), by_rows::<4>()];

const fn by_rows<const VECTORS: usize>() -> [MicroKernelFn<f32>; ROWS] {
    [
        dot::<VECTORS, 1>,
        dot::<VECTORS, 2>,
        dot::<VECTORS, 3>,
        dot::<VECTORS, 4>,
        dot::<VECTORS, 5>,
        dot::<VECTORS, 6>,
    ]
}

/// Multiplies `ROWS` rows by at most `VECTORS` registers of columns, of `depth` pairs each. The elements of the factors are pairs,
/// bit by bit. The arguments are those of the micro-kernels of `gemm`.
///
/// # Safety
///
/// 1. The processor has the features.
/// 2. `right` has [`LANES`] pairs for each vector, at each of `depth` steps, and `left` one for each row.
/// 3. The target is valid for reads and writes at the rows and `columns`, nothing else accesses it meanwhile, and it is initialized if
///    `accumulate` is not 0.
#[target_feature(enable = "avx512f,avx512bf16")]
#[expect(clippy::too_many_arguments, reason = "the signature of gemm's micro-kernels")]
unsafe fn dot<const VECTORS: usize, const ROWS: usize>(
    columns: usize,
    _rows: usize,
    depth: usize,
    target: *mut f32,
    mut right: *const f32,
    mut left: *const f32,
    stride: isize,
    _column_step: isize,
    right_step: isize,
    left_step: isize,
    left_row: isize,
    _of_target: f32,
    scale: f32,
    accumulate: u8,
    _: bool,
    _: bool,
    _: bool,
    _: *const f32,
) {
    let mut sums = [[_mm512_setzero_ps(); VECTORS]; ROWS];
    for _ in 0..depth {
        let mut pairs = [_mm512_set1_epi32(0); VECTORS];
        for (at, pairs) in pairs.iter_mut().enumerate() {
            // SAFETY: the register is one of the step's (2).
            *pairs = unsafe { _mm512_loadu_epi32(right.add(at * LANES).cast()) };
        }
        let mut row = left;
        for sums in &mut sums {
            // SAFETY: the pair is the row's (2).
            let pair = _mm512_set1_epi32(unsafe { row.cast::<i32>().read() });
            for (sum, pairs) in sums.iter_mut().zip(pairs) {
                *sum = _mm512_dpbf16_ps(*sum, bf16s(pairs), bf16s(pair));
            }
            row = row.wrapping_offset(left_row);
        }
        right = right.wrapping_offset(right_step);
        left = left.wrapping_offset(left_step);
    }
    let scale = _mm512_set1_ps(scale);
    let last = columns - (VECTORS - 1) * LANES;
    for (row, sums) in sums.into_iter().enumerate() {
        let target = target.wrapping_offset(row.cast_signed() * stride);
        for (at, sum) in sums.into_iter().enumerate() {
            let mask = if at + 1 == VECTORS { u16::MAX >> (LANES - last) } else { u16::MAX };
            let target = target.wrapping_add(at * LANES);
            // SAFETY: the elements of the mask are in the target, which is initialized if it is read (3).
            unsafe {
                let sum = if accumulate == 0 {
                    _mm512_mul_ps(sum, scale)
                } else {
                    _mm512_fmadd_ps(sum, scale, _mm512_maskz_loadu_ps(mask, target))
                };
                _mm512_mask_storeu_ps(target, mask, sum);
            }
        }
    }
}

/// Returns the same bits as bfloat16.
#[target_feature(enable = "avx512f")]
fn bf16s(bits: __m512i) -> __m512bh {
    // SAFETY: both are 64 bytes of any value.
    unsafe { std::mem::transmute(bits) }
}
