//! The run of a rank that follows rank 0: a temporary folder, and the seed and earlier inputs of rank 0.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Run;
use crate::error::Error;
use crate::input::Values;
use crate::job::TargetDirs;
use crate::parallel::Ranks;
use crate::run::check::check;
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
    /// Sends the run of rank 0 to the other ranks, which pass `None`. Returns it on all of them; `None` where rank 0 trains nothing.
    pub(crate) fn share(own: Option<&Self>, ranks: &Ranks) -> Result<Option<Self>, Error> {
        let not_json = |error: serde_json::Error| Error::Ranks { reason: error.to_string() };
        let bytes = ranks.share(serde_json::to_vec(&own).map_err(not_json)?)?;
        serde_json::from_slice(&bytes).map_err(not_json)
    }

    /// Opens the run as rank 0 has: it alone has standard input and the folder of an earlier run.
    pub(crate) fn follow(self, request: &Request<'_>) -> Result<(Run, Values), Error> {
        let (request, mut previous) = (self.request(request), self.previous());
        let values = check(&request, previous.as_mut())?;
        let run = Run::follow(self, previous, &values, &request)?;
        Ok((run, values))
    }

    /// Returns the request of rank 0, without what only rank 0 does.
    fn request<'a>(&self, request: &Request<'a>) -> Request<'a> {
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
    fn previous(&self) -> Option<PreviousRun> {
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

    /// Opens a temporary folder for this rank's part of the run.
    fn follow(
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

    /// Makes it the follower of a dry run, which trains nothing.
    pub(crate) fn into_dry_run(mut self) -> Self {
        let (run, output) = (self.folder.dir.clone(), self.folder.dir.clone());
        self.targets = Some(TargetDirs { run, output });
        self
    }
}
