//! `ui`: the page for the runs on a disk.

use std::path::Path;

use super::terminal::Terminal;
use super::ui_args::UiArgs;
use crate::run::{is_run, shown};
use crate::serve::{UiOptions, show};

/// Shows the page until a signal; the exit code.
pub(crate) fn ui(args: &UiArgs, terminal: &Terminal) -> u8 {
    if let Some(problem) = problem(&args.folder) {
        terminal.error(&problem);
        return 2;
    }
    let options = UiOptions { folder: args.folder.clone(), port: args.port };
    let ended = show(options, |address| {
        let folder = args.folder.display();
        terminal.note(&format!("the runs in `{folder}` are shown at {address} until Ctrl-C"));
    });
    let Err(error) = ended else { return 0 };
    terminal.error(&error.to_string());
    1
}

/// Returns the reason for which a folder has no runs to show.
fn problem(folder: &Path) -> Option<String> {
    let name = shown(folder);
    if !folder.is_dir() {
        return Some(format!("`{name}` is not a folder\nhint: name the folder of runs: `ui runs`"));
    }
    let around = folder.canonicalize().ok()?.parent()?.to_owned();
    is_run(folder).then(|| {
        format!("`{name}` is a run\nhint: name the folder that it is in: `ui {}`", shown(&around))
    })
}
