//! The batches that both sides read.

use std::path::Path;

use cog_train::Weights;
use cog_train::anyhow::{Context, Result};
use cog_train::candle_core::{DType, Device, Tensor};
use cog_train::data::{Batching, Loader, Rows};
use cog_train::models::{Targets, Tokens};

use crate::models::Job;

/// The examples of a step of `packed`, as `shapes.py` has it.
const PACKED: usize = 4;

#[derive(Clone)]
pub struct Batch {
    pub tokens: Tokens,
    pub labels: Labels,
}

#[derive(Clone)]
pub enum Labels {
    /// Each token is predicted from those before it in its text.
    Next(Targets),
    /// The class of each text.
    Classes(Tensor),
}

/// All batches of a job.
pub struct Batches(Vec<Batch>);

/// Reads the batches of a job.
pub fn read(job: Job, folder: &Path) -> Result<Batches> {
    let device = &Device::Cpu;
    let file = folder.join(format!("{}.safetensors", job.data()));
    let file = Weights::open(file.to_str().context("the path is not text")?)?;
    let ids = file.get("ids", device)?.to_dtype(DType::U32)?;
    let batches = match job {
        Job::Lora | Job::Full => {
            let batch = |at| -> Result<Batch> {
                let ids: Tensor = ids.get(at)?;
                let targets = Targets::of_labels(&ids.to_vec2()?, device)?;
                Ok(Batch { tokens: Tokens::new(ids)?, labels: Labels::Next(targets) })
            };
            (0..ids.dim(0)?).map(batch).collect::<Result<_>>()?
        }
        Job::Classify => {
            let labels = file.get("labels", device)?.to_dtype(DType::U32)?;
            let batch = |at| -> Result<Batch> {
                let tokens = Tokens::new(ids.get(at)?)?;
                Ok(Batch { tokens, labels: Labels::Classes(labels.get(at)?) })
            };
            (0..ids.dim(0)?).map(batch).collect::<Result<_>>()?
        }
        Job::Packed => {
            let (ids, lengths) = (ids.to_vec1::<u32>()?, file.get("lengths", device)?);
            let mut rest = ids.as_slice();
            let texts = lengths.to_dtype(DType::U32)?.to_vec1::<u32>()?.into_iter().map(|length| {
                let (text, others) = rest.split_at(length as usize);
                rest = others;
                text.to_vec()
            });
            let texts: Vec<Vec<u32>> = texts.collect();
            texts.chunks(PACKED).map(packed).collect::<Result<_>>()?
        }
    };
    Ok(Batches(batches))
}

/// Texts in one row.
fn packed(texts: &[Vec<u32>]) -> Result<Batch> {
    let device = &Device::Cpu;
    let next = |text: &Vec<u32>| {
        text.iter().skip(1).copied().chain([Targets::IGNORED]).collect::<Vec<_>>()
    };
    let targets = Targets::of_next(&[texts.iter().flat_map(next).collect()], device)?;
    let tokens = Tokens::packed(&[texts.to_vec()], 0, device)?;
    Ok(Batch { tokens, labels: Labels::Next(targets) })
}

impl Batches {
    /// A batch for each step, from the first on and again from the first.
    pub fn loader(self, steps: u64) -> Loader<Batch> {
        let rows = Rows::new((0..steps).collect::<Vec<_>>());
        let loader = Loader::new(rows, move |rows: Vec<u64>, _| {
            let at = usize::try_from(rows[0])? % self.0.len();
            Ok(self.0[at].clone())
        });
        loader.batch(Batching::Rows(1)).shuffle(false)
    }
}
