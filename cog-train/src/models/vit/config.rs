//! The configuration of the Vision Transformer.

use serde_json::Value;

use crate::models::dropout::probability;
use crate::models::keys::Keys;
use crate::models::layers::Activation;

/// The configuration of the Vision Transformer.
#[derive(Debug, Clone)]
pub(crate) struct VitConfig {
    pub(crate) hidden: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) intermediate: usize,
    pub(crate) activation: Activation,
    pub(crate) epsilon: f64,
    pub(crate) image: ImageSize,
    pub(crate) patch: usize,
    pub(crate) channels: usize,
    pub(crate) qkv_bias: bool,
    /// The standard deviation of tensors that are drawn.
    pub(crate) std: f64,
    /// Behind the embeddings, and of what layers add.
    pub(crate) dropout: f64,
    pub(crate) attention_dropout: f64,
}

/// The size of an image in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ImageSize {
    pub(crate) height: usize,
    pub(crate) width: usize,
}

impl VitConfig {
    /// Reads a configuration.
    pub(crate) fn read(keys: &mut Keys) -> Self {
        // The decoder and the pooler are of other heads.
        keys.ignore(&["encoder_stride", "pooler_act", "pooler_output_size"]);
        let image = size(keys, "image_size", 224);
        let patch = size(keys, "patch_size", 16);
        if patch.height != patch.width {
            let ImageSize { height, width } = patch;
            keys.problem(format!(
                "`patch_size` is [{height}, {width}], and only squares are supported"
            ));
        }
        let (hidden, heads) = (keys.size(&["hidden_size"]), keys.size(&["num_attention_heads"]));
        if !hidden.is_multiple_of(heads) {
            keys.problem(format!(
                "{heads} attention heads do not divide a hidden size of {hidden}"
            ));
        }
        Self {
            hidden,
            layers: keys.layers(&["num_hidden_layers"]),
            heads,
            intermediate: keys.size(&["intermediate_size"]),
            activation: Activation::read(keys, "hidden_act", "gelu"),
            epsilon: keys.epsilon("layer_norm_eps", 1e-12),
            image,
            patch: patch.height,
            channels: keys.get_or(&["num_channels"], 3),
            qkv_bias: keys.get_or(&["qkv_bias"], true),
            std: keys.get_or(&["initializer_range"], 0.02),
            dropout: probability(keys, "hidden_dropout_prob", 0.0),
            attention_dropout: probability(keys, "attention_probs_dropout_prob", 0.0),
        }
    }

    /// The number of patches of an image.
    pub(crate) fn patches(&self) -> usize {
        (self.image.height / self.patch) * (self.image.width / self.patch)
    }
}

/// One number, or two.
fn size(keys: &mut Keys, name: &'static str, default: usize) -> ImageSize {
    let value = keys.get::<Value>(&[name]);
    let whole = |value: &Value| {
        value.as_u64().and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 0)
    };
    let found = match &value {
        None => Some([default; 2]),
        Some(Value::Array(pair)) => match pair.iter().map(whole).collect::<Option<Vec<_>>>() {
            Some(pair) => pair.try_into().ok(),
            None => None,
        },
        Some(one) => whole(one).map(|size| [size; 2]),
    };
    let [height, width] = found.unwrap_or_else(|| {
        let value = value.unwrap_or_default();
        keys.problem(format!("`{name}` is {value}, not a number of pixels or a list of two"));
        [default; 2]
    });
    ImageSize { height, width }
}
