//! Weights and batches: those of the files that both sides read, or random ones.

use std::collections::BTreeMap;
use std::path::Path;

use cog_train::Weights;
use cog_train::anyhow::{Context, Result};
use cog_train::candle_core::{self, Device, Tensor};
use cog_train::data::{Batching, Loader, Rows};
use cog_train::engine::Params;
use cog_train::rng::Rng;

/// The tensors of one batch by name.
pub type Batch = BTreeMap<String, Tensor>;

/// The tensors of a file as parameters on `device`. They are read one at a time, so that none is held twice.
pub fn params(path: &Path, device: &Device) -> Result<Params> {
    let weights = open(path)?;
    let mut failed = None;
    let read = weights.names().map_while(|name| {
        let tensor = weights.get(name, device).map_err(|error| failed = Some(error)).ok()?;
        Some((name, tensor))
    });
    let params = Params::new(read);
    failed.map_or(Ok(params?), |error| Err(error.into()))
}

fn open(path: &Path) -> Result<Weights> {
    Ok(Weights::open(path.to_str().context("the path is not text")?)?)
}

/// All batches of a job: each tensor's first dimension counts them.
pub struct Batches(BTreeMap<String, Tensor>);

impl Batches {
    /// Tokens and labels stay on the CPU, which looks at them before a GPU does.
    pub fn read(path: &Path, device: &Device) -> Result<Self> {
        let mut tensors = open(path)?.tensors(&Device::Cpu)?;
        for tensor in tensors.values_mut().filter(|tensor| tensor.dtype().is_float()) {
            *tensor = tensor.to_device(device)?;
        }
        Ok(Self(tensors))
    }

    /// Uniformly random tokens.
    pub fn random(count: usize, batch: usize, length: usize, vocab: usize) -> Result<Self> {
        let (mut stream, numbers) = (Rng::new(0, "tokens").at(0), count * batch * (length + 1));
        let ids: Vec<u32> = (0..numbers)
            .map(|_| u32::try_from(stream.below(vocab as u64)))
            .collect::<Result<_, _>>()?;
        let ids = Tensor::from_vec(ids, (count, batch, length + 1), &Device::Cpu)?;
        Ok(Self([("ids".to_owned(), ids)].into()))
    }

    /// A batch for each step, from the first on and again from the first. Where there is nothing but `ids`,
    /// `inputs` and `targets` take their place.
    pub fn loader(self, steps: u64) -> Loader<Batch> {
        let rows = Rows::new((0..steps).collect::<Vec<_>>());
        let loader = Loader::new(rows, move |rows: Vec<u64>, _| Ok(self.at(rows[0])?));
        loader.batch(Batching::Rows(1)).shuffle(false)
    }

    #[expect(clippy::cast_possible_truncation, reason = "below the count of batches")]
    fn at(&self, step: u64) -> candle_core::Result<Batch> {
        let mut batch = Batch::new();
        for (name, all) in &self.0 {
            let at = (step % all.dim(0)? as u64) as usize;
            batch.insert(name.clone(), all.get(at)?);
        }
        // Tokens alone: each is predicted from those before it.
        if batch.len() == 1
            && let Some(ids) = batch.remove("ids")
        {
            for (name, from) in [("inputs", 0), ("targets", 1)] {
                let part = ids.narrow(1, from, ids.dim(1)? - 1)?.contiguous()?;
                batch.insert(name.to_owned(), part);
            }
        }
        Ok(batch)
    }
}
