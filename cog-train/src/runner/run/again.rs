//! A run that is gone on with: taken over when nothing has changed, or when changes are taken.

use serde_json::{Map, Value, json};

use super::Run;
use super::given::resumed_seed;
use crate::error::Error;
use crate::input::{Spec, Values};
use crate::output::Output;
use crate::runner::changes::changes;
use crate::runner::clock::Utc;
use crate::runner::earlier::Earlier;
use crate::runner::folder::{RunFolder, RunRecord};

/// What a finished run left.
pub(crate) struct Ended {
    pub(crate) output: Output,
    pub(crate) metrics: Map<String, Value>,
}

impl Run {
    /// Goes on with an earlier training. Its `run.json` is not touched before its inputs are known to be the same.
    pub(crate) fn resume(
        mut earlier: Earlier,
        values: &Values,
        seed: Option<u64>,
        force: bool,
    ) -> Self {
        let seed = resumed_seed(&earlier, values, seed);
        let mut run = Self::new(RunFolder::of(earlier.dir.clone()), values, seed);
        run.record = Some(RunRecord::from(&earlier.dir, earlier.fields.clone()));
        run.lock = earlier.take_lock();
        run.earlier = Some((earlier, force));
        run
    }

    /// Compares the inputs with those of the earlier process, and takes its run over.
    pub(super) fn begin_again(
        &mut self,
        table: &[Spec],
        inputs: &mut Map<String, Value>,
    ) -> Result<(), Error> {
        let Some((earlier, force)) = &self.earlier else { return Ok(()) };
        let mut changed = earlier.inputs().map_or_else(Vec::new, |old| changes(table, old, inputs));
        match earlier.seed() {
            Some((old, _)) if old != self.seed && self.seed_origin != "input" => {
                changed.push(format!("`--seed`: {old} before, {} now", self.seed));
            }
            _ => {}
        }
        if !changed.is_empty() && !force {
            let changed = self.masked(&changed.join("\n  "));
            return Err(Error::Resume {
                reason: format!(
                    "its inputs have changed\n  {changed}\nhint: `--resume=force` goes on all the same"
                ),
            });
        }
        // What was not given now has the origin that it had, or for a plan the place where it was found.
        for (name, entry) in inputs.iter_mut().filter(|(name, _)| !earlier.given.contains(*name)) {
            let Some(old) = earlier.inputs().and_then(|old| old.get(name)) else { continue };
            if let (Value::Object(entry), Some(origin)) = (entry, old.get("origin")) {
                let from_record = self.plan.is_some() && origin != "absent";
                let origin = if from_record { "run.json".into() } else { origin.clone() };
                entry.insert("origin".to_owned(), origin);
            }
        }
        if let Some(record) = &mut self.record
            && !(earlier.finished() && changed.is_empty())
        {
            for name in ["completed_at", "output", "error", "metrics", "returned"] {
                record.remove(name);
            }
            record.set("status", "running");
            record.set("seed", json!({"value": self.seed, "origin": self.seed_origin}));
            let mut again =
                json!({"at": Utc::now().rfc3339(), "version": env!("CARGO_PKG_VERSION")});
            if !changed.is_empty() {
                again["changed"] = changed.into();
            }
            let mut list = record.get("resumed").as_array().cloned().unwrap_or_default();
            list.push(again);
            record.set("resumed", list);
            self.begun = true;
            self.open.set(Some(&self.folder.dir));
        }
        Ok(())
    }

    /// What the run returned, and its numbers, when it has ended and nothing has changed since.
    pub(crate) fn returned(&self) -> Result<Option<Ended>, Error> {
        let Some((earlier, _)) = self.earlier.as_ref().filter(|(run, _)| run.finished()) else {
            return Ok(None);
        };
        if self.begun {
            return Ok(None);
        }
        let metrics = earlier.fields.get("metrics").and_then(Value::as_object);
        let metrics = metrics.cloned().unwrap_or_default();
        Ok(Some(Ended { output: earlier.returned()?, metrics }))
    }
}
