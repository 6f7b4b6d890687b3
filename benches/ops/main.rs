//! Each operation of the jobs of `benches/peers` by itself, at the job's shapes: its time beside its own floor.
//!
//! ```text
//! cargo bench --bench ops [-- j1,j5]
//! ```
//!
//! An operation runs forward and backward through the public blocks as the job's model calls them: its input needs a
//! gradient where the model's does, its weights are trained where they are, and where an input goes elsewhere too its
//! gradient is added to the one from there. What is computed again on the way back (the input of a layer behind an
//! activation) is in the time of the layer. The clock is on the tape, right before and right behind the operation, so that
//! candle's part in the bench is in no figure. A gradient of a weight is written into memory that the allocator has
//! kept, where `fit` has buffers. All operations take turns, so that a busy machine is busy for all; medians count.
//!
//! The floor of an operation is the longer of two times:
//!
//! - its products at the best rate of products of 2048 x 2048 matrices between the rounds: `2 m n k` forward, as much
//!   again for each gradient that is needed; six products for attention, of the pairs of query and key that see each
//!   other;
//! - the least bytes, each tensor once forward and once backward, at the best rate of a pass over 256 MB (read and
//!   written, on all threads). Small tensors stay in the caches, so that an operation may be faster than this.
//!
//! Not in it: batches, what `fit` does around a step, and what an operation finds in the caches because the one before
//! left it there.

#![expect(unsafe_code, reason = "`compute::prepare` sets the environment before there are threads")]
#![expect(clippy::print_stdout, reason = "a bench prints")]
#![expect(unreachable_pub, reason = "the modules of a program")]

mod case;
mod jobs;
mod machine;
mod make;
mod op;
mod table;
mod update;
mod work;

use cog_train::__private::compute;
use cog_train::anyhow::{Result, ensure};

use jobs::Job;
use machine::Machine;
use table::Line;
use update::Update;
use work::Work;

/// As `run!` sets it.
#[global_allocator]
static ALLOCATOR: cog_train::__private::Allocator = cog_train::__private::Allocator;

/// The runs of each operation. A first round touches the pages.
const ROUNDS: usize = 9;

fn main() -> Result<()> {
    // SAFETY: (1) no thread has been started.
    unsafe { compute::prepare() };
    // cargo passes `--bench` too.
    let names = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let wanted = |job: &&Job| {
        names.as_ref().is_none_or(|names| names.split(',').any(|name| name == job.name))
    };
    let jobs: Vec<&Job> = jobs::ALL.iter().filter(wanted).collect();
    ensure!(!jobs.is_empty(), "no such job; they are j1 to j5");
    println!("medians of {ROUNDS} rounds, {} threads", rayon::current_num_threads());
    for job in jobs {
        profile(job)?;
    }
    Ok(())
}

/// Prints the table of a job.
fn profile(job: &Job) -> Result<()> {
    // Of the same minute as the operations: a shared machine is not always as fast.
    let mut machine = Machine::new()?;
    let (mut cases, mut lines, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    for (name, times, op) in (job.rows)() {
        let (case, trained) = make::make(&op)?;
        cases.push(case);
        lines.push(Line::new(name, op.sizes(), times, op.work()));
        weights.extend((0..times).flat_map(|_| trained.clone()));
    }
    let mut update = Update::new(&weights)?;
    let sizes = format!("{} parameters", update.count());
    let work = Work::of_update(update.count());
    lines.push(Line::new("norm of gradients", sizes.clone(), 1, work[0]));
    lines.push(Line::new("AdamW", sizes, 1, work[1]));
    for round in 0..=ROUNDS {
        machine.measure()?;
        let mut seconds = cases.iter().map(case::Case::run).collect::<Result<Vec<_>>>()?;
        seconds.extend(update.run()?);
        for (line, seconds) in lines.iter_mut().zip(seconds) {
            if round > 0 {
                line.seconds.push(seconds);
            }
        }
    }
    table::print(job, &mut lines, &machine);
    Ok(())
}
