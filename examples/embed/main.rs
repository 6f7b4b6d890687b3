//! Fine-tunes a model of sentence embeddings on pairs of texts that belong together, and embeds texts.
//!
//! ```console
//! cargo run --example embed
//! COG_WEIGHTS=weights/model cargo run --example embed -- predict -i text="the shower is broken"
//! ```

mod pairs;

use cog_train::candle_core::{Device, Tensor};
use cog_train::data::{Batching, Dataset, Loader};
use cog_train::engine::{
    Loss, Params, Schedule, StepContext, Training, TrainingConfig, Warmup, fit,
};
use cog_train::hub;
use cog_train::metrics::Retrieval;
use cog_train::models::{
    Pooling, Pretrained, TextEmbedder, Tokens, contrastive_loss, cosine_similarity,
};
use cog_train::nn::Init;
use cog_train::optim::{AdamW, Optimizer};
use cog_train::prelude::*;
use pairs::{Encoder, Pair};

/// Fine-tunes a model of sentence embeddings
#[derive(Debug, TrainInputs)]
struct Inputs {
    /// The encoder: a folder, with or without the files of sentence-transformers, or `org/name` of a hub
    #[input(default = "examples/classify/base")]
    base_model: String,
    /// Rows with `anchor`, `positive` and, if there is one, `negative`: JSONL, JSON, CSV, TSV
    #[input(default = "examples/embed/data/pairs.jsonl")]
    train_data: Path,
    /// Rows to evaluate on; without it, a fifth of `train_data`
    eval_data: Option<Path>,
    /// Divides the similarities: the lower, the more the nearest negatives count
    #[input(default = 0.05, ge = 1e-3, le = 10.0)]
    temperature: f64,
    /// Makes embeddings of length 1, also if those of the base are not
    #[input(default = true)]
    normalize: bool,
    /// Peak of the learning rate; 2e-5 suits a model of full size
    #[input(default = 2e-3, ge = 0.0, le = 1.0)]
    learning_rate: f64,
    /// Passes over the rows
    #[input(default = 8, ge = 1, le = 1000)]
    epochs: u32,
    /// Rows in each step: each other row of the step is a negative, so more are better
    #[input(default = 32, ge = 2, le = 4096)]
    batch_size: usize,
    /// Seed of the order of the rows
    #[input(default = 42)]
    seed: i64,
}

#[derive(Debug, TrainOutput)]
struct TrainingOutput {
    /// A folder that sentence-transformers opens.
    model: Path,
    /// The share of held-out anchors whose positive is nearest among all held-out positives, before and after.
    recall_before: f64,
    recall: f64,
}

struct Embed;

impl Trainer for Embed {
    type Inputs = Inputs;
    type Output = TrainingOutput;

    fn setup(_setup: &Setup) -> Result<Self> {
        Ok(Self)
    }

    fn train(&mut self, inputs: Inputs, job: &mut Job) -> Result<TrainingOutput> {
        let cancel = job.cancel_token();
        let folder = hub::resolve(&inputs.base_model, &cancel, job)?;
        let base = Pretrained::open(&folder)?;
        let pooling = Pooling::open(&folder)?;
        let pooling = pooling.normalize(pooling.is_normalized() || inputs.normalize);
        let encoder = Encoder::open(&base, &pooling)?;
        let (train, eval) =
            pairs::open(&inputs.train_data, inputs.eval_data.as_deref(), &encoder, &cancel)?;
        job.line(format_args!("pairs: {} to train on, {} held out", train.len(), eval.len()));

        let model = |init: &Init| TextEmbedder::new(init, base.config(), pooling);
        let params = Params::new(base.tensors_of(job.device(), model)?)?;
        let embedder = Init::from_tensors(params.tensors()).build(model)?;
        let held_out: Vec<Pair> =
            (0..eval.len()).map(|at| eval.item(at)).collect::<Result<_, _>>()?;
        let recall_before = recall(&embedder, &held_out, encoder.pad(), job)?;
        job.line(format_args!("recall@1 before: {recall_before:.3}"));

        let pad = encoder.pad();
        let batches = move |rows, size| {
            Loader::new(rows, move |rows: Vec<Pair>, batch| Batch::new(&rows, pad, batch.device()))
                .batch(Batching::Rows(size))
        };
        let training = Training {
            config: TrainingConfig {
                epochs: inputs.epochs.into(),
                learning_rate: inputs.learning_rate,
                schedule: Schedule::linear().warmup(Warmup::Share(0.1)),
                ..TrainingConfig::default()
            },
            params: &params,
            optimizer: Optimizer::new(AdamW::default()),
            train: batches(train, inputs.batch_size),
            eval: Some(batches(eval, inputs.batch_size).shuffle(false)),
        };
        let loss = |batch: &Batch, _: &StepContext| -> Result<Loss> {
            let embeddings = embedder.embed(&batch.tokens)?;
            let anchors = embeddings.narrow(0, 0, batch.rows)?;
            let candidates = embeddings.narrow(0, batch.rows, embeddings.dim(0)? - batch.rows)?;
            let sum = contrastive_loss(&anchors, &candidates, inputs.temperature)?;
            Ok(Loss::sum(sum, batch.rows)?)
        };
        fit(training, &loss, job)?;
        let recall = recall(&embedder, &held_out, pad, job)?;
        job.line(format_args!("recall@1 after: {recall:.3}"));

        let folder = job.dir().join("model");
        base.save(&folder, params.masters())?;
        pooling.save(&folder, base.config().hidden())?;
        Ok(TrainingOutput { model: folder.into(), recall_before, recall })
    }
}

/// Texts side by side: the anchors, their positives in the same order, and hard negatives.
struct Batch {
    tokens: Tokens,
    /// The number of anchors.
    rows: usize,
}

impl Batch {
    fn new(pairs: &[Pair], pad: u32, device: &Device) -> Result<Self> {
        let anchors = pairs.iter().map(|pair| pair.anchor.clone());
        let positives = pairs.iter().map(|pair| pair.positive.clone());
        let negatives = pairs.iter().filter_map(|pair| pair.negative.clone());
        let texts: Vec<Vec<u32>> = anchors.chain(positives).chain(negatives).collect();
        Ok(Self { tokens: Tokens::padded(&texts, pad, device)?, rows: pairs.len() })
    }
}

/// Returns the share of pairs whose positive is the nearest to the anchor among the positives of all.
fn recall(model: &TextEmbedder, pairs: &[Pair], pad: u32, job: &Job) -> Result<f64> {
    let mut documents: Vec<&[u32]> = pairs.iter().map(|pair| pair.positive.as_slice()).collect();
    documents.sort_unstable();
    documents.dedup();
    let embed = |texts: &[&[u32]]| -> Result<Tensor> {
        let texts: Vec<Vec<u32>> = texts.iter().map(|text| text.to_vec()).collect();
        Ok(model.embed(&Tokens::padded(&texts, pad, job.device())?)?.detach())
    };
    let mut embeddings = Vec::new();
    for texts in documents.chunks(64) {
        job.check_cancelled()?;
        embeddings.push(embed(texts)?);
    }
    let embeddings = Tensor::cat(&embeddings, 0)?;
    let mut found: Option<Retrieval> = None;
    for pairs in pairs.chunks(64) {
        job.check_cancelled()?;
        let anchors: Vec<&[u32]> = pairs.iter().map(|pair| pair.anchor.as_slice()).collect();
        let own = |pair: &Pair| {
            let at = documents.partition_point(|text| *text < pair.positive.as_slice());
            Ok(u32::try_from(at)?)
        };
        let own: Vec<u32> = pairs.iter().map(own).collect::<Result<_>>()?;
        let own = Tensor::new(own, job.device())?;
        let scores = cosine_similarity(&embed(&anchors)?, &embeddings)?;
        let more = Retrieval::of(&scores, &own, &[1])?;
        match &mut found {
            Some(found) => found.add(&more),
            none => *none = Some(more),
        }
    }
    Ok(found.map_or(f64::NAN, |found| found.recall(1)))
}

/// Embeds a text
#[derive(Debug, PredictInputs)]
struct Question {
    /// The text
    text: String,
}

struct Embedder {
    model: TextEmbedder,
    encoder: Encoder,
    device: Device,
}

impl Predictor for Embedder {
    type Inputs = Question;
    type Output = Vec<f32>;

    fn setup(setup: &Setup, weights: Option<&Weights>) -> Result<Self> {
        let weights = weights.context(
            "there is no model\nhint: train one, and set `COG_WEIGHTS` to the folder `model` of its output",
        )?;
        let base = Pretrained::open(weights.path())?;
        let pooling = Pooling::open(base.folder())?;
        let model = |init: &Init| TextEmbedder::new(init, base.config(), pooling);
        let tensors = base.tensors_of(setup.device(), model)?;
        let encoder = Encoder::open(&base, &pooling)?;
        let model = Init::from_tensors(tensors).build(model)?;
        Ok(Self { model, encoder, device: setup.device().clone() })
    }

    fn predict(&mut self, inputs: Question, _job: &mut Job) -> Result<Vec<f32>> {
        let tokens = Tokens::padded(&[self.encoder.ids(&inputs.text)?], 0, &self.device)?;
        Ok(self.model.embed(&tokens)?.squeeze(0)?.to_vec1()?)
    }
}

cog_train::run!(Embed, predictor = Embedder, config = "cog.yaml");

#[cfg(test)]
mod tests;
