//! Launching.
#![expect(unsafe_code, reason = "kernels and cuBLAS read and write at addresses")]

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::{LazyLock, Mutex, PoisonError};

use candle_core::cuda_backend::CudaStorageSlice as Slice;
use candle_core::cuda_backend::DeviceId;
use candle_core::cuda_backend::cudarc::cublas::result::gemm_ex;
use candle_core::cuda_backend::cudarc::cublas::sys::{
    cublasComputeType_t, cublasGemmAlgo_t, cublasOperation_t, cudaDataType,
};
use candle_core::cuda_backend::cudarc::driver::sys::CUfunction_attribute_enum as Attribute;
use candle_core::cuda_backend::cudarc::driver::{
    CudaFunction, DevicePtr, LaunchConfig, PushKernelArg,
};
use candle_core::{CudaDevice, DType, Device, Error, Shape, Storage, Tensor};

use super::compile::{architecture, compiled};
use super::driver::capability;
use super::{Argument, Grid, Kernel};

/// Shared memory that a block has by default, besides that which its source declares: 48 KiB in all.
const SHARED_BY_DEFAULT: usize = 40 << 10;

/// Whether the environment leaves the kernels enabled.
static ENABLED: LazyLock<bool> =
    LazyLock::new(|| std::env::var_os("COG_TRAIN_GPU_KERNELS").is_none_or(|value| value != "off"));

/// A function of a device, by its name, `KIND` and the other defines.
type Variant = (DeviceId, &'static str, usize, Vec<usize>);

static FUNCTIONS: LazyLock<Mutex<HashMap<Variant, CudaFunction>>> = LazyLock::new(Mutex::default);

/// A GPU that runs our kernels, and the float type of the kernels.
#[derive(Debug, Clone)]
pub(crate) struct Gpu {
    device: CudaDevice,
    capability: (i32, i32),
    /// `KIND` of the prelude.
    kind: usize,
}

impl Gpu {
    /// Returns the GPU of these tensors, if they are on one and of one type that the kernels take.
    pub(crate) fn of<const N: usize>(tensors: [&Tensor; N]) -> Option<Self> {
        let first = tensors.first()?;
        let Device::Cuda(device) = first.device() else { return None };
        let kind = match first.dtype() {
            DType::F32 => 0,
            DType::BF16 => 1,
            DType::F16 => 2,
            _ => return None,
        };
        let alike = |other: &&Tensor| {
            other.dtype() == first.dtype() && other.device().same_device(first.device())
        };
        if !tensors.iter().all(alike) || !*ENABLED {
            return None;
        }
        let capability = capability(device)?;
        Some(Self { device: device.clone(), capability, kind })
    }

    /// Returns the same GPU with kernels of 32 bits.
    pub(crate) fn wide(&self) -> Self {
        Self { kind: 0, ..self.clone() }
    }

    /// Whether a tensor is of the type of this GPU's kernels.
    pub(crate) fn supports(&self, tensor: &Tensor) -> bool {
        tensor.dtype() == [DType::F32, DType::BF16, DType::F16][self.kind]
    }

    /// Allocates a tensor with arbitrary values, for a kernel to overwrite.
    ///
    /// # Errors
    ///
    /// candle's error when memory cannot be allocated.
    pub(crate) fn empty(&self, shape: impl Into<Shape>, dtype: DType) -> Result<Tensor, Error> {
        // SAFETY: 1. every bit pattern is a float or an integer of the type; 2. no Rust code sees the memory: the driver copies it to
        // the host, where the bytes that it writes are initialized. An element that no kernel has written is a wrong value
        // and no undefined behaviour.
        unsafe { Tensor::empty(shape.into(), dtype, &Device::Cuda(self.device.clone())) }
    }

    /// Copies integers of the CPU to the GPU.
    ///
    /// # Errors
    ///
    /// candle's error when memory cannot be allocated.
    pub(crate) fn upload(&self, words: &[u32]) -> Result<Tensor, Error> {
        Tensor::new(words, &Device::Cuda(self.device.clone()))
    }

    /// Enqueues a kernel on this GPU's stream, and does not wait for it.
    ///
    /// # Errors
    ///
    /// candle's error when the source does not compile, which is a defect of ours, or the driver fails.
    pub(crate) fn launch(
        &self,
        kernel: &Kernel,
        defines: &[(&str, usize)],
        grid: Grid,
        arguments: &[Argument<'_>],
    ) -> Result<(), Error> {
        enum Value {
            Address(u64),
            Size(i64),
            Word(u32),
            Float(f32),
        }
        if grid.blocks.contains(&0) {
            return Ok(());
        }
        let failed = |reason: &dyn std::fmt::Display| -> Error {
            Error::msg(format!("{}: {reason}", kernel.function))
        };
        let function = self.function(kernel, defines)?;
        if grid.shared > SHARED_BY_DEFAULT {
            let bytes = i32::try_from(grid.shared).map_err(|error| failed(&error))?;
            let most = Attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            function.set_attribute(most, bytes).map_err(|error| failed(&error))?;
        }
        let value = |argument: &Argument<'_>| {
            Ok::<_, Error>(match *argument {
                Argument::Tensor(tensor) => Value::Address(self.address(tensor)?),
                Argument::Nothing => Value::Address(0),
                Argument::Size(size) => {
                    Value::Size(i64::try_from(size).map_err(|error| failed(&error))?)
                }
                Argument::Word(word) => Value::Word(word),
                Argument::Float(value) => Value::Float(value),
            })
        };
        let values = arguments.iter().map(value).collect::<Result<Vec<_>, _>>()?;
        let stream = self.device.cuda_stream();
        let mut builder = stream.launch_builder(&function);
        for value in &values {
            match value {
                Value::Address(address) => builder.arg(address),
                Value::Size(size) => builder.arg(size),
                Value::Word(word) => builder.arg(word),
                Value::Float(value) => builder.arg(value),
            };
        }
        let small = |size: usize| u32::try_from(size).map_err(|error| failed(&error));
        let [x, y, z] = grid.blocks;
        let config = LaunchConfig {
            grid_dim: (small(x)?, small(y)?, small(z)?),
            block_dim: (small(grid.threads)?, 1, 1),
            shared_mem_bytes: small(grid.shared)?,
        };
        // SAFETY: 1. the arguments are those of the function, and it stays inside of them: the promise that `Kernel::new` was given;
        // 2. the tensors live until the launch is in the stream, and their memory is freed in the same stream, behind it;
        // 3. no reference of Rust's points to memory of the GPU.
        unsafe { builder.launch(config) }.map_err(|error| failed(&error))?;
        Ok(())
    }

    /// Computes `target = scale * a^T b`, or accumulate it to the target: `a` `[rows, m]` and `b` `[rows, n]` of this GPU's type,
    /// `target` `[m, n]` of 32 bits, all contiguous.
    ///
    /// # Errors
    ///
    /// candle's error when the operands are not such, or cuBLAS fails.
    pub(crate) fn product(
        &self,
        target: &Tensor,
        accumulate: bool,
        [a, b]: [&Tensor; 2],
        scale: f32,
    ) -> Result<(), Error> {
        let ((rows, m), (of_b, n)) = (a.dims2()?, b.dims2()?);
        let (dtype, kind) = match self.kind {
            0 => (DType::F32, cudaDataType::CUDA_R_32F),
            1 => (DType::BF16, cudaDataType::CUDA_R_16BF),
            _ => (DType::F16, cudaDataType::CUDA_R_16F),
        };
        let fits = rows == of_b
            && target.dims() == [m, n]
            && target.dtype() == DType::F32
            && [a, b].iter().all(|factor| factor.dtype() == dtype)
            && [a, b, target].iter().all(|tensor| tensor.is_contiguous());
        if !fits {
            return Err(Error::msg(
                "a product of a GPU needs contiguous matrices that fit together",
            ));
        }
        if m * n == 0 {
            return Ok(());
        }
        if rows == 0 {
            return if accumulate { Ok(()) } else { target.zero_set() };
        }
        let size = |size: usize| i32::try_from(size).map_err(candle_core::Error::wrap);
        let (rows, m, n) = (size(rows)?, size(m)?, size(n)?);
        let pointer = |tensor| Ok::<_, Error>(self.address(tensor)? as *mut c_void);
        let (a, b, target) = (pointer(a)?, pointer(b)?, pointer(target)?);
        let beta = if accumulate { 1f32 } else { 0.0 };
        let blas = self.device.cublas_handle();
        // cuBLAS goes down columns: to it each matrix is its own transpose, and target^T = b^T a.
        // SAFETY: 1. the addresses are those of as many elements of these types as the sizes say: `fits`; 2. the product is in the
        // same stream as all that writes, reads and frees them; 3. the two scalars are read before the call returns.
        unsafe {
            gemm_ex(
                *blas.handle(),
                cublasOperation_t::CUBLAS_OP_N,
                cublasOperation_t::CUBLAS_OP_T,
                n,
                m,
                rows,
                (&raw const scale).cast(),
                b,
                kind,
                n,
                a,
                kind,
                m,
                (&raw const beta).cast(),
                target,
                cudaDataType::CUDA_R_32F,
                n,
                cublasComputeType_t::CUBLAS_COMPUTE_32F,
                cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
            )
        }
        .map_err(Error::wrap)
    }

    /// Returns the function, compiled at its first use on this device.
    fn function(&self, kernel: &Kernel, defines: &[(&str, usize)]) -> Result<CudaFunction, Error> {
        let values = defines.iter().map(|(_, value)| *value).collect();
        let variant = (self.device.id(), kernel.function, self.kind, values);
        let mut functions = FUNCTIONS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(function) = functions.get(&variant) {
            return Ok(function.clone());
        }
        let mut options = vec![architecture(self.capability), format!("-DKIND={}", self.kind)];
        options.extend(defines.iter().map(|(name, value)| format!("-D{name}={value}")));
        let name = format!("{} {}", kernel.file, options.join(" "));
        let code = compiled(kernel, &name, options)?;
        let function = self.device.get_or_load_custom_func(kernel.function, &name, &code)?;
        let function = function.into_cuda_function();
        functions.insert(variant, function.clone());
        Ok(function)
    }

    /// Returns the address of the first element of a tensor.
    fn address(&self, tensor: &Tensor) -> Result<u64, Error> {
        let (storage, layout) = tensor.storage_and_layout();
        let storage = match &*storage {
            Storage::Cuda(storage) if storage.device.id() == self.device.id() => storage,
            _ => {
                return Err(Error::msg("an operand of a kernel is on another device"));
            }
        };
        let stream = self.device.cuda_stream();
        let start = match &storage.slice {
            Slice::F32(slice) => slice.device_ptr(&stream).0,
            Slice::BF16(slice) => slice.device_ptr(&stream).0,
            Slice::F16(slice) => slice.device_ptr(&stream).0,
            Slice::F64(slice) => slice.device_ptr(&stream).0,
            Slice::U32(slice) => slice.device_ptr(&stream).0,
            Slice::U8(slice) => slice.device_ptr(&stream).0,
            _ => {
                return Err(Error::msg("an operand of a kernel is of a type that no kernel takes"));
            }
        };
        Ok(start + (layout.start_offset() * tensor.dtype().size_in_bytes()) as u64)
    }
}
