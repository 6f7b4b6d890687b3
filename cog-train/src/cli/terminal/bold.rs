//! Tables of the program `cog-train` on standard output.

use std::io::stdout;

use super::{colored, fit};
use crate::table::{Layout, Table};

/// Returns a table within a terminal's width, with a bold head where there are colours.
pub(crate) fn table_text(table: &Table) -> String {
    let stdout = stdout();
    let Layout { head, rows } = table.layout(fit::columns(&stdout));
    let bold = |head: String| {
        if colored(&stdout) { format!("\u{1b}[1m{head}\u{1b}[0m") } else { head }
    };
    head.map(bold).into_iter().chain(rows).map(|line| line + "\n").collect()
}
