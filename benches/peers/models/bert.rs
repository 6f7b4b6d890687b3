//! J4: Hugging Face's BERT for sequence classification, without dropout.

use cog_train::anyhow::Result;
use cog_train::candle_core::{DType, Error};
use cog_train::engine::Loss;
use cog_train::nn::{self, Embedding, LayerNorm, Linear, Mask, Node, gelu_erf};

use super::{Model, Tensors, layer_norm, linear, positions, tensor};
use crate::data::Batch;

const LAYERS: usize = 6;
const WIDTH: usize = 384;
const HEADS: usize = 6;
const EPSILON: f64 = 1e-12;

pub struct Bert {
    word: Embedding,
    position: Embedding,
    token_type: Embedding,
    ln: LayerNorm,
    layers: Vec<Layer>,
    pooler: Linear,
    classifier: Linear,
}

struct Layer {
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    ln1: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    ln2: LayerNorm,
}

impl Bert {
    pub fn new(tensors: &Tensors) -> Result<Self> {
        let table = |name| -> Result<Embedding> {
            Ok(Embedding::from_tensors(tensor(tensors, &format!("{name}.weight"))?))
        };
        let layer = |at| Layer::new(tensors, &format!("layers.{at}"));
        Ok(Self {
            word: table("word")?,
            position: table("position")?,
            token_type: table("token_type")?,
            ln: layer_norm(tensors, "ln", EPSILON)?,
            layers: (0..LAYERS).map(layer).collect::<Result<_>>()?,
            pooler: linear(tensors, "pooler")?,
            classifier: linear(tensors, "classifier")?,
        })
    }
}

impl Model for Bert {
    fn loss(&self, batch: &Batch) -> Result<Loss> {
        let (ids, types, labels) = (&batch["ids"], &batch["types"], &batch["labels"]);
        let lengths = batch["lengths"].to_dtype(DType::U32)?;
        let mask = Mask::Padding { lengths, causal: false };
        let inputs = [ids, types, &positions(ids)?];
        let hidden = nn::trace(inputs, |[ids, types, positions]| {
            let words = self.word.forward(&ids)?;
            let placed = nn::add(&words, &self.position.forward(&positions)?)?;
            let mut x = self.ln.forward(&nn::add(&placed, &self.token_type.forward(&types)?)?)?;
            for layer in &self.layers {
                x = layer.forward(&x, &mask)?;
            }
            Ok(x)
        })?;
        // The first token of each row, by candle: a trace is one operation of its graph.
        let first = hidden.narrow(1, 0, 1)?.squeeze(1)?;
        let pooled = nn::tanh(&self.pooler.forward(&first)?)?;
        let sum = nn::cross_entropy(&self.classifier.forward(&pooled)?, labels)?;
        Ok(Loss::sum(sum, labels.elem_count())?)
    }
}

impl Layer {
    fn new(tensors: &Tensors, name: &str) -> Result<Self> {
        let linear = |part| linear(tensors, &format!("{name}.{part}"));
        let norm = |part| layer_norm(tensors, &format!("{name}.{part}"), EPSILON);
        Ok(Self {
            q: linear("q")?,
            k: linear("k")?,
            v: linear("v")?,
            o: linear("o")?,
            ln1: norm("ln1")?,
            fc1: linear("fc1")?,
            fc2: linear("fc2")?,
            ln2: norm("ln2")?,
        })
    }

    fn forward(&self, x: &Node, mask: &Mask) -> Result<Node, Error> {
        let (rows, length) = (x.dims()[0], x.dims()[1]);
        let split = |x: Node| nn::reshape(&x, (rows, length, HEADS, ()));
        let q = split(self.q.forward(x)?)?;
        let k = split(self.k.forward(x)?)?;
        let v = split(self.v.forward(x)?)?;
        let seen = nn::reshape(&nn::attention(&q, &k, &v, mask)?, (rows, length, WIDTH))?;
        let x = self.ln1.forward(&self.o.add_to(x, &seen, 1.0)?)?;
        let hidden = gelu_erf(&self.fc1.forward(&x)?)?;
        self.ln2.forward(&self.fc2.add_to(&x, &hidden, 1.0)?)
    }
}
