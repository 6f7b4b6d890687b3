//! Heads: the one that a model gets, the tensors that are drawn for it, and its labels.

use std::collections::BTreeMap;
use std::fmt;

use candle_core::{DType, Device, Tensor};
use cog_train_nn::{Init, Quantized, Rng};
use serde_json::json;

use super::body::names;
use super::config::{
    Family, causal_families, encoder_families, image_families, text_classifier_families,
};
use super::labels::Labels;
use super::pretrained::Pretrained;
use crate::error::{Error, printable_name};

/// The key of `config.json` that names the class of the model.
pub(crate) const ARCHITECTURES: &str = "architectures";

/// The most names that a report lists.
const SHOWN: usize = 6;

/// The task of a model: a class of transformers, such as `BertForSequenceClassification`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Head {
    /// The next token: [`CausalLm`](super::CausalLm).
    CausalLm,
    /// Masked tokens: [`MaskedLm`](super::MaskedLm).
    MaskedLm,
    /// A result for each text: [`SequenceClassifier`](super::SequenceClassifier).
    SequenceClassification,
    /// A class for each token: [`TokenClassifier`](super::TokenClassifier).
    TokenClassification,
    /// A result for each image: [`ImageClassifier`](super::ImageClassifier).
    ImageClassification,
}

impl Head {
    /// The end of the names of transformers' classes.
    fn suffix(self, family: &Family) -> Option<&'static str> {
        match (self, family) {
            (Self::CausalLm, Family::Decoder(_)) => Some("ForCausalLM"),
            (Self::CausalLm, Family::Gpt2(_)) => Some("LMHeadModel"),
            (
                Self::SequenceClassification,
                Family::Gpt2(_) | Family::Bert(_) | Family::ModernBert(_),
            ) => Some("ForSequenceClassification"),
            (Self::TokenClassification, Family::Bert(_) | Family::ModernBert(_)) => {
                Some("ForTokenClassification")
            }
            (Self::MaskedLm, Family::Bert(_) | Family::ModernBert(_)) => Some("ForMaskedLM"),
            (Self::ImageClassification, Family::Vit(_)) => Some("ForImageClassification"),
            _ => None,
        }
    }

    /// The families that have it.
    fn families(self) -> Vec<&'static str> {
        match self {
            Self::CausalLm => causal_families(),
            Self::MaskedLm | Self::TokenClassification => encoder_families(),
            Self::SequenceClassification => text_classifier_families(),
            Self::ImageClassification => image_families(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::CausalLm => "the next token",
            Self::MaskedLm => "masked tokens",
            Self::SequenceClassification => "sequence classification",
            Self::TokenClassification => "token classification",
            Self::ImageClassification => "image classification",
        }
    }
}

impl Pretrained {
    /// Gives the model another head, which its saved configuration names.
    ///
    /// # Errors
    ///
    /// [`Error::Model`] when the family has no such head.
    pub fn with_head(mut self, head: Head) -> Result<Self, Error> {
        let (config, changes) = self.config_mut();
        let suffix = head.suffix(config.family());
        let suffix = suffix.ok_or_else(|| config.without_head(head.name(), head.families()))?;
        let start = config.architecture().and_then(|name| {
            let ends = ["LMHeadModel", "Model"];
            let start = ends.iter().find_map(|end| name.strip_suffix(end));
            start.or_else(|| Some(name.split_once("For")?.0)).map(str::to_owned)
        });
        if let Some(start) = start {
            let name = format!("{start}{suffix}");
            if config.architecture() != Some(&name) {
                changes.insert(ARCHITECTURES.to_owned(), json!([name]));
                config.set_architecture(name);
            }
        }
        Ok(self)
    }

    /// Gives a classifier other labels, which its saved configuration names. [`Pretrained::load`] draws the last layer if the files
    /// have one for another number of labels.
    #[must_use]
    pub fn with_labels(mut self, labels: Labels) -> Self {
        let (config, changes) = self.config_mut();
        labels.write(changes);
        config.set_labels(labels);
        self
    }

    /// Loads the tensors that a model asks for. Those of a head that the files lack are drawn, as transformers draws them.
    ///
    /// # Errors
    ///
    /// The error of `model`; [`Error::Model`] when a tensor of the body is not there, or one has another shape; those of
    /// [`Pretrained::tensors`].
    pub fn load<M>(
        &self,
        device: &Device,
        rng: Rng,
        model: impl Fn(&Init) -> Result<M, Error>,
    ) -> Result<Loaded, Error> {
        let names = names(self.config());
        let relabelled = self.changes().contains_key("id2label");
        let mut needed = Init::shapes_of(&model)?;
        let is_new = |name: &str, shape: &[usize]| {
            let stored = self.shape(name);
            let other = relabelled && stored.as_ref().is_some_and(|stored| stored != shape);
            names.is_of_head(name) && (stored.is_none() || other)
        };
        let drawn = needed.iter().filter(|(name, shape)| is_new(name, shape.dims()));
        let drawn: Vec<String> = drawn.map(|(name, _)| name.clone()).collect();
        let unused = self.names().filter(|name| !needed.contains_key(*name));
        let unused = unused.filter(|name| !names.is_tied(name)).map(str::to_owned).collect();
        for name in &drawn {
            needed.remove(name);
        }
        self.check(&needed)?;
        let quantized = self.quantized_where(device, |name| needed.contains_key(name))?;
        let floats = needed.into_keys().filter(|name| !self.is_quantized(name));
        let loaded = self.read(floats, device)?;
        let dtype = loaded.values().next().map_or(DType::F32, Tensor::dtype);
        let init = Init::from_tensors(loaded).dtype(dtype).quantized(quantized.clone());
        let init = drawn.iter().fold(init, |init, name| init.draw_missing(name, rng));
        Ok(Loaded { tensors: init.tensors_of(model)?, quantized, drawn, unused })
    }
}

/// The tensors of a model, and where they are from.
#[derive(Debug, Clone)]
pub struct Loaded {
    tensors: BTreeMap<String, Tensor>,
    quantized: BTreeMap<String, Quantized>,
    drawn: Vec<String>,
    unused: Vec<String>,
}

impl Loaded {
    /// The tensors by name.
    #[must_use]
    pub fn tensors(&self) -> &BTreeMap<String, Tensor> {
        &self.tensors
    }

    /// The matrices that are [quantized](Pretrained::quantized), by name.
    #[must_use]
    pub fn quantized(&self) -> &BTreeMap<String, Quantized> {
        &self.quantized
    }

    /// Gives up the tensors.
    #[must_use]
    pub fn into_tensors(self) -> BTreeMap<String, Tensor> {
        self.tensors
    }

    /// The names of tensors that were drawn, as the files have none.
    #[must_use]
    pub fn drawn(&self) -> &[String] {
        &self.drawn
    }

    /// The names of the files' tensors that the model has no use for.
    #[must_use]
    pub fn unused(&self) -> &[String] {
        &self.unused
    }
}

/// One line for the tensors that were drawn, and one for those without a use.
impl fmt::Display for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.tensors.len() + self.quantized.len() - self.drawn.len();
        write!(f, "{count} tensors loaded")?;
        if !self.drawn.is_empty() {
            write!(f, "\nnew, to be trained: {}", list(&self.drawn))?;
        }
        if !self.unused.is_empty() {
            write!(f, "\nnot used: {}", list(&self.unused))?;
        }
        Ok(())
    }
}

fn list(names: &[String]) -> String {
    let shown: Vec<_> =
        names.iter().take(SHOWN).map(|name| format!("`{}`", printable_name(name))).collect();
    let more = names.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    shown.join(", ") + &more
}
