//! The runner: from arguments and `cog.yaml` to typed inputs and a job.

pub mod pairs;
