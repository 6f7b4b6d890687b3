//! A simulation of `fit` on 8 and 64 GPUs: no step on several GPUs was measured.
//!
//! It counts the bytes that the engine's algorithm moves, and divides them by published speeds of links (`cluster.rs`); the time of one GPU
//! is made of operations that were measured on an H200 (`job.rs`). `cargo bench --bench scaling` prints a table and a plot.

#![expect(clippy::print_stdout, reason = "a bench prints")]
#![expect(clippy::cast_precision_loss, reason = "far below 2^53")]

mod cluster;
mod job;
mod step;

use std::fmt::Write;

use self::cluster::CLUSTERS;
use self::job::{JOBS, MICRO_BATCHES};
use self::step::{Way, alone, step};

const WAYS: [(Way, &str); 3] =
    [(Way::Tensors, "tensors"), (Way::Ranges, "ranges"), (Way::Overlapped, "overlap")];

fn main() {
    println!("Simulated, not measured.\n");
    println!(
        "| training | GPUs | links | GB sent | s a step: tensors, ranges, overlap | efficiency |"
    );
    println!("|---|---|---|---|---|---|");
    let mut plot = String::new();
    for job in &JOBS {
        let one = alone(job);
        println!("| {} | 1 | | 0 | {one:.2} | 100 % |", job.name);
        for cluster in &CLUSTERS {
            let steps = WAYS.map(|(way, _)| step(job, cluster, way));
            let efficiency = |seconds: f64| 100.0 * one / (seconds * cluster.gpus as f64);
            let times = steps.each_ref().map(|step| format!("{:.3}", step.seconds)).join(", ");
            let shares =
                steps.each_ref().map(|step| format!("{:.0}", efficiency(step.seconds))).join(", ");
            println!(
                "| {} | {} | {} | {:.2} | {times} | {shares} % |",
                job.name,
                cluster.gpus,
                cluster.name,
                steps[2].sent / 1e9
            );
            for (step, (_, way)) in steps.iter().zip(WAYS) {
                let share = efficiency(step.seconds);
                let length = (0..40).filter(|at| share > 2.5 * (f64::from(*at) + 0.5)).count();
                let bar = "#".repeat(length);
                let what = format!("{}, {} GPUs, {}", job.name, cluster.gpus, cluster.name);
                let _ = writeln!(plot, "{what:<50} {way:<8} {bar:<40} {share:3.0} %");
            }
        }
        let tokens = (MICRO_BATCHES * job.tokens) as f64;
        println!("| | | | | {:.0} tokens a second on one GPU | |", tokens / one);
    }
    println!("\nEfficiency: the time of one GPU, divided by that of all.\n\n{plot}");
}
