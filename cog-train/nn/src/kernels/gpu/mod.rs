//! Kernels for NVIDIA GPUs: sources in CUDA C++ beside their operations, compiled at their first use.
//!
//! [`Gpu::of`] returns the GPU of an operation's operands. There is none for tensors elsewhere, for 64-bit floats, on
//! GPUs before Ampere, and where NVIDIA's run-time compiler is not found: the reference serves these.
//! `COG_TRAIN_GPU_KERNELS=off` selects the reference everywhere, to compare the two.

#![expect(unsafe_code, reason = "a kernel comes with a promise")]
#![cfg_attr(
    not(feature = "cuda"),
    expect(dead_code, reason = "without GPUs nobody reads the arguments")
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
pub(crate) use sum::{column_sums, groups, sum_partials};

/// A function in CUDA C++. Its source is compiled behind `prelude.cu`, which has the float type `T`.
///
/// A kernel reads and writes at addresses that it computes from sizes. The module that declares it, and nobody else, launches
/// it, and answers for the arguments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kernel {
    /// The name of the source.
    file: &'static str,
    source: &'static str,
    function: &'static str,
}

impl Kernel {
    /// Declares a kernel; [`kernel!`] names the files.
    ///
    /// # Safety
    ///
    /// Wherever the module of the declaration launches it: 1. the arguments are those of the function, in number, order and
    /// type; 2. with the sizes given, it reads and writes inside of the tensors given, laid out as it takes them, and
    /// inside of the shared memory of the grid.
    pub(crate) const unsafe fn new(
        file: &'static str,
        source: &'static str,
        function: &'static str,
    ) -> Self {
        Self { file, source, function }
    }
}

/// The threads of a launch, and the memory that they share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grid {
    pub(crate) blocks: [usize; 3],
    /// Threads of a block.
    pub(crate) threads: usize,
    /// Bytes of shared memory of a block, besides those that its source declares.
    pub(crate) shared: usize,
}

/// An argument of a kernel.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Argument<'a> {
    /// The address of its first element: `T*`, or a pointer of the tensor's type. The kernel takes the layout for granted.
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

/// Shared memory of a block on every GPU since Ampere, 99 KiB, less what sources declare.
pub(crate) const SHARED: usize = 98 << 10;

/// Threads of a block of an elementwise kernel.
const THREADS: usize = 256;
/// Elements of each of its threads, 16 bytes at a time.
const EACH: usize = 8;

impl Grid {
    /// Threads for `count` elements, of which each takes some that are contiguous.
    pub(crate) fn elementwise(count: usize) -> Self {
        Self { blocks: [count.div_ceil(THREADS * EACH), 1, 1], threads: THREADS, shared: 0 }
    }

    /// A block for each row of `length` elements.
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
    fn from(value: f32) -> Self {
        Self::Float(value)
    }
}

/// Returns a gradient as the kernels take it: of their type, and contiguous.
///
/// # Errors
///
/// candle's error when memory cannot be allocated.
pub(crate) fn contiguous(gradient: &Tensor, dtype: DType) -> Result<Tensor, Error> {
    gradient.to_dtype(dtype)?.contiguous()
}

/// Checks a precondition of a kernel.
///
/// # Errors
///
/// candle's error when it does not hold, which is a defect of the operation.
pub(crate) fn ensure(holds: bool, kernel: &Kernel) -> Result<(), Error> {
    let refused = || Error::msg(format!("{}: its operands do not fit", kernel.function));
    holds.then_some(()).ok_or_else(refused)
}

/// A function of a source file beside the caller, which may be compiled behind another one. As unsafe as [`Kernel::new`].
macro_rules! kernel {
    ($file:literal, $function:literal $(, after $first:literal)?) => {
        $crate::kernels::gpu::Kernel::new(
            $file,
            concat!($(include_str!($first), "\n",)? include_str!($file)),
            $function,
        )
    };
}

/// Runs a function: `call!(gpu, kernel, grid, argument, ..)`, arguments in their order.
macro_rules! call {
    ($gpu:expr, $kernel:expr, $grid:expr, $($argument:expr),* $(,)?) => {
        $gpu.launch(&$kernel, &[], $grid, &[$($crate::kernels::gpu::Argument::from($argument)),*])
    };
}

pub(crate) use {call, kernel};
