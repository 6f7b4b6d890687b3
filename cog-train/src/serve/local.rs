//! Inputs that name files of the server's machine, and inputs of too many files.

use crate::fetch::is_url;
use crate::input::{Problem, Problems, Values};

const REFUSED: &str =
    "is no `https://` or `data:` address, and this server reads no files of its own machine";

/// The most files of one request.
const MOST: usize = 10_000;

/// Refuses paths and `file://` addresses, unless the server allows them.
pub(super) fn refuse_local(values: &Values, allowed: bool) -> Result<(), Problems> {
    let too_many = too_many(values);
    if allowed || too_many.is_err() {
        return too_many;
    }
    let is_local = |text: &str| {
        let scheme = text.split(':').next().unwrap_or_default();
        !is_url(text) || scheme.eq_ignore_ascii_case("file")
    };
    let problems: Vec<Problem> = values
        .paths()
        .filter(|(_, text)| is_local(text))
        .map(|(name, _)| Problem::new(name, REFUSED))
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(Problems::new(problems)) }
}

fn too_many(values: &Values) -> Result<(), Problems> {
    let names: Vec<String> = values.paths().map(|(name, _)| name).collect();
    match names.get(MOST) {
        None => Ok(()),
        Some(name) => {
            let problem = format!("{} files, more than the maximum of {MOST}", names.len());
            let name = name.split('/').next().unwrap_or_default();
            Err(Problems::new(vec![Problem::new(name, problem)]))
        }
    }
}
