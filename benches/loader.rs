//! Rows per second through the loader, and what of a plain loop's speed that is: from memory and from a JSONL file, made in
//! place and by one or two threads.
//!
//! `cargo bench -p cog-train --bench loader`
//!
//! The plain loop reads the same rows in the same order and makes the same tensors, without a loader. All take turns, so
//! that a busy machine is busy for all; the medians count.

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]
#![expect(clippy::cast_precision_loss, reason = "numbers of rows")]

use std::io::{BufWriter, Write};
use std::sync::Arc;
use std::time::Instant;

use cog_train::anyhow::{Result, ensure};
use cog_train::candle_core::{self, Device, Tensor};
use cog_train::data::{Batching, Dataset, Jsonl, Loader, Position, Rows, Sampler};

/// As `run!` sets it.
#[global_allocator]
static ALLOCATOR: cog_train::__private::Allocator = cog_train::__private::Allocator;

/// Rows of the data.
const ROWS: usize = 200_000;
/// Rows of a batch.
const BATCH: usize = 32;
const ROUNDS: usize = 5;
const SEED: u64 = 1;

#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Row {
    tokens: Vec<u32>,
    label: u32,
}

fn row(number: usize) -> Row {
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    Row {
        tokens: (0..64).map(|at| number.wrapping_mul(31) % 5000 + at).collect(),
        label: number % 2,
    }
}

fn collate(rows: Vec<Row>, device: &Device) -> candle_core::Result<(Tensor, Tensor)> {
    let shape = (rows.len(), rows.first().map_or(0, |row| row.tokens.len()));
    let labels: Vec<u32> = rows.iter().map(|row| row.label).collect();
    let tokens: Vec<u32> = rows.into_iter().flat_map(|row| row.tokens).collect();
    let labels = Tensor::from_vec(labels, shape.0, device)?;
    Ok((Tensor::from_vec(tokens, shape, device)?, labels))
}

/// Seconds of one epoch without a loader.
fn plain(data: &impl Dataset<Item = Row>) -> Result<f64> {
    let begin = Instant::now();
    let epoch = Sampler::new(SEED, data.len(), Batching::Rows(BATCH), true)?.epoch(0);
    let mut rows = 0;
    for batch in epoch.iter() {
        let items: Result<Vec<Row>, _> = batch.iter().map(|at| data.item(*at as usize)).collect();
        rows += collate(items?, &Device::Cpu)?.0.dim(0)?;
    }
    ensure!(rows == ROWS, "{rows} of {ROWS} rows");
    Ok(begin.elapsed().as_secs_f64())
}

/// Seconds of one epoch through a loader.
fn loaded<D: Dataset<Item = Row> + 'static>(data: &Arc<D>, threads: usize) -> Result<f64> {
    let begin = Instant::now();
    let loader = Loader::new(data.clone(), |rows, batch| Ok(collate(rows, batch.device())?))
        .batch(Batching::Rows(BATCH))
        .threads(threads);
    let mut batches = loader.start(SEED, Position::default(), None, &Device::Cpu);
    let mut rows = 0;
    for _ in 0..loader.steps_in(SEED, 0) {
        rows += batches.next()?.map_or(0, |step| step.rows.len());
    }
    ensure!(rows == ROWS, "{rows} of {ROWS} rows");
    Ok(begin.elapsed().as_secs_f64())
}

fn measure<D: Dataset<Item = Row> + 'static>(name: &str, data: D) -> Result<()> {
    let data = Arc::new(data);
    let kinds = ["a plain loop", "in place", "1 thread", "2 threads"];
    let mut times = kinds.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        times[0].push(plain(&*data)?);
        for threads in [0, 1, 2] {
            times[threads + 1].push(loaded(&data, threads)?);
        }
    }
    let medians = times.map(|mut times| {
        times.sort_unstable_by(f64::total_cmp);
        times[ROUNDS / 2]
    });
    for (kind, median) in kinds.iter().zip(medians) {
        println!("{name}, {kind} | {:.0} | {:.2}", ROWS as f64 / median, medians[0] / median);
    }
    Ok(())
}

fn main() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("rows.jsonl");
    let mut file = BufWriter::new(std::fs::File::create(&path)?);
    for number in 0..ROWS {
        cog_train::serde_json::to_writer(&mut file, &row(number))?;
        file.write_all(b"\n")?;
    }
    file.into_inner()?;
    println!("{ROWS} rows of 64 tokens, batches of {BATCH}, medians of {ROUNDS} epochs");
    println!("from, by | rows/s | times a plain loop");
    measure("memory", Rows::new((0..ROWS).map(row).collect()))?;
    let begin = Instant::now();
    let rows = Jsonl::<Row>::open(&path)?;
    let opening = begin.elapsed().as_secs_f64();
    measure("JSONL", rows)?;
    println!(
        "opening the JSONL file, every row parsed and digested | {:.0} |",
        ROWS as f64 / opening
    );
    Ok(())
}
