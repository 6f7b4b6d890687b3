//! The refusal of `ui` where the feature `serve` is left out.

use super::terminal::Terminal;
use super::ui_args::UiArgs;

pub(super) fn ui(_: &UiArgs, terminal: &Terminal) -> u8 {
    terminal.error(
        "this program is built without the feature `serve` of cog-train\n\
         hint: `tensorboard --logdir runs` shows the curves",
    );
    2
}
