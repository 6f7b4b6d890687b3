//! `runs`: the runs in a folder as a table, and the differences between two.

mod diff;
mod summary;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use self::summary::Summary;
use super::args::RunsArgs;
use crate::cli::table_text;
use crate::error::Error;
use crate::run::{is_run, shown};
use crate::table::{Align, Table};

/// Lists the runs, the newest first, or compares two.
pub(super) fn runs(args: &RunsArgs) -> Result<String, Error> {
    if let Some(ids) = &args.diff {
        let [a, b] = ids.each_ref().map(|id| find(&args.folder, id));
        return diff::diff(&a?, &b?, args.json);
    }
    let runs = list(&args.folder)?;
    if args.json {
        let runs: Vec<Value> = runs.iter().map(Summary::json).collect();
        return Ok(format!("{:#}\n", json!({"folder": args.folder, "runs": runs})));
    }
    if runs.is_empty() {
        return Ok(format!("no runs in `{}`\n", shown(&args.folder)));
    }
    let mut table = Table::new([
        ("run", Align::Left),
        ("trainer", Align::Left),
        ("state", Align::Left),
        ("started (UTC)", Align::Left),
        ("steps", Align::Right),
        ("loss", Align::Right),
        ("best eval", Align::Right),
        ("time", Align::Right),
    ]);
    for run in &runs {
        table.row(run.cells());
    }
    Ok(table_text(&table))
}

/// Reads the runs of a folder, the newest first. A run whose record is damaged is among them.
fn list(folder: &Path) -> Result<Vec<Summary>, Error> {
    if is_run(folder) {
        return Ok(vec![Summary::read(folder)]);
    }
    let entries = std::fs::read_dir(folder).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::Arguments {
            reason: format!(
                "there is no folder `{}`\nhint: name the folder of runs: `cog-train runs DIR`",
                shown(folder)
            ),
        },
        _ => Error::file("read", folder)(error),
    })?;
    let folders = entries.flatten().map(|entry| entry.path()).filter(|path| is_run(path));
    let mut runs: Vec<Summary> = folders.map(|path| Summary::read(&path)).collect();
    runs.sort_by(|a, b| (&b.started, &b.id).cmp(&(&a.started, &a.id)));
    Ok(runs)
}

/// The folder of a run that is named by its id or by its path.
fn find(folder: &Path, name: &str) -> Result<PathBuf, Error> {
    let found = [folder.join(name), PathBuf::from(name)].into_iter().find(|path| is_run(path));
    found.ok_or_else(|| {
        let ids = list(folder).unwrap_or_default();
        let ids = ids.iter().take(5).map(|run| format!("`{}`", run.id)).collect::<Vec<_>>();
        let hint = if ids.is_empty() {
            "name the folder of a run".to_owned()
        } else {
            format!("the newest runs there are {}", ids.join(", "))
        };
        let folder = shown(folder);
        let reason = format!("there is no run `{name}`, in `{folder}` or as a path\nhint: {hint}");
        Error::Arguments { reason }
    })
}
