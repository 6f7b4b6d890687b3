//! The run of a rank that follows rank 0: a temporary folder, and the seed and earlier inputs of rank 0.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Run;
use crate::error::Error;
use crate::input::Values;
use crate::parallel::Ranks;
use crate::run::given::Given;
use crate::run::previous::PreviousRun;
use crate::run::request::Request;

/// A run as rank 0 has opened it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Lead {
    id: String,
    /// The inputs that rank 0 was given: it alone may have standard input.
    inputs: Option<Map<String, Value>>,
    seed: u64,
    seed_origin: String,
    resumed: Option<Resumed>,
}

/// The run that is resumed.
#[derive(Serialize, Deserialize)]
struct Resumed {
    dir: PathBuf,
    /// `run.json`.
    fields: Map<String, Value>,
    checkpoints: Option<PathBuf>,
}

impl Lead {
    /// Returns the request of rank 0, without what only rank 0 does.
    pub(crate) fn request<'a>(&self, request: &Request<'a>) -> Request<'a> {
        Request {
            role: request.role,
            inputs: self.inputs.clone().map(|values| Given::new(values, Vec::new())),
            seed: request.seed,
            run_dir: None,
            resume: request.resume,
            destination: None,
            files: request.files,
        }
    }

    /// Returns the run that is resumed, as far as this process knows it: its folder may be on another machine.
    pub(crate) fn previous(&self) -> Option<PreviousRun> {
        let resumed = self.resumed.as_ref()?;
        Some(PreviousRun::elsewhere(resumed.dir.clone(), resumed.fields.clone()))
    }
}

impl Run {
    /// Describes the run to the other ranks.
    pub(crate) fn lead(&self, request: &Request<'_>) -> Lead {
        let resumed = self.previous.as_ref().map(|(previous, _)| Resumed {
            dir: previous.dir.clone(),
            fields: previous.fields.clone(),
            checkpoints: previous.checkpoints(),
        });
        Lead {
            id: self.folder.id.clone(),
            inputs: request.inputs.as_ref().map(|given| given.values.clone()),
            seed: self.seed,
            seed_origin: self.seed_origin.clone(),
            resumed,
        }
    }

    /// Takes the seed of rank 0 in a dry run, which each rank opens by itself.
    pub(crate) fn share_seed(&mut self, ranks: &Ranks) -> Result<(), Error> {
        let seed = ranks.share(self.seed.to_le_bytes().to_vec())?;
        self.seed = seed.first_chunk::<8>().map_or(self.seed, |bytes| u64::from_le_bytes(*bytes));
        Ok(())
    }

    /// Opens a temporary folder for this rank's part of the run.
    pub(crate) fn follow(
        lead: Lead,
        previous: Option<PreviousRun>,
        values: &Values,
        request: &Request<'_>,
    ) -> Result<Self, Error> {
        let mut run = Self::predict(values, request.seed)?;
        run.folder.id = lead.id;
        (run.seed, run.seed_origin) = (lead.seed, lead.seed_origin);
        run.checkpoints = lead.resumed.and_then(|resumed| resumed.checkpoints);
        run.previous = previous.map(|previous| (previous, request.is_forced()));
        Ok(run)
    }
}
