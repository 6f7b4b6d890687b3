//! Everything about a request that can be refused before the run has a folder.

use serde_json::{Map, Value};

use super::fetch_inputs;
use super::folder::{RunFolder, shown};
use super::observer::Observer;
use super::previous::PreviousRun;
use super::request::Request;
use super::role::Kind;
use crate::error::Error;
use crate::input::{self, Spec, Values};

/// Finds the run that is to be resumed, and says what was found: when there is none, the caller may have meant one.
pub(super) fn find_previous(
    request: &Request<'_>,
    lock: bool,
    observer: &dyn Observer,
) -> Result<Option<PreviousRun>, Error> {
    if request.resume.is_none() || request.role.kind != Kind::Train {
        return Ok(None);
    }
    let Some(mut previous) = PreviousRun::find(request.role.name, request.run_dir)? else {
        let folder = request.run_dir.map_or_else(|| "runs".to_owned(), shown);
        observer.note(&format!("nothing to resume in `{folder}`: the run starts at step 0"));
        return Ok(None);
    };
    if lock {
        previous.lock()?;
    }
    let dir = previous.shown();
    observer.note(&if previous.is_finished() {
        format!("`{dir}` is finished")
    } else if previous.inputs().is_none() {
        format!("`{dir}` was stopped before its inputs were recorded: the run starts at step 0")
    } else if previous.checkpoints().is_none() {
        format!("`{dir}` has no checkpoint yet: the run starts at step 0")
    } else {
        format!("resuming `{dir}`")
    });
    Ok(Some(previous))
}

/// Checks the inputs, their local files, the run's folder and the destination of the output.
pub(super) fn check(
    request: &Request<'_>,
    previous: Option<&mut PreviousRun>,
) -> Result<Values, Error> {
    let is_new = previous.is_none();
    let values = check_inputs(request, previous)?;
    fetch_inputs::check_local(&values)?;
    if is_new {
        RunFolder::check(request.run_dir)?;
    }
    check_destination(request)?;
    Ok(values)
}

/// Checks that the output can be written where it is to go.
pub(super) fn check_destination(request: &Request<'_>) -> Result<(), Error> {
    match &request.destination {
        Some(destination) => {
            destination.prepare(&(request.role.output)(), &RunFolder::runs(request.run_dir))
        }
        None => Ok(()),
    }
}

/// The seed of the request stands for an input named `seed` that was not given.
fn check_inputs(
    request: &Request<'_>,
    previous: Option<&mut PreviousRun>,
) -> Result<Values, Error> {
    let table = request.role.table;
    let mut given = request.inputs.clone().unwrap_or_default();
    let is_seed =
        |spec: &Spec| spec.name == "seed" && matches!(spec.ty.kind, input::Kind::Integer { .. });
    if let Some(seed) = request.seed.filter(|_| table.iter().any(is_seed)) {
        given.fill(Map::from_iter([("seed".to_owned(), Value::from(seed))]));
    }
    if let Some(previous) = previous {
        previous.fill(table, &mut given);
    }
    Ok(given.check(table)?)
}
