//! `config.json`: the keys of all families, and the one that the model is of.

use std::path::Path;

use candle_core::DType;
use serde_json::{Map, Value, json};

use super::bert::{self, BertConfig};
use super::bitsandbytes;
use super::decoder::{self, DecoderConfig};
use super::gpt2::{self, Gpt2Config};
use super::keys::{Keys, nearest};
use super::labels::Labels;
use super::modernbert::{self, ModernBertConfig};
use super::vit::{self, VitConfig};
use crate::error::{Error, printable_name};

/// The configuration of a pretrained model.
#[derive(Debug, Clone)]
pub struct Config {
    model_type: String,
    architecture: Option<String>,
    dtype: Option<DType>,
    end_tokens: Vec<u32>,
    padding_token: Option<u32>,
    labels: Labels,
    family: Family,
}

/// The configuration of each family.
#[derive(Debug, Clone)]
pub(crate) enum Family {
    Decoder(Box<DecoderConfig>),
    Gpt2(Gpt2Config),
    Bert(BertConfig),
    ModernBert(Box<ModernBertConfig>),
    Vit(VitConfig),
}

/// The values of `model_type` of the families that predict the next token.
pub(crate) fn causal_families() -> Vec<&'static str> {
    decoder::FAMILIES.iter().copied().chain([gpt2::FAMILY]).collect()
}

/// The values of `model_type` of the encoders of texts.
pub(crate) fn encoder_families() -> Vec<&'static str> {
    bert::FAMILIES.iter().map(|(name, _)| *name).chain([modernbert::FAMILY]).collect()
}

/// The values of `model_type` of the families that classify texts.
pub(crate) fn text_classifier_families() -> Vec<&'static str> {
    let mut families = encoder_families();
    families.push(gpt2::FAMILY);
    families
}

/// The values of `model_type` of the families that see images.
pub(crate) fn image_families() -> Vec<&'static str> {
    vec![vit::FAMILY]
}

/// Every `model_type` that is supported.
fn families() -> impl Iterator<Item = &'static str> {
    causal_families().into_iter().chain(encoder_families()).chain(image_families())
}

/// Returns names as a message lists them.
fn listed(names: impl IntoIterator<Item = &'static str>) -> String {
    let names: Vec<_> = names.into_iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

impl Config {
    /// Reads a `config.json`.
    ///
    /// # Errors
    ///
    /// [`Error::File`], or [`Error::Model`] with every problem in it: a family that is not supported, keys that are missing or of
    /// another kind, and keys that would change the result and are not supported.
    pub fn open(file: impl AsRef<Path>) -> Result<Self, Error> {
        let file = file.as_ref();
        Self::read(Keys::open(file)?, file)
    }

    /// Reads what a `config.json` holds; `place` is named in errors.
    pub(crate) fn of_json(values: Map<String, Value>, place: &Path) -> Result<Self, Error> {
        Self::read(Keys::new(values), place)
    }

    fn read(mut keys: Keys, file: &Path) -> Result<Self, Error> {
        let model_type: String = keys.require(&["model_type"]);
        let padding_token = keys.get::<Value>(&["pad_token_id"]).and_then(|id| {
            // Llama's first files say -1 for none.
            id.as_u64().and_then(|id| id.try_into().ok())
        });
        let family = match model_type.as_str() {
            "" => {
                keys.finish(file)?;
                return Err(Error::model(file, "`model_type` is empty"));
            }
            name if decoder::FAMILIES.contains(&name) => {
                Family::Decoder(Box::new(DecoderConfig::read(&mut keys, name)))
            }
            gpt2::FAMILY => Family::Gpt2(Gpt2Config::read(&mut keys)),
            modernbert::FAMILY => Family::ModernBert(Box::new(ModernBertConfig::read(&mut keys))),
            vit::FAMILY => Family::Vit(VitConfig::read(&mut keys)),
            name => match bert::FAMILIES.iter().find(|(known, _)| *known == name) {
                Some((_, family)) => {
                    Family::Bert(BertConfig::read(&mut keys, *family, padding_token))
                }
                None => return Err(Error::model(file, unsupported(name))),
            },
        };
        let architectures: Vec<String> = keys.get_or(&["architectures"], Vec::new());
        let end = keys.get::<Value>(&["eos_token_id"]);
        let config = Self {
            architecture: architectures.into_iter().next(),
            dtype: dtype(&mut keys),
            end_tokens: end.map_or_else(Vec::new, |end| token_ids(&mut keys, &end)),
            padding_token,
            labels: Labels::read(&mut keys),
            model_type,
            family,
        };
        bitsandbytes::check_config(&mut keys);
        keys.only("is_encoder_decoder", &json!(false));
        keys.only("add_cross_attention", &json!(false));
        keys.only("pruned_heads", &json!({}));
        keys.ignore(&[
            "chunk_size_feed_forward",
            "classifier_dropout",
            "cross_attention_hidden_size",
            "is_decoder",
            "tie_encoder_decoder",
        ]);
        keys.finish(file)?;
        Ok(config)
    }

    /// The family, such as `llama`.
    #[must_use]
    pub fn model_type(&self) -> &str {
        &self.model_type
    }

    /// The class of transformers that wrote the model, such as `LlamaForCausalLM`.
    #[must_use]
    pub fn architecture(&self) -> Option<&str> {
        self.architecture.as_deref()
    }

    /// The type of its tensors, if the file names it.
    #[must_use]
    pub fn dtype(&self) -> Option<DType> {
        self.dtype
    }

    /// The tokens that end a text.
    #[must_use]
    pub fn end_tokens(&self) -> &[u32] {
        &self.end_tokens
    }

    /// The token that rows are padded with.
    #[must_use]
    pub fn padding_token(&self) -> Option<u32> {
        self.padding_token
    }

    /// The labels of a classifier.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// The number of tokens that the model has an embedding for; 0 of a model that sees images.
    #[must_use]
    pub fn vocabulary(&self) -> usize {
        match &self.family {
            Family::Decoder(config) => config.vocabulary,
            Family::Gpt2(config) => config.vocab,
            Family::Bert(config) => config.vocab,
            Family::ModernBert(config) => config.vocab,
            Family::Vit(_) => 0,
        }
    }

    /// The number of values that the model represents a token with.
    #[must_use]
    pub fn hidden(&self) -> usize {
        match &self.family {
            Family::Decoder(config) => config.hidden,
            Family::Gpt2(config) => config.hidden,
            Family::Bert(config) => config.hidden,
            Family::ModernBert(config) => config.hidden,
            Family::Vit(config) => config.hidden,
        }
    }

    /// The most tokens of a text, or patches of an image, that the model was trained for.
    #[must_use]
    pub fn max_positions(&self) -> usize {
        match &self.family {
            Family::Decoder(config) => config.max_positions,
            Family::Gpt2(config) => config.positions,
            Family::Bert(config) => config.max_length(),
            Family::ModernBert(config) => config.max_positions,
            Family::Vit(config) => config.patches() + 1,
        }
    }

    /// Whether the output layer is the embedding.
    pub(crate) fn tied(&self) -> bool {
        match &self.family {
            Family::Decoder(config) => config.tied,
            _ => true,
        }
    }

    /// The bound of the logits, `cap * tanh(logit / cap)`.
    pub(crate) fn logit_cap(&self) -> Option<f64> {
        match &self.family {
            Family::Decoder(config) => config.logit_cap,
            _ => None,
        }
    }

    pub(crate) fn family(&self) -> &Family {
        &self.family
    }

    pub(crate) fn set_labels(&mut self, labels: Labels) {
        self.labels = labels;
    }

    pub(crate) fn set_architecture(&mut self, name: String) {
        self.architecture = Some(name);
    }

    /// The error of a head that the family does not have; those of `having` have it.
    pub(crate) fn without_head(&self, head: &str, having: Vec<&'static str>) -> Error {
        let place = Path::new("config.json");
        let family = printable_name(&self.model_type);
        let having = listed(having);
        Error::model(
            place,
            format!(
                "`model_type` is `{family}`, which has no head for {head}\nhint: take a model of one of {having}"
            ),
        )
    }
}

/// The reason for which a family is refused.
fn unsupported(name: &str) -> String {
    let near = nearest(name, families())
        .map_or_else(String::new, |near| format!("did you mean `{near}`? "));
    format!(
        "`model_type` is `{}`, which is not supported\nhint: {near}supported are {}",
        printable_name(name),
        listed(families())
    )
}

fn dtype(keys: &mut Keys) -> Option<DType> {
    let name = keys.get::<String>(&["dtype", "torch_dtype"])?;
    match name.strip_prefix("torch.").unwrap_or(&name) {
        "float32" | "float" => Some(DType::F32),
        "bfloat16" => Some(DType::BF16),
        "float16" | "half" => Some(DType::F16),
        "auto" => None,
        other => {
            keys.problem(format!(
                "`dtype` is `{}`, not `float32`, `bfloat16` or `float16`",
                printable_name(other)
            ));
            None
        }
    }
}

/// One token, or a list.
pub(crate) fn token_ids(keys: &mut Keys, value: &Value) -> Vec<u32> {
    let one = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    let found = match value {
        Value::Array(list) => list.iter().map(one).collect(),
        _ => one(value).map(|id| vec![id]),
    };
    found.unwrap_or_else(|| {
        keys.problem(format!("`eos_token_id` is {value}, not a token or a list of tokens"));
        Vec::new()
    })
}
