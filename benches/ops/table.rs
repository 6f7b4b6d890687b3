//! The times of a job's operations, as a table.

use crate::jobs::Job;
use crate::machine::Machine;
use crate::work::Work;

/// An operation and its times.
pub struct Line {
    name: &'static str,
    sizes: String,
    /// In a step.
    times: usize,
    work: Work,
    /// Of each round.
    pub seconds: Vec<f64>,
}

impl Line {
    pub fn new(name: &'static str, sizes: String, times: usize, work: Work) -> Self {
        Self { name, sizes, times, work, seconds: Vec::new() }
    }

    /// The least and the median.
    fn sorted(&mut self) -> [f64; 2] {
        self.seconds.sort_unstable_by(f64::total_cmp);
        [0, self.seconds.len() / 2].map(|at| self.seconds[at])
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
pub fn print(job: &Job, lines: &mut [Line], machine: &Machine) {
    let (mut sum, mut sum_of_fastest, mut least, mut flops) = (0.0, 0.0, 0.0, 0.0);
    let mut rows = Vec::new();
    for line in lines {
        let (times, [fastest, each]) = (line.times as f64, line.sorted());
        let (floor, bound) = line.work.floor(machine);
        rows.push((&*line, [fastest, each], times * floor, bound));
        sum += times * each;
        sum_of_fastest += times * fastest;
        least += times * floor;
        flops += times * line.work.flops;
    }
    println!("\n### {}: {}\n", job.name.to_uppercase(), job.title);
    println!(
        "{:.1} GFLOP of products a step; at best {:.0} GFLOP/s and {:.1} GB/s\n",
        flops / 1e9,
        machine.products / 1e9,
        machine.memory / 1e9
    );
    println!(
        "| op | shape | times | ms each [least] | ms a step | floor, ms | time / floor | bound by | share |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (Line { name, sizes, times, .. }, [fastest, each], floor, bound) in rows {
        let total = each * *times as f64;
        println!(
            "| {name} | {sizes} | {times} | {:.3} [{:.3}] | {:.2} | {:.2} | {:.2} | {bound} | {:.1} % |",
            each * 1e3,
            fastest * 1e3,
            total * 1e3,
            floor * 1e3,
            total / floor,
            100.0 * total / sum
        );
    }
    for (name, sum) in [("all", sum), ("all, at their least", sum_of_fastest)] {
        let (ms, floor) = (sum * 1e3, least * 1e3);
        println!("| **{name}** | | | | {ms:.1} | {floor:.1} | {:.2} | | |", sum / least);
    }
}
