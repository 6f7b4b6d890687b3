//! Classifiers of images.

use candle_core::Tensor;
use cog_train_nn::{self as nn, Init, Linear};

use super::config::{Config, Family, image_families};
use super::labels::Labels;
use super::layers::linear;
use super::vit::Vit;
use crate::error::Error;

/// A model with one result for each image (`AutoModelForImageClassification`).
///
/// Images are `[B, C, H, W]` of floats, scaled and normalized as `preprocessor_config.json` says.
#[derive(Debug, Clone)]
pub struct ImageClassifier {
    vit: Vit,
    head: Linear,
    labels: Labels,
}

impl ImageClassifier {
    /// Builds the model that `config` describes from its tensors.
    ///
    /// # Errors
    ///
    /// [`Error::Model`] when the family sees no images; [`Error::Tensor`] when a tensor is missing or has another shape;
    /// within [`Init::build`] all of them are reported.
    pub fn new(init: &Init, config: &Config) -> Result<Self, Error> {
        let Family::Vit(vit) = config.family() else {
            return Err(config.without_head("image classification", image_families()));
        };
        let labels = config.labels().clone();
        let head = linear(&init.at("classifier"), vit.hidden, labels.count(), vit.std)?;
        Ok(Self { vit: Vit::new(init, vit)?, head, labels })
    }

    /// Sets activation checkpointing: the backward pass computes the activations of each layer again instead of keeping them. The
    /// gradients are the same bits.
    #[must_use]
    pub fn checkpoint_layers(mut self, on: bool) -> Self {
        self.vit.set_checkpointed(on);
        self
    }

    /// The labels of its scores.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Computes the scores of each image, `[B, labels]`.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the images have another size or the device fails.
    pub fn logits(&self, images: &Tensor) -> Result<Tensor, Error> {
        let images = images.to_device(self.vit.device())?.to_dtype(self.vit.dtype())?;
        Ok(nn::trace([&images], |[images]| {
            let x = self.vit.forward(&images)?;
            let class = nn::narrow(&x, 1, 0, 1)?;
            let (rows, width) = (class.dims()[0], class.dims()[2]);
            self.head.forward(&nn::reshape(&class, (rows, width))?)
        })?)
    }

    /// Computes the loss, added up over the images, with the labels of
    /// [`SequenceClassifier::loss`](super::SequenceClassifier::loss).
    ///
    /// # Errors
    ///
    /// Those of [`logits`](Self::logits); labels of another shape, and a label that is no class.
    pub fn loss(&self, images: &Tensor, labels: &Tensor) -> Result<Tensor, Error> {
        Ok(self.labels.loss(&self.logits(images)?, labels)?)
    }
}
