//! `ui`: the page for the runs on a disk.

use super::terminal::Terminal;
use super::ui_args::UiArgs;
use crate::serve::{UiOptions, show};

/// Shows the page until a signal; the exit code.
pub(super) fn ui(args: &UiArgs, terminal: &Terminal) -> u8 {
    if !args.folder.is_dir() {
        let folder = args.folder.display();
        terminal.error(&format!(
            "`{folder}` is not a folder\nhint: name the folder of runs: `ui runs`"
        ));
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
