//! Matrices that bitsandbytes quantized to NF4 (Dettmers et al., "QLoRA: Efficient Finetuning of Quantized LLMs", 2023), in the
//! files of transformers.
//!
//! A matrix `x.weight` is there as two codes a byte. Beside it are the scales of its blocks, `x.weight.absmax`, the values of the
//! codes, `x.weight.quant_map`, and a JSON text, `x.weight.quant_state.bitsandbytes__nf4`. With double quantization the scales are
//! codes too, with `x.weight.nested_absmax` and `x.weight.nested_quant_map`.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use cog_train_nn::{BlockLayout, Quantized, Scales};
use serde_json::{Value, json};

use super::keys::Keys;
use crate::error::{Error, printable_name};
use crate::weights::Weights;

/// The end of the name of a JSON text, before the name of its type.
const STATE: &str = ".quant_state.bitsandbytes__";
/// The end of the name of the scales of a matrix in int8.
const INT8: &str = ".SCB";
/// The ends of the names of tensors that belong to a matrix.
const PARTS: [&str; 4] = [".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map"];

/// Checks `quantization_config` of a `config.json`, if it is there.
pub(crate) fn check_config(keys: &mut Keys) {
    let Some(mut settings) = keys.object(&["quantization_config"]) else { return };
    // Files of the first versions do not name it.
    let method: String = settings.get_or(&["quant_method"], "bitsandbytes".to_owned());
    if method != "bitsandbytes" {
        let (name, method) = (settings.name("quant_method"), printable_name(&method));
        keys.problem(format!(
            "`{name}` is `{method}`, and only `bitsandbytes` is supported\nhint: load a model that is not quantized"
        ));
        return;
    }
    let eight: bool = settings.get_or(&["load_in_8bit", "_load_in_8bit"], false);
    if eight {
        let name = settings.name("load_in_8bit");
        settings.problem(format!("`{name}` is true, and of bitsandbytes only NF4 is supported"));
    }
    let four: bool = settings.get_or(&["load_in_4bit", "_load_in_4bit"], false);
    if !four && !eight {
        let name = settings.name("load_in_4bit");
        settings.problem(format!("`{name}` is false, and of bitsandbytes only NF4 is supported"));
    }
    settings.ignore(&["bnb_4bit_use_double_quant", "bnb_4bit_compute_dtype"]);
    settings.ignore(&[
        "llm_int8_enable_fp32_cpu_offload",
        "llm_int8_has_fp16_weight",
        "llm_int8_skip_modules",
        "llm_int8_threshold",
        "modules_to_not_convert",
    ]);
    settings.only("bnb_4bit_quant_storage", &json!("uint8"));
    // bitsandbytes' own default is FP4.
    let kind: String = settings.get_or(&["bnb_4bit_quant_type"], "fp4".to_owned());
    if kind != "nf4" && four {
        let (name, kind) = (settings.name("bnb_4bit_quant_type"), printable_name(&kind));
        settings.problem(format!("`{name}` is `{kind}`, and only `nf4` is supported"));
    }
    keys.close(settings);
}

/// A matrix in files.
#[derive(Debug, Clone)]
pub(crate) struct Nf4 {
    /// The name of its codes.
    file_name: String,
    outputs: usize,
    inputs: usize,
    block: usize,
    nested: Option<Nested>,
}

/// Double quantization.
#[derive(Debug, Clone, Copy)]
struct Nested {
    block: usize,
    offset: f64,
}

/// Takes the matrices out of the stored tensors, by the names that the model gives their weights.
///
/// # Errors
///
/// [`Error::Model`] for a matrix of another type, or one that its JSON text does not fit; those of [`Weights::get`].
pub(crate) fn take(
    stored: &mut BTreeMap<String, String>,
    weights: &Weights,
    folder: &Path,
) -> Result<BTreeMap<String, Nf4>, Error> {
    if let Some((name, _)) = stored.iter().find(|(name, _)| name.ends_with(INT8)) {
        let name = printable_name(name.trim_end_matches(INT8));
        return Err(Error::model(
            folder,
            format!("`{name}.weight` is in int8 of bitsandbytes{HINT}"),
        ));
    }
    let states: Vec<(String, String)> = stored
        .iter()
        .filter(|(name, _)| name.contains(STATE))
        .map(|(name, file_name)| (name.clone(), file_name.clone()))
        .collect();
    let mut found = BTreeMap::new();
    for (state, file_name) in states {
        let Some((name, kind)) = state.split_once(STATE) else { continue };
        if kind != "nf4" {
            let (name, kind) = (printable_name(name), printable_name(&kind.to_uppercase()));
            let reason = format!("`{name}` is in {kind} of bitsandbytes{HINT}");
            return Err(Error::model(folder, reason));
        }
        let file_name = file_name.split_once(STATE).map_or(name, |(name, _)| name);
        let matrix = Nf4::open(weights, file_name, folder)?;
        stored.remove(&state);
        stored.remove(name);
        for part in PARTS {
            stored.remove(&format!("{name}{part}"));
        }
        found.insert(name.to_owned(), matrix);
    }
    Ok(found)
}

const HINT: &str = ", and only NF4 is supported\nhint: load the model without quantization, which can be quantized when it is loaded";

impl Nf4 {
    /// Reads the JSON text of a matrix, and compares its tensors with it.
    fn open(weights: &Weights, file_name: &str, folder: &Path) -> Result<Self, Error> {
        let text = weights.get(&format!("{file_name}{STATE}nf4"), &Device::Cpu)?;
        let text: Vec<u8> = text.flatten_all()?.to_vec1()?;
        let shown = printable_name(file_name);
        let place = folder.join(format!("{shown}{STATE}nf4"));
        let Ok(Value::Object(values)) = serde_json::from_slice(&text) else {
            return Err(Error::model(&place, "is no JSON object"));
        };
        let mut keys = Keys::new(values);
        keys.only("quant_type", &json!("nf4"));
        // The type that the matrix was of.
        keys.ignore(&["dtype"]);
        let block = keys.size(&["blocksize"]);
        let shape: Vec<usize> = keys.get_or(&["shape"], Vec::new());
        keys.only("nested_dtype", &json!("float32"));
        let nested = keys.get(&["nested_blocksize"]).map(|block: usize| Nested {
            block: block.max(1),
            offset: keys.require(&["nested_offset"]),
        });
        let &[outputs, inputs] = shape.as_slice() else {
            keys.problem(format!("`shape` is {shape:?}, not that of a matrix"));
            keys.finish(&place)?;
            return Err(Error::model(&place, "has no shape"));
        };
        if !(block.is_power_of_two() && (32..=4096).contains(&block)) {
            keys.problem(format!("`blocksize` is {block}, not a power of two from 32 to 4096"));
        }
        let elements = outputs.checked_mul(inputs).filter(|count| *count > 0);
        if elements.is_none() {
            keys.problem(format!("`shape` is {shape:?}, which has no elements"));
        }
        keys.finish(&place)?;
        let matrix = Self { file_name: file_name.to_owned(), outputs, inputs, block, nested };
        matrix.check(weights, folder)?;
        Ok(matrix)
    }

    /// Compares the types and sizes of the tensors with those of the matrix.
    fn check(&self, weights: &Weights, folder: &Path) -> Result<(), Error> {
        let elements = self.outputs * self.inputs;
        let blocks = elements.div_ceil(self.block);
        let mut parts = vec![("", "U8", elements.div_ceil(2)), (".quant_map", "F32", 16)];
        match self.nested {
            None => parts.push((".absmax", "F32", blocks)),
            Some(Nested { block, .. }) => parts.extend([
                (".absmax", "U8", blocks),
                (".nested_absmax", "F32", blocks.div_ceil(block)),
                (".nested_quant_map", "F32", 256),
            ]),
        }
        for (end, dtype, count) in parts {
            let name = format!("{}{end}", self.file_name);
            let shown = printable_name(&name);
            let Some((found, shape)) = weights.describe(&name) else {
                return Err(Error::model(folder, format!("`{shown}` is missing")));
            };
            let elements: usize = shape.iter().product();
            if found != dtype || elements != count {
                let reason = format!(
                    "`{shown}` has {elements} of {found}, and the matrix needs {count} of {dtype}"
                );
                return Err(Error::model(folder, reason));
            }
        }
        let map: Vec<f32> = self.part(weights, ".quant_map", &Device::Cpu)?.to_vec1()?;
        let alike = map.iter().zip(BlockLayout::NF4_VALUES).all(|(a, b)| (a - b).abs() < 1e-5);
        if alike {
            return Ok(());
        }
        let shown = printable_name(&self.file_name);
        Err(Error::model(folder, format!("`{shown}.quant_map` has other values than NF4")))
    }

    fn part(&self, weights: &Weights, end: &str, device: &Device) -> Result<Tensor, Error> {
        Ok(weights.get(&format!("{}{end}", self.file_name), device)?.flatten_all()?)
    }

    /// The sizes of the matrix: its outputs and its inputs.
    pub(crate) fn shape(&self) -> [usize; 2] {
        [self.outputs, self.inputs]
    }

    /// Loads the matrix.
    ///
    /// # Errors
    ///
    /// Those of [`Weights::get`].
    pub(crate) fn load(&self, weights: &Weights, device: &Device) -> Result<Quantized, Error> {
        let part = |end: &str| self.part(weights, end, device);
        let scales = match self.nested {
            None => Scales::Float(part(".absmax")?),
            #[expect(clippy::cast_possible_truncation, reason = "bitsandbytes has it in 32 bits")]
            Some(Nested { block, offset }) => Scales::Nested {
                codes: part(".absmax")?,
                map: part(".nested_quant_map")?,
                scales: part(".nested_absmax")?,
                of: block,
                offset: offset as f32,
            },
        };
        let sizes = (self.outputs, self.inputs);
        Ok(Quantized::from_nf4(&part("")?, scales, self.block, sizes)?)
    }
}
