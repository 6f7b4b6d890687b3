//! Trains a small convolutional network to read digits, and reads them.
//!
//! ```console
//! cargo run --example image_classifier
//! COG_WEIGHTS=weights cargo run --example image_classifier -- predict -i image=@examples/image_classifier/data/seven.pgm
//! ```
#![expect(unreachable_pub, reason = "the modules of a program")]

mod batch;
mod idx;
mod model;
mod pgm;

use std::collections::BTreeMap;

use candle_core::{D, DType, Device};
use cog_train::candle_core;
use cog_train::data::{Batching, Loader, Rows};
use cog_train::engine::{
    EvalScores, Loss, Objective, Params, StepContext, Training, TrainingConfig, fit,
};
use cog_train::nn::{self, Init};
use cog_train::optim::{AdamW, Optimizer};
use cog_train::prelude::*;

use batch::{Augmentation, Batch};
use idx::{Images, SIDE};
use model::ConvNet;

/// The held-out images that the page shows.
const SHOWN: usize = 8;

/// Trains a network to read digits
#[derive(Debug, TrainInputs)]
struct Inputs {
    /// IDX file of 28 by 28 images, as MNIST has it, plain or under gzip; drawn digits without it
    images: Option<Path>,
    /// IDX file with a label for each image
    labels: Option<Path>,
    /// Passes over the images
    #[input(default = 8, ge = 1, le = 1000)]
    epochs: u32,
    /// Images in each step
    #[input(default = 32, ge = 1, le = 4096)]
    batch_size: usize,
    /// Peak of the learning rate
    #[input(default = 2e-3, ge = 0.0, le = 1.0)]
    learning_rate: f64,
    /// Augmentation of the images, drawn anew in each epoch
    #[input(default = Augmentation::Shift)]
    augmentation: Augmentation,
    /// Seed of the initial weights, the order of the images and their augmentation
    #[input(default = 42)]
    seed: i64,
}

#[derive(Debug, TrainOutput)]
struct TrainingOutput {
    weights: Path,
    /// The share of held-out images that are read rightly.
    accuracy: f64,
    /// The mean over the last epoch.
    final_loss: f64,
}

struct ImageClassifier;

impl Trainer for ImageClassifier {
    type Inputs = Inputs;
    type Output = TrainingOutput;

    fn setup(_setup: &Setup) -> Result<Self> {
        Ok(Self)
    }

    fn train(&mut self, inputs: Inputs, job: &mut Job) -> Result<TrainingOutput> {
        let (train, eval) = match (&inputs.images, &inputs.labels) {
            (Some(images), Some(labels)) => {
                Images::read(images, labels, &job.cancel_token())?.hold_out()?
            }
            (None, None) => drawn_digits()?,
            _ => bail!("`images` and `labels` go together, and one of them is missing"),
        };
        job.line(format_args!("images: {} to train on, {} held out", train.len(), eval.len()));

        let init = Init::random(job.rng("init"), job.device());
        let params = Params::new(init.tensors_of(ConvNet::new)?)?.buffers("*.running_*")?;
        let network = Init::from_tensors(params.tensors()).build(ConvNet::new)?;
        let augmentation = inputs.augmentation;
        let training = Training {
            config: TrainingConfig {
                epochs: inputs.epochs.into(),
                learning_rate: inputs.learning_rate,
                ..TrainingConfig::default()
            },
            params: &params,
            optimizer: Optimizer::new(AdamW::default()),
            train: Loader::new(rows(&train), move |images, batch| {
                let streams = (0..images.len()).map(|row| batch.rng("augmentation", row));
                batch::varied(&images, augmentation, streams, batch.device())
            })
            .batch(Batching::Rows(inputs.batch_size)),
            eval: Some(
                Loader::new(rows(&eval), |images, batch| batch::plain(&images, batch.device()))
                    .batch(Batching::Rows(256)),
            ),
        };
        let summary = fit(training, &network, job)?;
        show(&network, &eval, summary.steps, job)?;

        let file = job.dir().join("weights.safetensors");
        Weights::save(params.masters(), &file)?;
        let eval = summary.final_eval.context("there are held-out rows")?;
        let accuracy = eval.metrics["accuracy"];
        Ok(TrainingOutput { weights: file.into(), accuracy, final_loss: summary.loss })
    }
}

impl Objective<Batch> for ConvNet {
    fn loss(&self, batch: &Batch, context: &StepContext) -> Result<Loss> {
        let sum = nn::trace([&batch.images], |[images]| {
            nn::cross_entropy(&self.forward(&images, context.is_training())?, &batch.labels)
        })?;
        Ok(Loss::sum(sum, batch.labels.dim(0)?)?)
    }

    fn evaluate(&self, batch: &Batch, _context: &StepContext) -> Result<EvalScores> {
        let scores = self.scores(&batch.images)?;
        let loss = Loss::sum(nn::cross_entropy(&scores, &batch.labels)?, batch.labels.dim(0)?)?;
        let answers = scores.argmax(D::Minus1)?;
        let right = answers.eq(&batch.labels)?.to_dtype(DType::F32)?.sum_all()?;
        Ok(EvalScores::new(&loss)?.with(
            "accuracy",
            right.to_scalar::<f32>()?.into(),
            loss.weight(),
        ))
    }
}

/// Keeps the first images as samples of this step, named by what they show and what is read.
fn show(network: &ConvNet, images: &Images, step: u64, job: &mut Job) -> Result<()> {
    let row = |at: usize| (images.image(at).to_vec(), images.labels[at]);
    let rows: Vec<_> = (0..images.len().min(SHOWN)).map(row).collect();
    let scores = network.scores(&batch::plain(&rows, job.device())?.images)?;
    for ((pixels, label), answer) in rows.iter().zip(scores.argmax(D::Minus1)?.to_vec1::<u32>()?) {
        job.image(&format!("a {label}, read as {answer}"), step, SIDE, SIDE, pixels);
    }
    Ok(())
}

/// Images with their labels, one by one.
fn rows(images: &Images) -> Rows<(Vec<u8>, u8)> {
    let row = |at: usize| (images.image(at).to_vec(), images.labels[at]);
    let rows = (0..images.len()).map(row).collect();
    Rows::hashed(rows, |(pixels, label)| [&pixels[..], &[*label]].concat()).named("images")
}

/// The images that `image_digits` has drawn.
fn drawn_digits() -> Result<(Images, Images)> {
    let train = Images::parse(
        include_bytes!("data/train-images.gz"),
        include_bytes!("data/train-labels.gz"),
    )?;
    let eval = Images::parse(
        include_bytes!("data/test-images.gz"),
        include_bytes!("data/test-labels.gz"),
    )?;
    Ok((train, eval))
}

/// Reads a digit
#[derive(Debug, PredictInputs)]
struct Question {
    /// PGM file of 28 by 28 pixels, or its 784 bare bytes; ink is bright, paper dark
    image: Path,
}

#[derive(Debug, PredictOutput)]
struct Answer {
    digit: u32,
    probability: f64,
    /// Of every digit.
    probabilities: BTreeMap<String, f64>,
}

struct DigitReader {
    network: ConvNet,
    device: Device,
}

impl Predictor for DigitReader {
    type Inputs = Question;
    type Output = Answer;

    fn setup(setup: &Setup, weights: Option<&Weights>) -> Result<Self> {
        let weights = weights.context(
            "there are no weights to read with\nhint: train first, then set COG_WEIGHTS to what training wrote",
        )?;
        let device = setup.device().clone();
        let network = Init::from_tensors(weights.tensors(&device)?).build(ConvNet::new)?;
        Ok(Self { network, device })
    }

    fn predict(&mut self, inputs: Question, _job: &mut Job) -> Result<Answer> {
        let name = inputs.image.display();
        let file = std::fs::read(&inputs.image).with_context(|| format!("cannot read `{name}`"))?;
        let pixels = pgm::parse(&file).with_context(|| format!("`{name}` cannot be classified"))?;
        let image = batch::plain(&[(pixels, 0)], &self.device)?.images;
        let shares = nn::softmax(&self.network.scores(&image)?, D::Minus1)?;
        let shares: Vec<f64> =
            shares.squeeze(0)?.to_vec1::<f32>()?.into_iter().map(f64::from).collect();
        let (digit, probability) = (0u32..)
            .zip(shares.iter().copied())
            .max_by(|(_, one), (_, other)| one.total_cmp(other))
            .context("the network has no outputs")?;
        let probabilities =
            shares.iter().enumerate().map(|(digit, share)| (digit.to_string(), *share));
        Ok(Answer { digit, probability, probabilities: probabilities.collect() })
    }
}

cog_train::run!(ImageClassifier, predictor = DigitReader, config = "cog.yaml");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_learns_and_what_it_learned_reads_a_digit_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut trainer = ImageClassifier::setup(&Setup::for_test()).unwrap();
        let mut train = |name: &str| {
            let inputs = Inputs {
                images: None,
                labels: None,
                epochs: 1,
                batch_size: 32,
                learning_rate: 4e-3,
                augmentation: Augmentation::None,
                seed: 42,
            };
            trainer.train(inputs, &mut Job::for_test(dir.path().join(name))).unwrap()
        };
        let (one, two) = (train("one"), train("two"));
        assert!(one.accuracy > 0.6, "{}", one.accuracy);
        assert!(std::fs::read(&one.weights).unwrap() == std::fs::read(&two.weights).unwrap());

        let weights = Weights::open(one.weights.to_str().unwrap()).unwrap();
        let mut reader = DigitReader::setup(&Setup::for_test(), Some(&weights)).unwrap();
        let image = dir.path().join("image");
        let (_, eval) = drawn_digits().unwrap();
        let mut right = 0.0;
        for at in 0..50 {
            std::fs::write(&image, eval.image(at)).unwrap();
            let question = Question { image: image.clone().into() };
            let answer = reader.predict(question, &mut Job::for_test(dir.path())).unwrap();
            assert!((answer.probabilities.values().sum::<f64>() - 1.0).abs() < 1e-5);
            assert!(answer.probabilities.values().all(|share| *share <= answer.probability));
            right += f64::from(u8::from(answer.digit == u32::from(eval.labels[at])));
        }
        assert!((right / 50.0 - one.accuracy).abs() < 0.2, "{right} of 50 and {}", one.accuracy);
    }

    #[test]
    fn without_weights_there_is_nothing_to_read_with() {
        let error = DigitReader::setup(&Setup::for_test(), None).err().unwrap().to_string();
        assert!(error.contains("COG_WEIGHTS"), "{error}");
    }
}
