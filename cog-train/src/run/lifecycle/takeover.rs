//! A resumed run: taken over from its earlier process when nothing has changed, or when changes are accepted.

use serde_json::{Map, Value, json};

use super::Run;
use crate::error::Error;
use crate::input::{Spec, Values};
use crate::output::Output;
use crate::run::changes::changes;
use crate::run::clock::Utc;
use crate::run::folder::{RunFolder, RunRecord};
use crate::run::previous::PreviousRun;

impl Run {
    /// Resumes an earlier training. Its `run.json` is not touched before its inputs are known to be the same.
    pub(crate) fn resume(
        mut previous: PreviousRun,
        values: &Values,
        seed: Option<u64>,
        force: bool,
    ) -> Self {
        let seed = previous.resumed_seed(values, seed);
        let mut run = Self::new(RunFolder::of(previous.dir.clone()), values, seed);
        run.record = Some(RunRecord::from(&previous.dir, previous.fields.clone()));
        run.lock = previous.take_lock();
        run.previous = Some((previous, force));
        run
    }

    /// Compares the inputs with those of the earlier process, and takes its run over.
    pub(super) fn take_over(
        &mut self,
        table: &[Spec],
        inputs: &mut Map<String, Value>,
    ) -> Result<(), Error> {
        let Some((previous, force)) = &self.previous else { return Ok(()) };
        let mut changed =
            previous.inputs().map_or_else(Vec::new, |old| changes(table, old, inputs));
        match previous.seed() {
            Some((old, _)) if old != self.seed && self.seed_origin != "input" => {
                changed.push(format!("`--seed`: {old} before, {} now", self.seed));
            }
            _ => {}
        }
        if !changed.is_empty() && !force {
            let changed = self.masked(&changed.join("\n  "));
            return Err(Error::Resume {
                reason: format!(
                    "its inputs have changed\n  {changed}\nhint: `--resume=force` accepts the changes"
                ),
            });
        }
        // An input that was not given now keeps its origin; a dry run says where it was found.
        for (name, entry) in inputs.iter_mut().filter(|(name, _)| !previous.given.contains(*name)) {
            let Some(old) = previous.inputs().and_then(|old| old.get(name)) else { continue };
            if let (Value::Object(entry), Some(origin)) = (entry, old.get("origin")) {
                let from_record = self.targets.is_some() && origin != "absent";
                let origin = if from_record { "run.json".into() } else { origin.clone() };
                entry.insert("origin".to_owned(), origin);
            }
        }
        if let Some(record) = &mut self.record
            && !(previous.is_finished() && changed.is_empty())
        {
            for name in ["completed_at", "output", "error", "metrics", "returned"] {
                record.remove(name);
            }
            record.set("status", "running");
            record.set("seed", json!({"value": self.seed, "origin": self.seed_origin}));
            let mut entry =
                json!({"at": Utc::now().rfc3339(), "version": env!("CARGO_PKG_VERSION")});
            if !changed.is_empty() {
                entry["changed"] = changed.into();
            }
            let mut list = record.get("resumed").as_array().cloned().unwrap_or_default();
            list.push(entry);
            record.set("resumed", list);
            self.begun = true;
            self.active.set_recorded(&self.folder.dir);
        }
        Ok(())
    }

    /// Returns the saved output of a finished run whose inputs are unchanged, and takes its metrics.
    pub(crate) fn saved_output(&mut self) -> Result<Option<Output>, Error> {
        let Some((previous, _)) = self.previous.as_ref().filter(|(run, _)| run.is_finished())
        else {
            return Ok(None);
        };
        if self.begun {
            return Ok(None);
        }
        let output = previous.saved_output()?;
        self.metrics = previous.metrics();
        Ok(Some(output))
    }
}
