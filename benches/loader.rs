//! Rows per second through the loader: from memory and from a JSONL file, made in place and by one or two threads.
//!
//! `cargo bench -p cog-train --bench loader`

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::io::{BufWriter, Write};
use std::time::Instant;

use cog_train::anyhow::Result;
use cog_train::candle_core::{Device, Tensor};
use cog_train::engine::data::{Batching, Dataset, Jsonl, Loader, Position, Rows};

/// Rows of the data.
const ROWS: usize = 200_000;
/// Rows of a batch.
const BATCH: usize = 32;

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

fn measure<D: Dataset<Item = Row> + 'static>(name: &str, data: D) -> Result<()> {
    let mut loader = Loader::new(data, |rows: Vec<Row>, collate| {
        let shape = (rows.len(), rows.first().map_or(0, |row| row.tokens.len()));
        let labels: Vec<u32> = rows.iter().map(|row| row.label).collect();
        let tokens: Vec<u32> = rows.into_iter().flat_map(|row| row.tokens).collect();
        let labels = Tensor::from_vec(labels, shape.0, collate.device())?;
        Ok((Tensor::from_vec(tokens, shape, collate.device())?, labels))
    })
    .batch(Batching::Rows(BATCH));
    for threads in [0, 1, 2] {
        loader = loader.threads(threads);
        let begin = Instant::now();
        let mut batches = loader.start(1, Position::default(), None, &Device::Cpu);
        let mut rows = 0;
        for _ in 0..loader.steps_in(1, 0) {
            rows += batches.next()?.map_or(0, |step| step.rows.len());
        }
        let seconds = begin.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a number of rows")]
        let rate = rows as f64 / seconds;
        println!("{name}, {threads} threads: {rate:.0} rows/s");
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
    measure("memory", Rows::new((0..ROWS).map(row).collect()))?;
    let begin = Instant::now();
    let rows = Jsonl::<Row>::open(&path)?;
    println!("opening {ROWS} lines: {:.2} s", begin.elapsed().as_secs_f64());
    measure("JSONL", rows)
}
