//! Trains a small convolutional network to read digits, and reads them.
//!
//! ```console
//! cargo run --example image_classifier
//! COG_WEIGHTS=weights cargo run --example image_classifier -- predict -i image=@examples/image_classifier/data/seven.pgm
//! ```
#![expect(unreachable_pub, reason = "the modules of a program")]
#![expect(clippy::cast_precision_loss, reason = "numbers of images are far below 2^53")]

mod batch;
mod idx;
mod model;
mod pgm;

use std::collections::BTreeMap;

use candle_core::{D, Device};
use candle_nn::optim::{AdamW, Optimizer, ParamsAdamW};
use cog_train::prelude::*;
use cog_train::{candle_core, candle_nn};

use batch::Augmentation;
use idx::Images;
use model::{ConvNet, fresh_variables};

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
    /// How far each step goes
    #[input(default = 2e-3, ge = 0.0, le = 1.0)]
    learning_rate: f64,
    /// How images are varied from epoch to epoch
    #[input(default = Augmentation::Shift)]
    augmentation: Augmentation,
    /// Decides the first weights, the order of the images and their variation
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
        let (train, held_out) = match (&inputs.images, &inputs.labels) {
            (Some(images), Some(labels)) => Images::read(images, labels)?.hold_out()?,
            (None, None) => drawn_digits()?,
            _ => bail!("`images` and `labels` go together, and one of them is missing"),
        };
        job.line(format_args!("{} images to train on, {} held out", train.len(), held_out.len()));

        let variables = fresh_variables(job.rng("init"), job.device())?;
        let network = ConvNet::of_variables(&variables)?;
        let settings = ParamsAdamW { lr: inputs.learning_rate, ..ParamsAdamW::default() };
        let mut optimizer = AdamW::new(variables.values().cloned().collect(), settings)?;

        let steps_per_epoch = train.len().div_ceil(inputs.batch_size) as u64;
        let steps = steps_per_epoch * u64::from(inputs.epochs);
        let mut order: Vec<usize> = (0..train.len()).collect();
        let (mut step, mut accuracy, mut final_loss) = (0, 0.0, 0.0);
        for epoch in 0..u64::from(inputs.epochs) {
            job.rng("shuffle").at(epoch).shuffle(&mut order);
            let mut sum = 0.0;
            for chosen in order.chunks(inputs.batch_size) {
                job.check_cancelled()?;
                let mut variation = job.rng("augmentation").at(step);
                let (images, labels) = batch::varied(
                    &train,
                    chosen,
                    inputs.augmentation,
                    &mut variation,
                    job.device(),
                )?;
                let loss = network.loss(&images, &labels)?;
                optimizer.backward_step(&loss)?;
                step += 1;

                let loss = f64::from(loss.to_scalar::<f32>()?);
                sum += loss * chosen.len() as f64;
                job.metric("loss", step, loss);
                job.progress(step, steps);
            }
            final_loss = sum / train.len() as f64;
            accuracy = share_right(&network, &held_out, job)?;
            job.metric("accuracy", step, accuracy);
            job.line(format_args!(
                "epoch {}/{}: loss {final_loss:.3}, {:.1} % of held-out images right",
                epoch + 1,
                inputs.epochs,
                100.0 * accuracy
            ));
        }

        let file = job.dir().join("weights.safetensors");
        Weights::save(variables.iter().map(|(name, var)| (name, var.as_tensor().clone())), &file)?;
        Ok(TrainingOutput { weights: file.into(), accuracy, final_loss })
    }
}

/// What `image_digits` has drawn.
fn drawn_digits() -> Result<(Images, Images)> {
    let train = Images::parse(
        include_bytes!("data/train-images.gz"),
        include_bytes!("data/train-labels.gz"),
    )?;
    let held_out = Images::parse(
        include_bytes!("data/test-images.gz"),
        include_bytes!("data/test-labels.gz"),
    )?;
    Ok((train, held_out))
}

fn share_right(network: &ConvNet, images: &Images, job: &Job) -> Result<f64> {
    let mut right = 0.0;
    for chosen in (0..images.len()).collect::<Vec<_>>().chunks(256) {
        job.check_cancelled()?;
        let (pixels, labels) = batch::plain(images, chosen, job.device())?;
        let answers = network.forward(&pixels)?.argmax(D::Minus1)?;
        let same = answers.eq(&labels)?.to_dtype(candle_core::DType::F32)?;
        right += f64::from(same.sum_all()?.to_scalar::<f32>()?);
    }
    Ok(right / images.len() as f64)
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
        Ok(Self { network: ConvNet::new(weights.tensors(&device)?)?, device })
    }

    fn predict(&mut self, inputs: Question, _job: &mut Job) -> Result<Answer> {
        let name = inputs.image.display();
        let file = std::fs::read(&inputs.image).with_context(|| format!("cannot read `{name}`"))?;
        let pixels = pgm::parse(&file).with_context(|| format!("`{name}` cannot be classified"))?;
        let (image, _) = batch::plain(&Images { pixels, labels: vec![0] }, &[0], &self.device)?;
        let shares = candle_nn::ops::softmax(&self.network.forward(&image)?, D::Minus1)?;
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
        let (_, held_out) = drawn_digits().unwrap();
        let mut right = 0.0;
        for at in 0..50 {
            std::fs::write(&image, held_out.image(at)).unwrap();
            let question = Question { image: image.clone().into() };
            let answer = reader.predict(question, &mut Job::for_test(dir.path())).unwrap();
            assert!((answer.probabilities.values().sum::<f64>() - 1.0).abs() < 1e-5);
            assert!(answer.probabilities.values().all(|share| *share <= answer.probability));
            right += f64::from(u8::from(answer.digit == u32::from(held_out.labels[at])));
        }
        assert!((right / 50.0 - one.accuracy).abs() < 0.2, "{right} of 50 and {}", one.accuracy);
    }

    #[test]
    fn without_weights_there_is_nothing_to_read_with() {
        let error = DigitReader::setup(&Setup::for_test(), None).err().unwrap().to_string();
        assert!(error.contains("COG_WEIGHTS"), "{error}");
    }
}
