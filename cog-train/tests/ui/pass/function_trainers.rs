//! Function trainers of every form.

#![deny(warnings)]

use cog_train::prelude::*;
use cog_train::{Error, Weights};

mod bare {
    /// Bare, and without a job.
    #[cog_train::train]
    pub fn train(#[input(default = 3)] steps: u64) -> u64 {
        steps
    }
}

mod nothing {
    #[cog_train::train]
    pub(crate) fn train() -> bool {
        true
    }
}

mod job_only {
    use cog_train::Job;

    #[cog_train::train]
    pub fn train(_: &mut Job) -> String {
        "a".to_owned()
    }
}

mod job_first {
    use super::*;

    #[cog_train::train]
    pub fn train(job: &mut Job, mut steps: u32) -> Result<Path> {
        steps += 1;
        job.progress(0, steps.into());
        Ok(job.dir().into())
    }
}

mod job_between {
    use super::*;

    type Answer<T> = core::result::Result<T, Error>;

    /// An alias of `Result`, with an error of its own.
    #[cog_train::train]
    pub fn train(
        /// The first.
        a: u8,
        job: &mut cog_train::Job,
        #[input(default = 1e-4, ge = 0.0)] b: f64,
    ) -> Answer<Vec<f64>> {
        job.check_cancelled()?;
        Ok(vec![a.into(), b])
    }
}

mod struct_output {
    use super::*;

    #[derive(TrainOutput)]
    pub struct TrainingOutput {
        pub weights: Option<Weights>,
    }

    #[cog_train::train]
    #[allow(clippy::unnecessary_wraps)]
    #[cfg(all())]
    pub fn r#try(token: Option<Secret>) -> std::io::Result<TrainingOutput> {
        drop(token);
        Ok(TrainingOutput { weights: None })
    }
}

fn about<T: Trainer>() -> (&'static str, Vec<&'static str>) {
    (T::Inputs::ABOUT, T::Inputs::TABLE.iter().map(|spec| spec.name).collect())
}

fn main() {
    assert_eq!(about::<bare::train>(), ("Bare, and without a job.", vec!["steps"]));
    assert_eq!(about::<nothing::train>(), ("", vec![]));
    assert_eq!(about::<job_only::train>(), ("", vec![]));
    assert_eq!(about::<job_first::train>(), ("", vec!["steps"]));
    assert_eq!(
        about::<job_between::train>(),
        ("An alias of `Result`, with an error of its own.", vec!["a", "b"])
    );
    assert_eq!(about::<struct_output::r#try>(), ("", vec!["token"]));
    assert_eq!(bare::train(4), 4);
    assert!(nothing::train());
    assert!(struct_output::r#try(None).unwrap().weights.is_none());

    #[cog_train::train]
    fn inside(a: u8) -> u8 {
        a
    }
    assert_eq!(about::<inside>(), ("", vec!["a"]));
    assert_eq!(inside(2), 2);
}
