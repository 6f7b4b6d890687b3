//! `convert`: a model of Hugging Face as a GGUF file, a GGUF file as a model of Hugging Face, and other dtypes.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};

use super::args::ConvertArgs;
use super::staging::{begin, refuse_existing};
use crate::error::Error;
use crate::hub;
use crate::models::Pretrained;
use crate::progress::{CancelToken, Report};
use crate::run::shown;

/// Converts a model; the text names what was written.
pub(super) fn convert(args: &ConvertArgs, report: &mut dyn Report) -> Result<String, Error> {
    let to_gguf = is_gguf_name(&args.output);
    refuse_existing(&args.output)?;
    let source = hub::resolve(&args.source, &CancelToken::new(), report)?;
    let model = Pretrained::open(&source)?;
    if to_gguf == model.folder().is_file() && args.dtype.is_none() {
        let format = if to_gguf { "a GGUF file" } else { "a model of safetensors" };
        let hint = if to_gguf { "name a folder" } else { "name a file `NAME.gguf`" };
        let reason = format!(
            "`{}` is {format} already, and `{}` would be its copy\nhint: {hint}, or another `--dtype`",
            args.source,
            args.output.display()
        );
        return Err(Error::Arguments { reason });
    }
    let mut tensors = model.tensors(&Device::Cpu)?;
    if let Some(dtype) = args.dtype {
        for tensor in tensors.values_mut() {
            *tensor = tensor.to_dtype(dtype)?;
        }
    }
    write(&model, tensors, &args.output)?;
    Ok(format!("converted: {}\n", written(&args.output)))
}

/// The path of what was written: of a folder with a slash behind it.
pub(super) fn written(output: &Path) -> String {
    format!("{}{}", shown(output), if is_gguf_name(output) { "" } else { "/" })
}

/// Writes a model into a folder, or into a file whose name ends in `.gguf`: whole or not at all.
pub(super) fn write(
    model: &Pretrained,
    tensors: BTreeMap<String, Tensor>,
    output: &Path,
) -> Result<(), Error> {
    if is_gguf_name(output) {
        return model.save_gguf(output, tensors);
    }
    let folder = begin(output)?;
    model.save(folder.content(), tensors)?;
    folder.finish(output)
}

fn is_gguf_name(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"))
}
