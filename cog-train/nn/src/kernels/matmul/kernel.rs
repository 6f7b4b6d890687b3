//! Micro-kernels: products of a panel of columns and a panel of rows, summed in registers. Those of 32-bit floats are of the
//! `gemm-f32` crate, the widest that the processor has.

use std::sync::OnceLock;

use gemm_common::microkernel::MicroKernelFn;
use gemm_f32::microkernel::{self, scalar::f32 as scalar};

#[cfg(target_arch = "x86_64")]
use super::dot;
use crate::kernels::simd;

/// The micro-kernels of one kind of processor, by the vectors and the rows that they take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kernel {
    functions: &'static [MicroKernelFn<f32>],
    /// Elements of a vector.
    lanes: usize,
    /// The most rows that it takes at once.
    pub(super) rows: usize,
    /// The most columns that it takes at once: some vectors.
    pub(super) columns: usize,
    /// Whether an element of a factor is a [pair](super::pairs) of bfloat16, and not a float of 32 bits.
    pub(super) of_pairs: bool,
}

static SCALAR: [[MicroKernelFn<f32>; scalar::NR]; scalar::MR_DIV_N] = scalar::UKR;

impl Kernel {
    /// Returns the micro-kernels of this processor.
    pub(super) fn new() -> Self {
        static KERNEL: OnceLock<Kernel> = OnceLock::new();
        *KERNEL.get_or_init(Self::detect)
    }

    fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            use microkernel::{avx512f::f32 as avx512, fma::f32 as fma};
            static AVX512: [[MicroKernelFn<f32>; avx512::NR]; avx512::MR_DIV_N] = avx512::UKR;
            static AVX2: [[MicroKernelFn<f32>; fma::NR]; fma::MR_DIV_N] = fma::UKR;
            match simd::level() {
                simd::Level::Avx512 => return Self::of(&AVX512, 16),
                simd::Level::Avx2 => return Self::of(&AVX2, 8),
                simd::Level::Baseline => {}
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            use microkernel::neon::f32::{MR_DIV_N, NR, UKR};
            static NEON: [[MicroKernelFn<f32>; NR]; MR_DIV_N] = UKR;
            return Self::of(&NEON, 4);
        }
        Self::of(&SCALAR, 1)
    }

    /// Returns the micro-kernels of pairs of bfloat16, if this processor has an instruction for them.
    pub(super) fn of_pairs() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if simd::level() == simd::Level::Avx512 && is_x86_feature_detected!("avx512bf16") {
            return Some(Self { of_pairs: true, ..Self::of(&dot::FUNCTIONS, dot::LANES) });
        }
        None
    }

    fn of<const ROWS: usize, const VECTORS: usize>(
        functions: &'static [[MicroKernelFn<f32>; ROWS]; VECTORS],
        lanes: usize,
    ) -> Self {
        let (functions, columns) = (functions.as_flattened(), VECTORS * lanes);
        Self { functions, lanes, rows: ROWS, columns, of_pairs: false }
    }

    /// Returns the function for so many columns and rows, of each at least one and at most as many as it takes. It needs the
    /// features of this processor, and no others.
    pub(super) fn function(&self, columns: usize, rows: usize) -> MicroKernelFn<f32> {
        self.functions[(columns.div_ceil(self.lanes) - 1) * self.rows + rows - 1]
    }
}
