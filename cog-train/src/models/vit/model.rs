//! The encoder of images.

use candle_core::{DType, Device, Error, Tensor};
use cog_train_nn::{
    self as nn, Attention, Conv2d, Dropout, Init, Initializer, LayerNorm, Linear, Mask, Node,
};

use super::config::{ImageSize, VitConfig};
use crate::models::dropout::add_dropped;
use crate::models::layers::{Activation, linear, linear_of, mlp_inner};

/// The encoder of images.
#[derive(Debug, Clone)]
pub(crate) struct Vit {
    patches: Conv2d,
    class_token: Tensor,
    positions: Tensor,
    dropout: Dropout,
    layers: Vec<Layer>,
    norm: LayerNorm,
    image: ImageSize,
    channels: usize,
    /// Whether the backward pass computes the activations of each layer again.
    checkpointed: bool,
}

impl Vit {
    /// Builds the encoder below its prefix.
    ///
    /// # Errors
    ///
    /// Those of [`Init::tensor`].
    pub(crate) fn new(init: &Init, config: &VitConfig) -> Result<Self, Error> {
        let init = init.at("vit");
        let VitConfig { hidden, std, patch, channels, image, epsilon, .. } = *config;
        let tables = init.at("embeddings");
        let truncated = Initializer::TruncatedNormal { std };
        let projection = tables.at("patch_embeddings.projection");
        let projection = projection.with("weight", Initializer::Normal { std });
        let projection = projection.with("bias", Initializer::ZEROS);
        let layers = init.at("encoder.layer");
        let layers = (0..config.layers).map(|layer| Layer::new(&layers.at(layer), config));
        Ok(Self {
            patches: Conv2d::new(&projection, channels, hidden, patch)?.stride(patch),
            class_token: tables.tensor("cls_token", (1, 1, hidden), truncated)?,
            positions: tables.tensor(
                "position_embeddings",
                (1, config.patches() + 1, hidden),
                truncated,
            )?,
            dropout: Dropout::new(&tables, config.dropout)?,
            layers: layers.collect::<Result<_, _>>()?,
            norm: LayerNorm::new(&init.at("layernorm"), hidden, epsilon)?,
            image,
            channels,
            checkpointed: false,
        })
    }

    /// Computes the activations of each layer again in the backward pass, instead of keeping them.
    pub(crate) fn set_checkpointed(&mut self, on: bool) {
        self.checkpointed = on;
    }

    /// The type of its tensors.
    pub(crate) fn dtype(&self) -> DType {
        self.positions.dtype()
    }

    /// The device of its tensors.
    pub(crate) fn device(&self) -> &Device {
        self.positions.device()
    }

    /// Computes the last hidden states `[B, 1 + patches, d]` of pixels `[B, C, H, W]`; the first is that of the class token.
    ///
    /// # Errors
    ///
    /// candle's error when the images have another size or the device fails.
    pub(crate) fn forward(&self, pixels: &Node) -> Result<Node, Error> {
        let ImageSize { height, width } = self.image;
        let needed = [self.channels, height, width];
        let &[images, ref found @ ..] = pixels.dims() else { return Err(unfit(pixels, needed)) };
        if found != needed {
            return Err(unfit(pixels, needed));
        }
        let x = self.patches.forward(pixels)?;
        let hidden = x.dims()[1];
        let x = nn::transpose(&nn::reshape(&x, (images, hidden, ()))?, 1, 2)?;
        let zeros = Tensor::zeros((images, 1, hidden), self.dtype(), self.device())?;
        let class = nn::parameter(pixels, &self.class_token)?;
        let class = nn::add(&nn::parameter(pixels, &zeros)?, &class)?;
        let x = nn::cat([&class, &x], 1)?;
        let x = nn::add(&x, &nn::parameter(pixels, &self.positions)?)?;
        let mut x = self.dropout.forward(&x)?;
        for layer in &self.layers {
            x = if self.checkpointed {
                let layer = layer.clone();
                nn::recompute(&x, move |x| layer.forward(x))?
            } else {
                layer.forward(&x)?
            };
        }
        self.norm.forward(&x)
    }
}

fn unfit(pixels: &Node, [channels, height, width]: [usize; 3]) -> Error {
    let found = pixels.dims();
    Error::Msg(format!(
        "images are {found:?}, and the model sees [_, {channels}, {height}, {width}]\n\
         hint: resize them to {height} x {width} pixels"
    ))
}

/// A layer, which normalizes before each part.
#[derive(Debug, Clone)]
struct Layer {
    attention_norm: LayerNorm,
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    norm: LayerNorm,
    up: Linear,
    down: Linear,
    activation: Activation,
    heads: usize,
    attention_dropout: Dropout,
    output_dropout: Dropout,
    down_dropout: Dropout,
}

impl Layer {
    fn new(init: &Init, config: &VitConfig) -> Result<Self, Error> {
        let VitConfig { hidden, intermediate, std, epsilon, qkv_bias, .. } = *config;
        let normal = Initializer::Normal { std };
        let part = |name: &str| linear_of(&init.at(name), hidden, hidden, normal, qkv_bias);
        let norm = |name: &str| LayerNorm::new(&init.at(name), hidden, epsilon);
        Ok(Self {
            attention_norm: norm("layernorm_before")?,
            query: part("attention.attention.query")?,
            key: part("attention.attention.key")?,
            value: part("attention.attention.value")?,
            output: linear(&init.at("attention.output.dense"), hidden, hidden, std)?,
            norm: norm("layernorm_after")?,
            up: linear(&init.at("intermediate.dense"), hidden, intermediate, std)?,
            down: linear(&init.at("output.dense"), intermediate, hidden, std)?,
            activation: config.activation,
            heads: config.heads,
            attention_dropout: Dropout::new(
                &init.at("attention.attention"),
                config.attention_dropout,
            )?,
            output_dropout: Dropout::new(&init.at("attention.output"), config.dropout)?,
            down_dropout: Dropout::new(&init.at("output"), config.dropout)?,
        })
    }

    fn forward(&self, x: &Node) -> Result<Node, Error> {
        let &[rows, length, width] = x.dims() else {
            return Err(Error::Msg(format!("hidden states are {:?}, not [b, n, d]", x.dims())));
        };
        let normal = self.attention_norm.forward(x)?;
        let heads = |part: &Linear| {
            nn::reshape(&part.forward(&normal)?, (rows, length, self.heads, width / self.heads))
        };
        let (query, key, value) = (heads(&self.query)?, heads(&self.key)?, heads(&self.value)?);
        let attention = Attention::new(Mask::Full).dropout(&self.attention_dropout);
        let y = nn::reshape(&attention.forward(&query, &key, &value)?, (rows, length, width))?;
        let x = add_dropped(&self.output, &self.output_dropout, x, &y)?;
        let (norm, up, activation) = (self.norm.clone(), self.up.clone(), self.activation);
        let inner = mlp_inner(&x, move |x| activation.forward(&up.forward(&norm.forward(x)?)?))?;
        add_dropped(&self.down, &self.down_dropout, &x, &inner)
    }
}
