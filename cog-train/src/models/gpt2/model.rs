//! The decoder without its head.

use candle_core::Error;
use cog_train_nn::{
    self as nn, Attention, Dropout, Embedding, Init, LayerNorm, Linear, Mask, Node, Weight,
};

use super::config::Gpt2Config;
use crate::models::cache::{CacheShape, KvCache, LayerCache};
use crate::models::dropout::add_dropped;
use crate::models::layers::{Activation, embedding, linear, mlp_inner};
use crate::models::tokens::Tokens;

/// The embeddings, the layers and the last norm.
#[derive(Debug, Clone)]
pub(crate) struct Gpt2 {
    words: Embedding,
    positions: Embedding,
    dropout: Dropout,
    layers: Vec<Layer>,
    norm: LayerNorm,
    cache: CacheShape,
    /// Whether the backward pass computes the activations of each layer again.
    checkpointed: bool,
}

impl Gpt2 {
    /// Builds the decoder below its prefix.
    ///
    /// # Errors
    ///
    /// Those of [`Init::tensor`].
    pub(crate) fn new(init: &Init, config: &Gpt2Config) -> Result<Self, Error> {
        let init = init.at("transformer");
        let Gpt2Config { hidden, heads, std, epsilon, .. } = *config;
        let table = |name: &str, rows| embedding(&init.at(name), rows, hidden, std);
        let layers = init.at("h");
        let layers = (0..config.layers).map(|layer| Layer::new(&layers.at(layer), config, layer));
        Ok(Self {
            words: table("wte", config.vocab)?,
            positions: table("wpe", config.positions)?,
            dropout: Dropout::new(&init, config.embedding_dropout)?,
            layers: layers.collect::<Result<_, _>>()?,
            norm: LayerNorm::new(&init.at("ln_f"), hidden, epsilon)?,
            cache: CacheShape { layers: config.layers, kv_heads: heads, width: hidden / heads },
            checkpointed: false,
        })
    }

    /// Computes the activations of each layer again in the backward pass, instead of keeping them.
    pub(crate) fn set_checkpointed(&mut self, on: bool) {
        self.checkpointed = on;
    }

    /// The table of the tokens, `[vocabulary, hidden]`, which is also the weight of the head.
    pub(crate) fn embedding(&self) -> &Weight {
        self.words.weight()
    }

    /// Allocates a cache for a text of `capacity` tokens.
    ///
    /// # Errors
    ///
    /// candle's error when there is no room.
    pub(crate) fn cache(&self, capacity: usize) -> Result<KvCache, Error> {
        let weight = self.words.weight();
        KvCache::new(self.cache, capacity, weight.dtype(), weight.device())
    }

    /// Computes the last layer's output of each token, `[B, T, hidden]`. `ids` are those of `tokens`.
    ///
    /// # Errors
    ///
    /// candle's error when a text is longer than the table of positions, an id is not in a table, or the device fails.
    pub(crate) fn hidden(&self, ids: &Node, tokens: &Tokens) -> Result<Node, Error> {
        tokens.check_ids(self.words.weight().dims2()?.0)?;
        self.check_length(tokens.reach())?;
        let positions = match tokens.positions() {
            Some(positions) => self.positions.forward(&nn::parameter(ids, positions)?)?,
            None => self.positions_from(ids, 0)?,
        };
        let mut x = nn::add(&self.words.forward(ids)?, &positions)?;
        x = self.dropout.forward(&x)?;
        let mask = tokens.mask(true);
        for layer in &self.layers {
            x = if self.checkpointed {
                let (layer, mask) = (layer.clone(), mask.clone());
                nn::recompute(&x, move |x| layer.forward(x, &mask, None))?
            } else {
                layer.forward(&x, &mask, None)?
            };
        }
        self.norm.forward(&x)
    }

    /// The same of the next tokens of a text, `[1, T]`, whose earlier ones are in the cache.
    ///
    /// # Errors
    ///
    /// Those of [`hidden`](Self::hidden).
    pub(crate) fn next_hidden(&self, ids: &Node, cache: &mut KvCache) -> Result<Node, Error> {
        let count = ids.dims().last().copied().unwrap_or(0);
        self.check_length(cache.length() + count)?;
        let positions = self.positions_from(ids, cache.length())?;
        let mut x = nn::add(&self.words.forward(ids)?, &positions)?;
        for (index, layer) in self.layers.iter().enumerate() {
            x = layer.forward(&x, &Mask::Causal, Some(cache.layer(index)))?;
        }
        cache.advance(count);
        self.norm.forward(&x)
    }

    /// The vectors of consecutive positions, `[T, hidden]`.
    fn positions_from(&self, ids: &Node, start: usize) -> Result<Node, Error> {
        let count = ids.dims().last().copied().unwrap_or(0);
        nn::narrow(&nn::parameter(ids, &self.positions.weight().to_tensor()?)?, 0, start, count)
    }

    fn check_length(&self, length: usize) -> Result<(), Error> {
        let (most, _) = self.positions.weight().dims2()?;
        if length > most {
            let reason = format!("a text of {length} tokens, and the model has {most} positions");
            return Err(Error::Msg(reason));
        }
        Ok(())
    }
}

/// A layer, which normalizes before each part. One product makes queries, keys and values.
#[derive(Debug, Clone)]
struct Layer {
    attention_norm: LayerNorm,
    qkv: Linear,
    output: Linear,
    norm: LayerNorm,
    up: Linear,
    down: Linear,
    activation: Activation,
    heads: usize,
    /// The factor of the products of queries and keys.
    score_scale: f64,
    attention_dropout: Dropout,
    output_dropout: Dropout,
    down_dropout: Dropout,
}

impl Layer {
    fn new(init: &Init, config: &Gpt2Config, layer: usize) -> Result<Self, Error> {
        let Gpt2Config { hidden, intermediate, std, epsilon, heads, activation, .. } = *config;
        let dense = |name: &str, inputs, outputs, std| linear(&init.at(name), inputs, outputs, std);
        let norm = |name: &str| LayerNorm::new(&init.at(name), hidden, epsilon);
        // GPT-2 draws what is added to the residual path smaller, by the number of such parts.
        #[expect(clippy::cast_precision_loss, reason = "a model has few layers")]
        let residual = std / ((2 * config.layers) as f64).sqrt();
        Ok(Self {
            attention_norm: norm("ln_1")?,
            qkv: dense("attn.c_attn", hidden, 3 * hidden, std)?,
            output: dense("attn.c_proj", hidden, hidden, residual)?,
            norm: norm("ln_2")?,
            up: dense("mlp.c_fc", hidden, intermediate, std)?,
            down: dense("mlp.c_proj", intermediate, hidden, residual)?,
            activation,
            heads,
            score_scale: config.score_scale(layer),
            attention_dropout: Dropout::new(&init.at("attn.c_attn"), config.attention_dropout)?,
            output_dropout: Dropout::new(&init.at("attn.c_proj"), config.residual_dropout)?,
            down_dropout: Dropout::new(&init.at("mlp.c_proj"), config.residual_dropout)?,
        })
    }

    fn forward(
        &self,
        x: &Node,
        mask: &Mask,
        cache: Option<&mut LayerCache>,
    ) -> Result<Node, Error> {
        let qkv = self.qkv.forward(&self.attention_norm.forward(x)?)?;
        let attention = Attention::new(mask.clone()).scale(self.score_scale);
        let attention = attention.dropout(&self.attention_dropout);
        let y = match cache {
            None => attention.packed(&qkv, self.heads, self.heads)?,
            Some(cache) => self.cached(&qkv, &attention, cache)?,
        };
        let x = add_dropped(&self.output, &self.output_dropout, x, &y)?;
        let (norm, up, activation) = (self.norm.clone(), self.up.clone(), self.activation);
        let inner = mlp_inner(&x, move |x| activation.forward(&up.forward(&norm.forward(x)?)?))?;
        add_dropped(&self.down, &self.down_dropout, &x, &inner)
    }

    /// Attention to the keys of earlier tokens too.
    fn cached(
        &self,
        qkv: &Node,
        attention: &Attention,
        cache: &mut LayerCache,
    ) -> Result<Node, Error> {
        let &[rows, length, width] = qkv.dims() else {
            return Err(Error::Msg(format!("hidden states are {:?}, not [b, n, d]", qkv.dims())));
        };
        let heads = nn::reshape(qkv, (rows, length, 3 * self.heads, ()))?;
        let part = |part: usize| nn::narrow(&heads, 2, part * self.heads, self.heads);
        let (q, k, v) = (part(0)?, part(1)?, part(2)?);
        let [k, v] = cache.append(k.tensor(), v.tensor())?;
        let y = attention.forward(&q, &nn::parameter(&q, &k)?, &nn::parameter(&q, &v)?)?;
        nn::reshape(&y, (rows, length, width / 3))
    }
}
