//! A training loop of one's own on raw candle: its own network, its own gradient descent with momentum. The runner still provides
//! checked inputs, `cog.yaml`, the seed, progress, metrics, records, a clean stop, and `--resume`.
//!
//! The network learns the height of the tide from the hour of the day and the age of the moon.
#![expect(unreachable_pub, reason = "the modules of a program")]

mod network;
mod tides;

use std::collections::BTreeMap;

use candle_core::Tensor;
use cog_train::checkpoint::{Checkpoints, Keep, Snapshot, newest};
use cog_train::prelude::*;
use cog_train::{Marks, Record, candle_core, serde_json};

use network::Network;
use tides::Tides;

/// The steps from one checkpoint to the next.
const SAVE_EVERY: u64 = 250;

/// Learns the height of the tide
#[derive(Debug, TrainInputs)]
struct Inputs {
    /// CSV file with the columns `hour,moon,height`; without it, a table of a made-up harbour
    table: Option<Path>,
    /// Units in each of the two hidden layers
    #[input(default = 32, ge = 1, le = 1024)]
    hidden: usize,
    /// Steps, each over the whole table
    #[input(default = 1500, ge = 1)]
    steps: u64,
    /// Learning rate
    #[input(default = 0.05, ge = 0.0, le = 10.0)]
    learning_rate: f64,
    /// Momentum: the share of a step that is kept in the next
    #[input(default = 0.9, ge = 0.0, le = 0.999)]
    momentum: f64,
    /// Seed of the initial weights
    #[input(default = 42)]
    seed: i64,
}

#[derive(Debug, TrainOutput)]
struct TrainingOutput {
    weights: Weights,
    /// The root mean square error on the held-out rows, in metres.
    error: f64,
}

struct CustomLoop;

impl Trainer for CustomLoop {
    type Inputs = Inputs;
    type Output = TrainingOutput;

    fn setup(_setup: &Setup) -> Result<Self> {
        Ok(Self)
    }

    fn train(&mut self, inputs: Inputs, job: &mut Job) -> Result<TrainingOutput> {
        let (train, eval) = Tides::read(inputs.table.as_deref())?.split();
        let (features, heights) = train.tensors(job.device())?;
        let network = Network::new(inputs.hidden, job.rng("init"), job.device())?;
        let mut velocities = BTreeMap::new();
        for (name, var) in network.variables() {
            velocities.insert(*name, var.zeros_like()?);
        }
        let mut step = resume(&network, &mut velocities, job)?;
        let mut checkpoints = Checkpoints::open(&job.dir().join("checkpoints"), Keep::default())?;

        while step < inputs.steps {
            let loss = (network.forward(&features)? - &heights)?.sqr()?.mean_all()?;
            let gradients = loss.backward()?;
            for (name, var) in network.variables() {
                let gradient =
                    gradients.get(var).with_context(|| format!("`{name}` has no gradient"))?;
                let velocity = ((&velocities[name] * inputs.momentum)? + gradient)?;
                var.set(&(var.as_tensor() - (&velocity * inputs.learning_rate)?)?)?;
                velocities.insert(name, velocity);
            }
            step += 1;

            job.metric("loss", step, f64::from(loss.to_scalar::<f32>()?));
            job.progress(step, inputs.steps);
            let due = step.is_multiple_of(SAVE_EVERY);
            if due {
                let error = error(&network, &eval, job)?;
                job.line(format_args!("step {step}: {:.0} cm off", 100.0 * error));
            }
            if due || job.cancelled() || job.save_requested() {
                checkpoints.save(snapshot(step, &network, &velocities, job)?)?;
            }
            job.check_cancelled()?; // dropping `checkpoints` waits for the one that is being written
        }
        checkpoints.finish()?;

        let error = error(&network, &eval, job)?;
        job.record("eval.error", error, Record::Replace);
        let weights = Weights::save(weights(&network), job.dir().join("weights.safetensors"))?;
        Ok(TrainingOutput { weights, error })
    }
}

fn weights(network: &Network) -> BTreeMap<String, Tensor> {
    let tensor =
        |(name, var): (&&str, &candle_core::Var)| ((*name).to_owned(), var.as_tensor().clone());
    network.variables().iter().map(tensor).collect()
}

/// Returns a checkpoint: the tensors, and the lengths of `metrics.jsonl` and `log.txt`.
fn snapshot(
    step: u64,
    network: &Network,
    velocities: &BTreeMap<&'static str, Tensor>,
    job: &Job,
) -> Result<Snapshot> {
    let velocities = velocities.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.clone()));
    let files = BTreeMap::from([
        ("weights".to_owned(), weights(network)),
        ("velocities".to_owned(), velocities.collect()),
    ]);
    Ok(Snapshot { step, state: serde_json::to_value(job.mark()?)?, files, best: false })
}

/// Restores the newest checkpoint of a run that is resumed and returns its step. Truncates `metrics.jsonl` and `log.txt` to
/// their lengths at that step: later steps are taken again.
fn resume(
    network: &Network,
    velocities: &mut BTreeMap<&'static str, Tensor>,
    job: &mut Job,
) -> Result<u64> {
    let Some(dir) = job.resume_from().map(ToOwned::to_owned) else { return Ok(0) };
    let Some(checkpoint) = newest(&dir)?.checkpoint else {
        job.rewind(&Marks::default())?;
        return Ok(0);
    };
    let weights = checkpoint.tensors("weights", job.device())?;
    let saved = checkpoint.tensors("velocities", job.device())?;
    for (name, var) in network.variables() {
        let missing = || format!("the checkpoint has no `{name}`");
        var.set(weights.get(*name).with_context(missing)?)?;
        velocities.insert(*name, saved.get(*name).with_context(missing)?.clone());
    }
    let marks: Marks = serde_json::from_value(checkpoint.state().clone())?;
    job.rewind(&marks)?;
    Ok(checkpoint.step())
}

fn error(network: &Network, tides: &Tides, job: &Job) -> Result<f64> {
    let (features, heights) = tides.tensors(job.device())?;
    let mean = (network.forward(&features)? - heights)?.sqr()?.mean_all()?;
    Ok(f64::from(mean.to_scalar::<f32>()?).sqrt())
}

cog_train::run!(CustomLoop, config = "cog.yaml");

#[cfg(test)]
mod tests {
    use super::*;

    fn train_job(mut job: Job, steps: u64) -> Result<TrainingOutput> {
        let inputs =
            Inputs { table: None, hidden: 16, steps, learning_rate: 0.05, momentum: 0.9, seed: 42 };
        CustomLoop::setup(&Setup::for_test())?.train(inputs, &mut job)
    }

    fn train(dir: &std::path::Path, steps: u64) -> TrainingOutput {
        train_job(Job::for_test(dir), steps).unwrap()
    }

    /// A run that was killed in step 300, after its checkpoint of step 250; and one that was cancelled in its first step.
    #[test]
    fn a_resumed_run_leaves_what_the_straight_run_leaves() {
        let dir = tempfile::tempdir().unwrap();
        let left = |run: &str| {
            let read = |name: &str| std::fs::read(dir.path().join(run).join(name)).unwrap();
            ["weights.safetensors", "metrics.jsonl", "log.txt"].map(read)
        };
        train(&dir.path().join("straight"), 520);
        train(&dir.path().join("killed"), 300);
        train_job(Job::for_test_resumed(dir.path().join("killed")), 520).unwrap();
        assert!(left("killed") == left("straight"));

        let job = Job::for_test(dir.path().join("cancelled"));
        job.cancel_token().cancel();
        train_job(job, 520).unwrap_err();
        train_job(Job::for_test_resumed(dir.path().join("cancelled")), 520).unwrap();
        assert!(left("cancelled") == left("straight"));
    }

    #[test]
    fn it_learns_and_the_same_seed_gives_the_same_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let (short, long, again) = (
            train(&dir.path().join("short"), 1),
            train(&dir.path().join("long"), 300),
            train(&dir.path().join("again"), 300),
        );
        assert!(long.error < 0.7 * short.error, "{} and {}", short.error, long.error);
        let bytes = |output: &TrainingOutput| std::fs::read(output.weights.path()).unwrap();
        assert_eq!(bytes(&long), bytes(&again));
        assert_ne!(bytes(&short), bytes(&long));
    }
}
