//! Compiles sources in CUDA C++ by NVIDIA's run-time compiler.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::cuda_backend::cudarc::nvrtc::{CompileOptions, compile_ptx_with_opts};

use super::Kernel;
use candle_core::Error;

const PRELUDE: &str = include_str!("prelude.cu");

/// The code of a source by its name, its types and the architecture.
static COMPILED: Mutex<BTreeMap<String, Arc<str>>> = Mutex::new(BTreeMap::new());

/// Returns the code of a source, compiled at its first use in this process.
///
/// # Errors
///
/// candle's error when it does not compile, which is a defect of ours.
pub(super) fn compiled(
    kernel: &Kernel,
    name: &str,
    options: Vec<String>,
) -> Result<Arc<str>, Error> {
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(code) = compiled.get(name) {
        return Ok(code.clone());
    }
    let source = format!("{PRELUDE}\n{}", kernel.source);
    let options = CompileOptions { options, ..CompileOptions::default() };
    let code = compile_ptx_with_opts(source, options)
        .map_err(|error| Error::msg(format!("{name} does not compile: {error:?}")))?;
    let code: Arc<str> = code.to_src().into();
    compiled.insert(name.to_owned(), code.clone());
    Ok(code)
}

/// Whether the compiler is installed and supports GPUs of this compute capability.
pub(super) fn compiles_for(capability: (i32, i32)) -> bool {
    let options = vec![architecture(capability)];
    let options = CompileOptions { options, ..CompileOptions::default() };
    compile_ptx_with_opts("extern \"C\" __global__ void nothing() {}", options).is_ok()
}

/// Returns the option for code of this compute capability.
pub(super) fn architecture((major, minor): (i32, i32)) -> String {
    format!("--gpu-architecture=compute_{major}{minor}")
}
