//! Checkpoints of a training. The first rank writes them; each rank hands it what it owns.

use serde_json::{Map, Value};

use super::learner::Learner;
use super::resume::Saved;
use super::state::State;
use crate::checkpoint::{Checkpoints, Header, Keep};
use crate::error::Error;
use crate::job::{CHECKPOINTS, Job};

/// The checkpoints of a run; those of the first rank.
pub(super) struct Saves(Option<Checkpoints>);

impl Saves {
    /// Opens the run's folder of checkpoints.
    pub(super) fn open(job: &Job, keep: Keep, learner: &Learner<'_>) -> anyhow::Result<Self> {
        let dir = job.dir().join(CHECKPOINTS);
        let own = learner.ranks.leads().then(|| Checkpoints::open(&dir, keep)).transpose();
        Ok(Self(learner.ranks.all_done(own)?))
    }

    /// Copies the state and the tensors, and starts to write them.
    pub(super) fn save(
        &mut self,
        state: &State,
        run: &Map<String, Value>,
        learner: &Learner<'_>,
        best: bool,
        job: &Job,
    ) -> anyhow::Result<()> {
        let Some(checkpoints) = &mut self.0 else {
            learner.ranks.all_done(Ok::<_, Error>(()))?;
            return learner.ranks.all_done(learner.write_to(|_, _, _| Ok(())));
        };
        let mut prepare = || -> anyhow::Result<_> {
            let saved = Saved { state: state.clone(), run: run.clone(), marks: job.marks()? };
            let files = learner.files().into_iter().map(str::to_owned).collect();
            let step = state.step;
            let header = Header { step, state: serde_json::to_value(saved)?, best, files };
            checkpoints.finish()?;
            // A checkpoint holds the lengths of the run's files: so far they are synced before it appears.
            Ok((header, job.sync()?))
        };
        let (header, sync) = learner.ranks.all_done(prepare())?;
        let saved = checkpoints.save_with(header, |add| learner.write_to(add), sync);
        learner.ranks.all_done(saved)
    }

    /// Waits until every save is durable.
    pub(super) fn finish(&mut self, learner: &Learner<'_>) -> anyhow::Result<()> {
        let own = self.0.as_mut().map_or(Ok(()), Checkpoints::finish);
        learner.ranks.all_done(own)
    }
}
