//! The decoder without its head.

use candle_core::{DType, Device, Error, Tensor};
use cog_train_nn::{self as nn, Embedding, Init, Node, RmsNorm, Weight};

use super::config::DecoderConfig;
use super::layer::{Layer, Pass, norm};
use crate::models::cache::{CacheShape, KvCache};
use crate::models::rope::{RopeConfig, Rotary};
use crate::models::tokens::Tokens;

/// The embedding, the layers and the last norm.
#[derive(Debug, Clone)]
pub(crate) struct Decoder {
    embedding: Embedding,
    embedding_scale: Option<f64>,
    layers: Vec<Layer>,
    norm: RmsNorm,
    rotary: Rotary,
    local_rotary: Option<Rotary>,
    cache: CacheShape,
    /// Whether the backward pass computes the activations of each layer again.
    checkpointed: bool,
}

impl Decoder {
    pub(crate) fn new(init: &Init, config: &DecoderConfig) -> Result<Self, Error> {
        let &DecoderConfig { vocabulary, hidden, kv_heads, width, .. } = config;
        let embedding = Embedding::new(&init.at("embed_tokens"), vocabulary, hidden)?;
        let layers = (0..).zip(&config.layers);
        let layers = layers
            .map(|(index, kind): (usize, _)| {
                Layer::new(&init.at("layers").at(index), config, *kind)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let (device, dtype) = (embedding.weight().device().clone(), embedding.weight().dtype());
        let rotary = |rope: &_| Rotary::new(RopeConfig::clone(rope), &device);
        Ok(Self {
            cache: CacheShape { layers: layers.len(), kv_heads, width },
            layers,
            norm: norm(&init.at("norm"), hidden, config)?,
            rotary: rotary(&config.rope),
            local_rotary: config.local_rope.as_ref().map(rotary),
            embedding_scale: config.embedding_scale.map(|scale| rounded(scale, dtype)),
            embedding,
            checkpointed: false,
        })
    }

    /// Computes the activations of each layer again in the backward pass, instead of keeping them.
    pub(crate) fn set_checkpointed(&mut self, on: bool) {
        self.checkpointed = on;
    }

    /// The table of the tokens, `[vocabulary, hidden]`.
    pub(crate) fn embedding(&self) -> &Weight {
        self.embedding.weight()
    }

    /// Allocates a cache for a text of `capacity` tokens.
    pub(crate) fn cache(&self, capacity: usize) -> Result<KvCache, Error> {
        let weight = self.embedding.weight();
        KvCache::new(self.cache, capacity, weight.dtype(), weight.device())
    }

    /// A number that changes when the cached keys of a text of `length` tokens cannot be used for a longer one.
    pub(crate) fn cache_variant(&self, length: usize) -> [usize; 2] {
        let local = self.local_rotary.as_ref().map_or(0, |rotary| rotary.variant(length));
        [self.rotary.variant(length), local]
    }

    /// The last layer's output of each token, `[B, T, hidden]`. `ids` are those of `tokens`.
    pub(crate) fn hidden(&self, ids: &Node, tokens: &Tokens) -> Result<Node, Error> {
        let pass = self.pass(tokens.reach(), tokens.mask(true), tokens.positions().cloned())?;
        let mut x = self.embed(ids)?;
        for layer in &self.layers {
            x = if self.checkpointed {
                let (layer, pass) = (layer.clone(), pass.clone());
                nn::recompute(&x, move |x| layer.forward(x, &pass, None))?
            } else {
                layer.forward(&x, &pass, None)?
            };
        }
        self.norm.forward(&x)
    }

    /// The same of the next tokens of a text, `[1, T]`, whose earlier ones are in the cache.
    pub(crate) fn next_hidden(&self, ids: &Node, cache: &mut KvCache) -> Result<Node, Error> {
        let count = ids.dims().last().copied().unwrap_or(0);
        let (from, to) = (cache.length(), cache.length() + count);
        let words = |at: usize| u32::try_from(at).map_err(Error::wrap);
        let positions = Tensor::arange(words(from)?, words(to)?, self.embedding().device())?;
        let pass = self.pass(to, nn::Mask::Causal, Some(positions))?;
        let mut x = self.embed(ids)?;
        for (index, layer) in self.layers.iter().enumerate() {
            x = layer.forward(&x, &pass, Some(cache.layer(index)))?;
        }
        cache.advance(count);
        self.norm.forward(&x)
    }

    fn pass(&self, reach: usize, mask: nn::Mask, positions: Option<Tensor>) -> Result<Pass, Error> {
        let local = self.local_rotary.as_ref().map(|rotary| rotary.rope(reach));
        let rope = self.rotary.rope(reach)?;
        Ok(Pass { mask, positions, rope, local_rope: local.transpose()? })
    }

    fn embed(&self, ids: &Node) -> Result<Node, Error> {
        let x = self.embedding.forward(ids)?;
        self.embedding_scale.map_or_else(|| Ok(x.clone()), |scale| nn::scale(&x, scale))
    }
}

/// A factor as a tensor of `dtype` holds it.
fn rounded(factor: f64, dtype: DType) -> f64 {
    let number = || Tensor::new(factor, &Device::Cpu)?.to_dtype(dtype)?.to_dtype(DType::F64);
    number().and_then(|number| number.to_scalar()).unwrap_or(factor)
}
