//! Launching.
#![expect(unsafe_code, reason = "a kernel reads and writes at addresses")]

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

/// Shared memory that a block may have without asking, beside what its source declares: 48 KiB in all.
const SHARED_UNASKED: usize = 40 << 10;

/// Whether kernels of ours are wanted.
static WANTED: LazyLock<bool> =
    LazyLock::new(|| std::env::var_os("COG_TRAIN_GPU_KERNELS").is_none_or(|value| value != "off"));

/// A function of a device, by its name, `KIND` and the other defines.
type Variant = (DeviceId, &'static str, usize, Vec<usize>);

static FUNCTIONS: LazyLock<Mutex<HashMap<Variant, CudaFunction>>> = LazyLock::new(Mutex::default);

/// A GPU that runs kernels of ours, and the float type that it does so in.
#[derive(Debug, Clone)]
pub(crate) struct Gpu {
    device: CudaDevice,
    capability: (i32, i32),
    /// `KIND` of the prelude.
    kind: usize,
}

impl Gpu {
    /// The GPU of these tensors, if they are on one, in one type.
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
        if !tensors.iter().all(alike) || !*WANTED {
            return None;
        }
        let capability = capability(device)?;
        Some(Self { device: device.clone(), capability, kind })
    }

    /// The same GPU, computing in 32 bits.
    pub(crate) fn wide(&self) -> Self {
        Self { kind: 0, ..self.clone() }
    }

    /// A tensor whose numbers are anything: a kernel is to write each of them before one is read.
    ///
    /// # Errors
    ///
    /// candle's error when there is no room.
    pub(crate) fn empty(&self, shape: impl Into<Shape>, dtype: DType) -> Result<Tensor, Error> {
        // SAFETY: 1. every bit pattern is a float; 2. the callers launch kernels that write each number, which their
        // parity tests look at.
        Ok(unsafe { Tensor::empty(shape.into(), dtype, &Device::Cuda(self.device.clone())) }?)
    }

    /// Whole numbers of the CPU.
    ///
    /// # Errors
    ///
    /// candle's error when there is no room.
    pub(crate) fn upload(&self, words: &[u32]) -> Result<Tensor, Error> {
        Ok(Tensor::new(words, &Device::Cuda(self.device.clone()))?)
    }

    /// Runs a function after all that was asked of this GPU before, and does not wait for it.
    ///
    /// # Errors
    ///
    /// candle's error when the source does not compile, which is a defect of ours, or the driver refuses.
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
            candle_core::Error::msg(format!("{}: {reason}", kernel.function)).into()
        };
        let function = self.function(kernel, defines)?;
        if grid.shared > SHARED_UNASKED {
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
                Argument::Float(number) => Value::Float(number),
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
                Value::Float(number) => builder.arg(number),
            };
        }
        let small = |size: usize| u32::try_from(size).map_err(|error| failed(&error));
        let [x, y, z] = grid.blocks;
        let config = LaunchConfig {
            grid_dim: (small(x)?, small(y)?, small(z)?),
            block_dim: (small(grid.threads)?, 1, 1),
            shared_mem_bytes: small(grid.shared)?,
        };
        // SAFETY: 1. the arguments are those of the function, which the operation beside its source answers for and its
        // parity tests look at; 2. the tensors live until the launch is in the queue, and what frees their memory is put
        // into the same queue behind it; 3. no slice of Rust's looks at memory of the GPU.
        unsafe { builder.launch(config) }.map_err(|error| failed(&error))?;
        Ok(())
    }

    /// `target = scale * a^T b`, or that much more: `a` `[rows, m]` and `b` `[rows, n]` of this GPU's type, `target` `[m, n]`
    /// of 32 bits, all without gaps.
    ///
    /// # Errors
    ///
    /// candle's error when cuBLAS refuses.
    pub(crate) fn product(
        &self,
        target: &Tensor,
        adds: bool,
        [a, b]: [&Tensor; 2],
        scale: f32,
    ) -> Result<(), Error> {
        let ((rows, m), (_, n)) = (a.dims2()?, b.dims2()?);
        if m * n == 0 {
            return Ok(());
        }
        if rows == 0 {
            return if adds { Ok(()) } else { Ok(target.zero_set()?) };
        }
        let kind = match self.kind {
            0 => cudaDataType::CUDA_R_32F,
            1 => cudaDataType::CUDA_R_16BF,
            _ => cudaDataType::CUDA_R_16F,
        };
        let size = |size: usize| i32::try_from(size).map_err(candle_core::Error::wrap);
        let (rows, m, n) = (size(rows)?, size(m)?, size(n)?);
        let pointer = |tensor| Ok::<_, Error>(self.address(tensor)? as *mut c_void);
        let (a, b, target) = (pointer(a)?, pointer(b)?, pointer(target)?);
        let beta = if adds { 1f32 } else { 0.0 };
        let blas = self.device.cublas_handle();
        // cuBLAS goes down columns: to it each matrix is its own transpose, and target^T = b^T a.
        // SAFETY: 1. the addresses are those of as many numbers of these types as the sizes say; 2. the product is put into
        // the same queue as all that writes, reads and frees them; 3. the two factors are read before the call returns.
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
        .map_err(|error| candle_core::Error::wrap(error).into())
    }

    /// The function, compiled at its first use on this device.
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

    /// Where the first number of a tensor lies.
    fn address(&self, tensor: &Tensor) -> Result<u64, Error> {
        let (storage, layout) = tensor.storage_and_layout();
        let storage = match &*storage {
            Storage::Cuda(storage) if storage.device.id() == self.device.id() => storage,
            _ => {
                return Err(
                    candle_core::Error::msg("a kernel's operand is on another device").into()
                );
            }
        };
        let stream = self.device.cuda_stream();
        let start = match &storage.slice {
            Slice::F32(slice) => slice.device_ptr(&stream).0,
            Slice::BF16(slice) => slice.device_ptr(&stream).0,
            Slice::F16(slice) => slice.device_ptr(&stream).0,
            Slice::F64(slice) => slice.device_ptr(&stream).0,
            Slice::U32(slice) => slice.device_ptr(&stream).0,
            _ => {
                return Err(
                    candle_core::Error::msg("a kernel's operand is of no type of its").into()
                );
            }
        };
        Ok(start + (layout.start_offset() * tensor.dtype().size_in_bytes()) as u64)
    }
}
