//! The encoder.

use candle_core::Error;
use cog_train_nn::{
    self as nn, Attention, Dropout, Embedding, Init, LayerNorm, Linear, Mask, Node, Weight,
};

use super::config::{BertConfig, Family};
use crate::models::dropout::add_dropped;
use crate::models::layers::{Activation, embedding, linear, mlp_inner};
use crate::models::unpadded::Unpadded;

/// The names of a layer's parts.
struct Names {
    layer: &'static str,
    query: &'static str,
    key: &'static str,
    value: &'static str,
    output: &'static str,
    attention_norm: &'static str,
    up: &'static str,
    down: &'static str,
    output_norm: &'static str,
}

const BERT: Names = Names {
    layer: "encoder.layer",
    query: "attention.self.query",
    key: "attention.self.key",
    value: "attention.self.value",
    output: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    up: "intermediate.dense",
    down: "output.dense",
    output_norm: "output.LayerNorm",
};

const DISTILBERT: Names = Names {
    layer: "transformer.layer",
    query: "attention.q_lin",
    key: "attention.k_lin",
    value: "attention.v_lin",
    output: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    up: "ffn.lin1",
    down: "ffn.lin2",
    output_norm: "output_layer_norm",
};

/// The encoder of BERT, RoBERTa or DistilBERT.
#[derive(Debug, Clone)]
pub(crate) struct Bert {
    words: Embedding,
    positions: Embedding,
    types: Option<Embedding>,
    norm: LayerNorm,
    dropout: Dropout,
    layers: Vec<Layer>,
    max_length: usize,
    first_position: u32,
}

impl Bert {
    /// Builds the encoder below its prefix.
    ///
    /// # Errors
    ///
    /// Those of [`Init::tensor`].
    pub(crate) fn new(init: &Init, config: &BertConfig) -> Result<Self, Error> {
        let init = init.at(config.family.prefix());
        let names = match config.family {
            Family::DistilBert => &DISTILBERT,
            Family::Bert | Family::Roberta => &BERT,
        };
        let tables = init.at("embeddings");
        let table = |name: &str, rows| embedding(&tables.at(name), rows, config.hidden, config.std);
        let types =
            (config.types > 0).then(|| table("token_type_embeddings", config.types)).transpose()?;
        let layers = init.at(names.layer);
        let layers = (0..config.layers).map(|layer| Layer::new(&layers.at(layer), names, config));
        Ok(Self {
            words: table("word_embeddings", config.vocab)?,
            positions: table("position_embeddings", config.positions)?,
            types,
            norm: LayerNorm::new(&tables.at("LayerNorm"), config.hidden, config.epsilon)?,
            dropout: Dropout::new(&tables, config.dropout)?,
            layers: layers.collect::<Result<_, _>>()?,
            max_length: config.max_length(),
            first_position: config.first_position,
        })
    }

    /// The table of words, which masked language models score with.
    pub(crate) fn words(&self) -> &Weight {
        self.words.weight()
    }

    /// The most tokens of a text.
    pub(crate) fn max_length(&self) -> usize {
        self.max_length
    }

    /// The position of a text's first token in the table.
    pub(crate) fn first_position(&self) -> u32 {
        self.first_position
    }

    /// Computes the last hidden states `[b, n, d]`.
    ///
    /// # Errors
    ///
    /// candle's error when an id is not in a table or the device fails.
    pub(crate) fn forward(
        &self,
        ids: &Node,
        batch: &Unpadded,
        recompute: bool,
    ) -> Result<Node, Error> {
        let mut x = self.dropout.forward(&self.norm.forward(&self.embed(ids, batch)?)?)?;
        for layer in &self.layers {
            x = if recompute {
                let (layer, mask) = (layer.clone(), batch.mask().clone());
                nn::recompute(&x, move |x| layer.forward(x, &mask))?
            } else {
                layer.forward(&x, batch.mask())?
            };
        }
        Ok(x)
    }

    fn embed(&self, ids: &Node, batch: &Unpadded) -> Result<Node, Error> {
        let x = self.words.forward(ids)?;
        let positions = if let Some(positions) = batch.positions() {
            self.positions.forward(&nn::parameter(ids, positions)?)?
        } else {
            let length = ids.dims().get(1).copied().unwrap_or(0);
            let table = nn::parameter(ids, &self.positions.weight().to_tensor()?)?;
            nn::narrow(&table, 0, self.first_position as usize, length)?
        };
        let x = nn::add(&x, &positions)?;
        let Some(types) = &self.types else { return Ok(x) };
        let types = match batch.types() {
            Some(of_tokens) => types.forward(&nn::parameter(ids, of_tokens)?)?,
            None => nn::narrow(&nn::parameter(ids, &types.weight().to_tensor()?)?, 0, 0, 1)?,
        };
        nn::add(&x, &types)
    }
}

/// A layer, which normalizes after each sum.
#[derive(Debug, Clone)]
struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    attention_norm: LayerNorm,
    up: Linear,
    down: Linear,
    output_norm: LayerNorm,
    activation: Activation,
    heads: usize,
    attention_dropout: Dropout,
    /// Of the attention's output. DistilBERT has none.
    output_dropout: Option<Dropout>,
    down_dropout: Dropout,
}

impl Layer {
    fn new(init: &Init, names: &Names, config: &BertConfig) -> Result<Self, Error> {
        let BertConfig { hidden, intermediate, std, epsilon, dropout, .. } = *config;
        let dense = |name: &str, inputs, outputs| linear(&init.at(name), inputs, outputs, std);
        let norm = |name: &str| LayerNorm::new(&init.at(name), hidden, epsilon);
        Ok(Self {
            query: dense(names.query, hidden, hidden)?,
            key: dense(names.key, hidden, hidden)?,
            value: dense(names.value, hidden, hidden)?,
            output: dense(names.output, hidden, hidden)?,
            attention_norm: norm(names.attention_norm)?,
            up: dense(names.up, hidden, intermediate)?,
            down: dense(names.down, intermediate, hidden)?,
            output_norm: norm(names.output_norm)?,
            activation: config.activation,
            heads: config.heads,
            attention_dropout: Dropout::new(&init.at(names.query), config.attention_dropout)?,
            output_dropout: (config.family != Family::DistilBert)
                .then(|| Dropout::new(&init.at(names.output), dropout))
                .transpose()?,
            down_dropout: Dropout::new(&init.at(names.down), dropout)?,
        })
    }

    fn forward(&self, x: &Node, mask: &Mask) -> Result<Node, Error> {
        let &[rows, length, width] = x.dims() else {
            return Err(Error::Msg(format!("hidden states are {:?}, not [b, n, d]", x.dims())));
        };
        let heads = |part: &Linear| {
            nn::reshape(&part.forward(x)?, (rows, length, self.heads, width / self.heads))
        };
        let (query, key, value) = (heads(&self.query)?, heads(&self.key)?, heads(&self.value)?);
        let attention = Attention::new(mask.clone()).dropout(&self.attention_dropout);
        let y = nn::reshape(&attention.forward(&query, &key, &value)?, (rows, length, width))?;
        let x = match &self.output_dropout {
            Some(dropout) => add_dropped(&self.output, dropout, x, &y)?,
            None => self.output.add_to(x, &y, 1.0)?,
        };
        let x = self.attention_norm.forward(&x)?;
        let (up, activation) = (self.up.clone(), self.activation);
        let inner = mlp_inner(&x, move |x| activation.forward(&up.forward(x)?))?;
        self.output_norm.forward(&add_dropped(&self.down, &self.down_dropout, &x, &inner)?)
    }
}
