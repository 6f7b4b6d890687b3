//! Memory and time of activation checkpointing and gradient accumulation: the gradients of one batch through a deep network
//! in one pass, with every block recomputed, and in micro-batches, each in a process of its own, whose high-water mark is
//! printed.
//!
//! `cargo bench -p cog-train --bench memory`. Only Linux reports the mark.

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]
#![expect(clippy::cast_precision_loss, reason = "bytes for a reader")]

use std::process::Command;
use std::time::Instant;

use cog_train::anyhow::{Context, Result, ensure};
use cog_train::candle_core::{D, DType, Device, Tensor};
use cog_train::engine::{Gradients, Params, StepContext};
use cog_train::rng::Rng;

/// As `run!` sets it.
#[global_allocator]
static ALLOCATOR: cog_train::__private::Allocator = cog_train::__private::Allocator;

const WIDTH: usize = 256;
const INNER: usize = 4 * WIDTH;
const BLOCKS: [usize; 3] = [6, 12, 24];
const ROWS: usize = 512;
const PARTS: usize = 4;

/// MiB behind a word of `/proc/self/status`.
fn status(word: &str) -> Result<f64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(word)).context("no such line")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}

/// The gradients of one batch in so many parts: MiB over what was held before, milliseconds, and a digest.
fn once(blocks: usize, again: bool, parts: usize) -> Result<String> {
    let draw = |at: usize, shape: (usize, usize)| {
        let mut stream = Rng::new(1, "bench").at(at as u64);
        stream.normal_tensor(shape, 0.0, 0.05, DType::F32, &Device::Cpu)
    };
    let mut named = Vec::new();
    for at in 0..blocks {
        named.push((format!("{at:02}.down"), draw(2 * at, (INNER, WIDTH))?));
        named.push((format!("{at:02}.up"), draw(2 * at + 1, (WIDTH, INNER))?));
    }
    let params = Params::new(named)?;
    let tensors = params.tensors();
    let batch = draw(9999, (ROWS, WIDTH))?;
    let before = status("VmRSS:")?;
    let begin = Instant::now();
    let mut sum = Gradients::default();
    for part in 0..parts {
        let context = StepContext::training(0, 0, part as u64);
        let mut y = batch.narrow(0, part * ROWS / parts, ROWS / parts)?.contiguous()?;
        for at in 0..blocks {
            let up = tensors[&format!("{at:02}.up")].clone();
            let down = tensors[&format!("{at:02}.down")].clone();
            let block = move |x: &Tensor| -> Result<Tensor> {
                let scale = (x.sqr()?.mean_keepdim(D::Minus1)? + 1e-5)?.sqrt()?;
                let inner = x.broadcast_div(&scale)?.matmul(&up)?.silu()?;
                Ok((x + inner.matmul(&down)?)?)
            };
            y = if again { context.recompute(&y, block)? } else { block(&y)? };
        }
        sum.add(Gradients::take(&params, &mut y.sqr()?.sum_all()?.backward()?)?)?;
    }
    let ms = begin.elapsed().as_secs_f64() * 1e3;
    let peak = status("VmHWM:")? - before;
    // FNV-1a over the bits of all gradients, in their order.
    let mut digest = 0xcbf2_9ce4_8422_2325_u64;
    for (_, gradient) in sum.iter() {
        for number in gradient.flatten_all()?.to_vec1::<f32>()? {
            digest = (digest ^ u64::from(number.to_bits())).wrapping_mul(0x0100_0000_01b3);
        }
    }
    Ok(format!("{peak} {ms} {digest:016x}"))
}

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    if let (Some(blocks), Some(way)) = (words.next(), words.next()) {
        let parts = if way == "parts" { PARTS } else { 1 };
        println!("{}", once(blocks.parse()?, way == "again", parts)?);
        return Ok(());
    }
    println!("blocks of {WIDTH} to {INNER} and back, {ROWS} rows: the most MiB over the weights");
    println!(
        "blocks | gradients | the plain way | computed again | in {PARTS} micro-batches | ms of each"
    );
    for blocks in BLOCKS {
        let run = |way: &str| -> Result<(f64, f64, String)> {
            let output =
                Command::new(std::env::current_exe()?).args([&blocks.to_string(), way]).output()?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let text = String::from_utf8(output.stdout)?;
            let mut words = text.split_whitespace();
            let mut next = || words.next().context("three words");
            Ok((next()?.parse()?, next()?.parse()?, next()?.to_owned()))
        };
        let (plain, again, parts) = (run("plain")?, run("again")?, run("parts")?);
        ensure!(plain.2 == again.2, "the gradients differ");
        let gradients = (2 * blocks * WIDTH * INNER * 4) as f64 / f64::from(1 << 20);
        println!(
            "{blocks} | {gradients:.0} | {:.0} | {:.0} ({:.2}) | {:.0} ({:.2}) | {:.0}, {:.0}, {:.0}",
            plain.0,
            again.0,
            again.0 / plain.0,
            parts.0,
            parts.0 / plain.0,
            plain.1,
            again.1,
            parts.1
        );
    }
    println!("the plain way and computed again, the gradients are the same bits");
    Ok(())
}
