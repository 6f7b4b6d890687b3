//! An adapter as a GGUF file, which llama.cpp and Ollama load beside their base.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use cog_train_nn::{Layer, LayerKind, LowRank};

use super::adapter::{Adapter, found, names};
use super::config::invalid;
use crate::error::Error;
use crate::gguf::{self, Entry, Metadata, TensorType};
use crate::models::{GgufConversion, Pretrained, gguf_bytes, reordered};

/// The version of the layouts of blocks, which every file names.
const QUANTIZATION_VERSION: u32 = 2;

impl Adapter {
    /// Writes the adapter as a GGUF file: the option `--lora` of llama.cpp, and `ADAPTER` in Ollama's `Modelfile`. `base` is the
    /// model that it was made for, a GGUF file or a folder, and `tensors` holds those that are trained and may hold others:
    /// [`Params::masters`](crate::engine::Params::masters).
    ///
    /// Matrices are written in 32 bits. llama.cpp has one alpha for all layers: where theirs differ, and with rsLoRA, the
    /// difference is in the matrices `B`.
    ///
    /// ```
    /// use cog_train::candle_core::Device;
    /// use cog_train::engine::Precision;
    /// use cog_train::gguf::Gguf;
    /// use cog_train::lora::{LoraConfig, Modules};
    /// use cog_train::models::{CausalLm, Pretrained};
    /// use cog_train::nn::{Init, Rng};
    ///
    /// # let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/models/gguf/f32.gguf");
    /// # let dir = tempfile::tempdir()?;
    /// # let out = dir.path().join("adapter.gguf");
    /// let base = Pretrained::open(file)?; // the `.gguf` file that llama.cpp runs
    /// let model = |init: &Init| CausalLm::new(init, base.config());
    /// let adapter = LoraConfig::new(4).alpha(8.0).targets(Modules::named(["q_proj"])).on(model)?;
    /// let tensors = base.tensors(&Device::Cpu)?;
    /// let trained = adapter.draw(&tensors, Rng::new(42, "lora"))?;
    /// let params = adapter.params(tensors, trained, Precision::F32)?;
    /// // Training changes `params`.
    /// adapter.save_gguf(&out, &base, &params.masters())?; // llama-cli --model FILE --lora OUT
    /// let written = Gguf::open(&out)?;
    /// assert_eq!(written.tensor("blk.0.attn_q.weight.lora_a").map(|it| it.shape()), Some(&[4, 32][..]));
    /// # Ok::<(), cog_train::anyhow::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] for what llama.cpp's adapters cannot hold: `DoRA`, tensors of the base that are trained
    /// (`modules_to_save`, biases), and a branch of an embedding that is the output layer too; also when `tensors` lacks one. [`Error::Model`] for a family
    /// without a name in llama.cpp; those of [`gguf::save`].
    pub fn save_gguf(
        &self,
        file: impl AsRef<Path>,
        base: &Pretrained,
        tensors: &BTreeMap<String, Tensor>,
    ) -> Result<(), Error> {
        let conversion = base.gguf_conversion()?;
        self.check_gguf(base)?;
        let alpha = self.gguf_alpha();
        let mut metadata = Metadata::new();
        metadata.insert("general.architecture", conversion.architecture().name);
        metadata.insert("general.type", "adapter");
        metadata.insert("adapter.type", "lora");
        #[expect(clippy::cast_possible_truncation, reason = "the format has 32 bits")]
        metadata.insert("adapter.lora.alpha", alpha as f32);
        metadata.insert("general.quantization_version", QUANTIZATION_VERSION);
        let (mut entries, mut values) = (Vec::new(), BTreeMap::new());
        for (path, (layer, branch)) in &self.branches {
            for (end, tensor) in ["lora_a", "lora_b"].into_iter().zip(matrices(
                path,
                (*layer, branch),
                alpha,
                tensors,
                &conversion,
            )?) {
                let weight = conversion.architecture().to_file(&format!("{path}.weight"));
                let weight = weight.ok_or_else(|| {
                    invalid(format!("llama.cpp has no name for the layer `{path}`"))
                })?;
                let entry = Entry::new(format!("{weight}.{end}"), TensorType::F32, tensor.shape);
                values.insert(entry.name.clone(), tensor.bytes);
                entries.push(entry);
            }
        }
        gguf::save(file, &metadata, &entries, |entry| {
            Ok(values.remove(&entry.name).unwrap_or_default())
        })
    }

    /// Checks that [`save_gguf`](Self::save_gguf) can write the adapter.
    ///
    /// # Errors
    ///
    /// Those of [`save_gguf`](Self::save_gguf) for what llama.cpp's adapters cannot hold.
    pub fn check_gguf(&self, base: &Pretrained) -> Result<(), Error> {
        let hint = "hint: merge the adapter, and write the model with `Pretrained::save_gguf`";
        let refused = |what: String| {
            Err(invalid(format!("{what}, which an adapter in GGUF cannot hold\n{hint}")))
        };
        if let Some((path, _)) = self.layers().find(|(_, branch)| branch.is_dora()) {
            return refused(format!("`{path}` is adapted by DoRA"));
        }
        // llama.cpp has one tensor for both, and would add a branch of either to the other.
        let is_shared = |kind| match kind {
            LayerKind::Embedding => base.config().tied(),
            kind => kind == LayerKind::Linear { tied: true },
        };
        if let Some((path, _)) = self.branches.iter().find(|(_, (it, _))| is_shared(it.kind)) {
            return refused(format!(
                "`{path}` is adapted, and the output layer shares its weight with the embedding"
            ));
        }
        match self.trained().find(|name| self.layout.tensors.contains_key(*name)) {
            Some(name) => refused(format!("`{name}` is trained in full")),
            None => Ok(()),
        }
    }

    /// The alpha of all layers. llama.cpp divides it by the rank; 0 means none there.
    fn gguf_alpha(&self) -> f64 {
        let mut alphas = self.layers().map(|(_, branch)| alpha(&branch));
        let first = alphas.next().filter(|first| *first != 0.0);
        let common = first.filter(|first| alphas.all(|other| other.total_cmp(first).is_eq()));
        common.unwrap_or(if self.config.alpha == 0.0 { 1.0 } else { self.config.alpha })
    }
}

/// The alpha that gives a branch its scale.
fn alpha(branch: &LowRank) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "ranks are far below 2^53")]
    let rank = branch.rank() as f64;
    branch.scale() * rank
}

/// A matrix as it is written.
struct Matrix {
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// The two matrices of a branch.
fn matrices(
    path: &str,
    (layer, branch): (Layer, &LowRank),
    common: f64,
    tensors: &BTreeMap<String, Tensor>,
    conversion: &GgufConversion,
) -> Result<[Matrix; 2], Error> {
    let [a, b] = names(path, layer.kind);
    let wide = |name: &str| -> Result<Tensor, Error> {
        let tensor = found(tensors, name)?.detach().to_device(&Device::Cpu)?;
        Ok(tensor.to_dtype(DType::F32)?)
    };
    // llama.cpp looks up the rows of an embedding's first matrix.
    let a = wide(&a)?;
    let a = if layer.kind == LayerKind::Embedding { a.t()?.contiguous()? } else { a.contiguous()? };
    let ratio = alpha(branch) / common;
    let b = wide(&b)?;
    // A scale is a quotient, so that its product with the rank is rounded.
    let b = if (ratio - 1.0).abs() < 1e-12 { b } else { (b * ratio)? }.contiguous()?;
    let matrix = |tensor: &Tensor| -> Result<Matrix, Error> {
        let bytes = gguf_bytes(tensor).map_err(candle_core::Error::wrap)?;
        Ok(Matrix { shape: tensor.dims().to_vec(), bytes })
    };
    let (a, mut b) = (matrix(&a)?, matrix(&b)?);
    if let Some(order) = conversion.rows_to_file(&format!("{path}.weight"), layer.outputs) {
        b.bytes = reordered(&b.bytes, &order);
    }
    Ok([a, b])
}
