//! Columns of text, aligned and fitted to the terminal.

use std::io::IsTerminal;

use crate::cli::colored;

/// The side on which a column is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// The fewest characters of a column that is shortened.
const LEAST: usize = 12;
const GAP: &str = "  ";

/// A table with a head.
#[derive(Debug)]
pub(super) struct Table {
    head: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new<T: Into<String>>(head: impl IntoIterator<Item = (T, Align)>) -> Self {
        let head = head.into_iter().map(|(name, align)| (name.into(), align)).collect();
        Self { head, rows: Vec::new() }
    }

    /// Adds a row, a text for each column.
    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        assert_eq!(N, self.head.len(), "a cell for each column");
        self.rows.push(cells.into());
    }

    /// Lays the table out for standard output: within a terminal's width, with a bold head where there are colours.
    pub(super) fn text(&self) -> String {
        let stdout = std::io::stdout();
        let size = rustix::termios::tcgetwinsize(&stdout).ok().filter(|_| stdout.is_terminal());
        let width = size.map(|size| usize::from(size.ws_col)).filter(|width| *width > 0);
        self.laid_out(width, colored(&stdout))
    }

    /// Lays the table out as [`text`](Self::text) does, and shortens nothing: for sentences and digests.
    pub(super) fn whole(&self) -> String {
        self.laid_out(None, colored(&std::io::stdout()))
    }

    fn laid_out(&self, width: Option<usize>, bold: bool) -> String {
        let mut widths: Vec<usize> = (0..self.head.len())
            .map(|at| {
                let cells = self.rows.iter().map(|row| count(&row[at]));
                cells.max().unwrap_or_default().max(count(&self.head[at].0))
            })
            .collect();
        if let Some(width) = width {
            fit(&mut widths, width.saturating_sub(GAP.len() * (self.head.len() - 1)));
        }
        let head: Vec<String> = self.head.iter().map(|(name, _)| name.clone()).collect();
        let mut text = self.line(&head, &widths);
        if bold {
            text = format!("\u{1b}[1m{text}\u{1b}[0m");
        }
        text.push('\n');
        for row in &self.rows {
            text.push_str(&self.line(row, &widths));
            text.push('\n');
        }
        text
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let cells = cells.iter().zip(widths).zip(&self.head).map(|((cell, width), (_, align))| {
            let cell = shortened(cell, *width);
            let space = " ".repeat(width - count(&cell));
            match align {
                Align::Left => cell + &space,
                Align::Right => space + &cell,
            }
        });
        cells.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
    }
}

fn count(text: &str) -> usize {
    text.chars().count()
}

/// Takes width from the widest column until all fit, as far as that goes.
fn fit(widths: &mut [usize], most: usize) {
    while widths.iter().sum::<usize>() > most
        && let Some(widest) = widths.iter_mut().max().filter(|widest| **widest > LEAST)
    {
        *widest -= 1;
    }
}

/// Shortens a text in its middle: names differ at both ends.
fn shortened(text: &str, width: usize) -> String {
    let length = count(text);
    if length <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    let (start, end) = (kept / 2, kept - kept / 2);
    let head = text.chars().take(start);
    head.chain(['\u{2026}']).chain(text.chars().skip(length - end)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new([("name", Align::Left), ("size", Align::Right)]);
        table.row(["model.layers.0.q_proj.weight".into(), "9 KiB".into()]);
        table.row(["b".into(), "128 KiB".into()]);
        table
    }

    #[test]
    fn columns_are_aligned() {
        let expected = "name                             size
model.layers.0.q_proj.weight    9 KiB
b                             128 KiB
";
        assert_eq!(table().laid_out(None, false), expected);
    }

    #[test]
    fn the_widest_column_gives_way_to_the_terminal() {
        let text = table().laid_out(Some(28), false);
        assert!(text.lines().all(|line| count(line) <= 28), "{text}");
        assert!(text.contains("model.lay\u{2026}oj.weight    9 KiB"), "{text}");
        let narrow = table().laid_out(Some(5), false);
        assert!(narrow.contains("128 KiB"), "numbers are never cut: {narrow}");
    }
}
