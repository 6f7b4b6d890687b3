//! Kernels of ours on NVIDIA GPUs: sources in CUDA C++ beside the operations that they are of, compiled at their first use.
//!
//! An operation asks [`Gpu::of`] for the GPU of its operands. There is none for tensors elsewhere, for 64-bit floats, on
//! GPUs before Ampere, and where NVIDIA's run-time compiler is not found: the plain form serves these.
//! `COG_TRAIN_GPU_KERNELS=off` asks for the plain form everywhere, to compare the two.

#![cfg_attr(
    not(feature = "cuda"),
    expect(dead_code, reason = "without GPUs nobody reads what one is asked for")
)]

#[cfg(feature = "cuda")]
mod compile;
#[cfg(feature = "cuda")]
mod driver;
#[cfg(feature = "cuda")]
mod launch;
#[cfg(not(feature = "cuda"))]
#[path = "none.rs"]
mod launch;
mod product;
mod scale;
mod sum;

use candle_core::{DType, Error, Tensor};

pub(crate) use launch::Gpu;
pub(crate) use product::weight_gradient;
pub(crate) use scale::scale;
pub(crate) use sum::{column_sums, groups, sum_parts};

/// A function in CUDA C++. Its source is compiled behind `prelude.cu`, which has the float type `T`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kernel {
    /// The name of the source.
    pub(crate) file: &'static str,
    pub(crate) source: &'static str,
    pub(crate) function: &'static str,
}

/// How many threads run, and what they share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grid {
    pub(crate) blocks: [usize; 3],
    /// In a block.
    pub(crate) threads: usize,
    /// Bytes that a block has for itself, beside what its source declares.
    pub(crate) shared: usize,
}

/// What a function is called with.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Argument<'a> {
    /// The address of its first number: `T*`, or what the tensor is of. The caller answers for gaps.
    Tensor(&'a Tensor),
    /// A null pointer.
    Nothing,
    /// `long long`.
    Size(usize),
    /// `unsigned int`.
    Word(u32),
    /// `float`.
    Float(f32),
}

/// Bytes that a block may have for itself on every GPU since Ampere, 99 KiB, less what sources declare.
pub(crate) const SHARED: usize = 98 << 10;

/// Threads of a block that goes through numbers one by one.
const THREADS: usize = 256;
/// Numbers that each of them takes, 16 bytes at a time.
const EACH: usize = 8;

impl Grid {
    /// For `count` numbers, of which each thread takes some, side by side.
    pub(crate) fn numbers(count: usize) -> Self {
        Self { blocks: [count.div_ceil(THREADS * EACH), 1, 1], threads: THREADS, shared: 0 }
    }

    /// A block for each row of `length` numbers.
    pub(crate) fn rows(rows: usize, length: usize) -> Self {
        let threads = length.div_ceil(8).next_power_of_two().clamp(32, 512);
        Self { blocks: [rows, 1, 1], threads, shared: 0 }
    }

    pub(crate) fn shared(self, bytes: usize) -> Self {
        Self { shared: bytes, ..self }
    }
}

impl<'a> From<&'a Tensor> for Argument<'a> {
    fn from(tensor: &'a Tensor) -> Self {
        Self::Tensor(tensor)
    }
}

impl<'a> From<Option<&'a Tensor>> for Argument<'a> {
    fn from(tensor: Option<&'a Tensor>) -> Self {
        tensor.map_or(Self::Nothing, Self::Tensor)
    }
}

impl From<usize> for Argument<'_> {
    fn from(size: usize) -> Self {
        Self::Size(size)
    }
}

impl From<u32> for Argument<'_> {
    fn from(word: u32) -> Self {
        Self::Word(word)
    }
}

impl From<f32> for Argument<'_> {
    fn from(number: f32) -> Self {
        Self::Float(number)
    }
}

/// A gradient as the kernels take it: of their type, and without gaps.
///
/// # Errors
///
/// candle's error when there is no room.
pub(crate) fn plain(gradient: &Tensor, dtype: DType) -> Result<Tensor, Error> {
    Ok(gradient.to_dtype(dtype)?.contiguous()?)
}

/// A function of a source file beside the caller, which may stand after another one.
macro_rules! kernel {
    ($file:literal, $function:literal $(, after $first:literal)?) => {
        $crate::kernels::gpu::Kernel {
            file: $file,
            source: concat!($(include_str!($first), "\n",)? include_str!($file)),
            function: $function,
        }
    };
}

/// Runs a function: `call!(gpu, kernel, grid, argument, ..)`, arguments in their order.
macro_rules! call {
    ($gpu:expr, $kernel:expr, $grid:expr, $($argument:expr),* $(,)?) => {
        $gpu.launch(&$kernel, &[], $grid, &[$($crate::kernels::gpu::Argument::from($argument)),*])
    };
}

pub(crate) use {call, kernel};
