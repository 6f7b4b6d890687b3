//! What activation checkpointing saves and costs: one backward pass through a deep network, the plain way and with every
//! block computed again, each in a process of its own, whose high-water mark is what is told.
//!
//! `cargo bench -p cog-train --bench memory`. Linux alone tells the mark.

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]
#![expect(clippy::cast_precision_loss, reason = "bytes for a reader")]

use std::process::Command;
use std::time::Instant;

use cog_train::anyhow::{Context, Result, ensure};
use cog_train::candle_core::{D, DType, Device, Tensor, Var};
use cog_train::engine::Pass;
use cog_train::rng::Rng;

/// As `run!` sets it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const WIDTH: usize = 256;
const INNER: usize = 4 * WIDTH;
const BLOCKS: [usize; 3] = [6, 12, 24];
const ROWS: usize = 512;

/// MiB behind a word of `/proc/self/status`.
fn status(word: &str) -> Result<f64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(word)).context("no such line")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}

/// One backward pass: MiB over what was held before, milliseconds, and a digest of the gradients.
fn once(blocks: usize, again: bool) -> Result<String> {
    let draw = |at: usize, shape: (usize, usize)| -> Result<Var> {
        let tensor = Rng::new(1, "bench").at(at as u64);
        let tensor = { tensor }.normal_tensor(shape, 0.0, 0.05, DType::F32, &Device::Cpu)?;
        Ok(Var::from_tensor(&tensor)?)
    };
    let weights = (0..blocks)
        .map(|at| Ok((draw(2 * at, (WIDTH, INNER))?, draw(2 * at + 1, (INNER, WIDTH))?)))
        .collect::<Result<Vec<_>>>()?;
    let x = draw(9999, (ROWS, WIDTH))?;
    let before = status("VmRSS:")?;
    let begin = Instant::now();
    let pass = Pass::training(0, 0, 0);
    let mut y = x.as_tensor().clone();
    for (up, down) in &weights {
        let (up, down) = (up.as_tensor().clone(), down.as_tensor().clone());
        let block = move |x: &Tensor| -> Result<Tensor> {
            let scale = (x.sqr()?.mean_keepdim(D::Minus1)? + 1e-5)?.sqrt()?;
            let inner = x.broadcast_div(&scale)?.matmul(&up)?.silu()?;
            Ok((x + inner.matmul(&down)?)?)
        };
        y = if again { pass.recompute(&y, block)? } else { block(&y)? };
    }
    let gradients = pass.backward(&y.sqr()?.sum_all()?)?;
    let ms = begin.elapsed().as_secs_f64() * 1e3;
    let peak = status("VmHWM:")? - before;
    // FNV-1a over the bits of all gradients, in their order.
    let mut digest = 0xcbf2_9ce4_8422_2325_u64;
    for weight in weights.iter().flat_map(|(up, down)| [up, down]).chain([&x]) {
        let gradient = gradients.get(weight).context("a gradient")?;
        for number in gradient.flatten_all()?.to_vec1::<f32>()? {
            digest = (digest ^ u64::from(number.to_bits())).wrapping_mul(0x0100_0000_01b3);
        }
    }
    Ok(format!("{peak} {ms} {digest:016x}"))
}

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    if let (Some(blocks), Some(way)) = (words.next(), words.next()) {
        println!("{}", once(blocks.parse()?, way == "again")?);
        return Ok(());
    }
    println!(
        "blocks of {WIDTH} to {INNER} and back, {ROWS} rows: MiB over the weights, gradients among them"
    );
    println!(
        "blocks | gradients | the plain way | computed again | share | time, plain and again, ms"
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
        let (plain, again) = (run("plain")?, run("again")?);
        ensure!(plain.2 == again.2, "the gradients differ");
        let gradients = (2 * blocks * WIDTH * INNER * 4) as f64 / f64::from(1 << 20);
        println!(
            "{blocks} | {gradients:.0} | {:.1} | {:.1} | {:.2} | {:.0} and {:.0}",
            plain.0,
            again.0,
            again.0 / plain.0,
            plain.1,
            again.1
        );
    }
    println!("the gradients of both ways are the same bits");
    Ok(())
}
