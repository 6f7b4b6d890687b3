//! A training loop of one's own on raw candle: its own network, its own descent with momentum. What the runner gives is
//! there all the same: checked inputs, `cog.yaml`, the seed, progress, numbers, records, a clean stop.
//!
//! The network learns the height of the tide from the hour of the day and the age of the moon.
#![expect(unreachable_pub, reason = "the modules of a program")]

mod network;
mod tides;

use std::collections::BTreeMap;

use cog_train::Record;
use cog_train::prelude::*;

use network::Network;
use tides::Tides;

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
    /// How far a step goes
    #[input(default = 0.05, ge = 0.0, le = 10.0)]
    learning_rate: f64,
    /// The part of a step that is kept in the next
    #[input(default = 0.9, ge = 0.0, le = 0.999)]
    momentum: f64,
    /// Decides the first weights
    #[input(default = 42)]
    seed: i64,
}

#[derive(Debug, TrainOutput)]
struct TrainingOutput {
    weights: Weights,
    /// How far off the held-out rows are, in metres (root of the mean square).
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

        for step in 1..=inputs.steps {
            job.check_cancelled()?;
            let loss = (network.forward(&features)? - &heights)?.sqr()?.mean_all()?;
            let gradients = loss.backward()?;
            for (name, var) in network.variables() {
                let gradient =
                    gradients.get(var).with_context(|| format!("`{name}` has no gradient"))?;
                let velocity = match velocities.get(name) {
                    Some(velocity) => ((velocity * inputs.momentum)? + gradient)?,
                    None => gradient.clone(),
                };
                var.set(&(var.as_tensor() - (&velocity * inputs.learning_rate)?)?)?;
                velocities.insert(name, velocity);
            }

            job.metric("loss", step, f64::from(loss.to_scalar::<f32>()?));
            job.progress(step, inputs.steps);
            if step % 250 == 0 {
                let error = error(&network, &eval, job)?;
                job.line(format_args!("step {step}: {:.0} cm off", 100.0 * error));
                job.record("eval.error", error, Record::Append);
            }
        }

        let error = error(&network, &eval, job)?;
        let tensors =
            network.variables().iter().map(|(name, var)| (*name, var.as_tensor().clone()));
        let weights = Weights::save(tensors, job.dir().join("weights.safetensors"))?;
        Ok(TrainingOutput { weights, error })
    }
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

    fn train(dir: &std::path::Path, steps: u64) -> TrainingOutput {
        let inputs =
            Inputs { table: None, hidden: 16, steps, learning_rate: 0.05, momentum: 0.9, seed: 42 };
        let mut trainer = CustomLoop::setup(&Setup::for_test()).unwrap();
        trainer.train(inputs, &mut Job::for_test(dir)).unwrap()
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
