//! The refusal of `serve` where the feature is left out.

use super::app::App;
use super::serve_args::ServeArgs;
use super::terminal::Terminal;

const REASON: &str = "this program is built without the feature `serve` of cog-train\n\
                      hint: train with `train`, and predict with `predict`";

pub(super) fn serve(_: &App, _: &ServeArgs, terminal: &Terminal) -> u8 {
    terminal.error(REASON);
    2
}

pub(super) fn work(_: &App, terminal: &Terminal) -> u8 {
    terminal.error(REASON);
    2
}

pub(super) fn version(_: &Terminal) -> u8 {
    2
}
