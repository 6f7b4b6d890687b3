//! Columns of text, aligned and fitted to the width of a terminal.

use crate::message::{padded, width, wrapped, wrapped_words};

/// The side on which a column is filled, and whether its cells may be shortened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    /// Names: filled behind, and shortened in their middle where there is no room.
    Left,
    /// Paths and sentences: filled behind, and never shortened. A last column breaks its cells at spaces.
    Whole,
    /// Numbers: filled before, and never shortened.
    Right,
}

/// The fewest columns of a cell, and of a head, that is shortened.
const LEAST: usize = 12;
const LEAST_HEAD: usize = 4;
/// The fewest columns of a cell that is broken at spaces.
const LEAST_BROKEN: usize = 24;
const GAP: &str = "  ";

/// A table with a head, whose first cells name the rows.
#[derive(Debug, Clone, Default)]
pub struct Table {
    head: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

/// A table in lines.
pub(crate) struct Layout {
    pub(crate) head: Option<String>,
    pub(crate) rows: Vec<String>,
}

impl Table {
    pub(crate) fn new<T: Into<String>>(head: impl IntoIterator<Item = (T, Align)>) -> Self {
        let head = head.into_iter().map(|(name, align)| (name.into(), align)).collect();
        Self { head, rows: Vec::new() }
    }

    /// Adds a row, a text for each column.
    pub(crate) fn row(&mut self, cells: impl Into<Vec<String>>) {
        let cells = cells.into();
        assert_eq!(cells.len(), self.head.len(), "a cell for each column");
        self.rows.push(cells);
    }

    /// Returns the table with each text changed, such as masked.
    pub(crate) fn map(&self, change: impl Fn(&str) -> String) -> Self {
        let head = self.head.iter().map(|(name, align)| (change(name), *align)).collect();
        let row = |row: &Vec<String>| row.iter().map(|cell| change(cell)).collect();
        Self { head, rows: self.rows.iter().map(row).collect() }
    }

    /// Lays the table out in lines of at most `columns`, or as wide as it is. Where the columns do not fit beside each other, there
    /// is no head, and the cells of a row follow its name.
    pub(crate) fn layout(&self, columns: Option<usize>) -> Layout {
        let mut widths: Vec<usize> =
            (0..self.head.len()).map(|at| self.of_cells(at).max(width(&self.head[at].0))).collect();
        if let Some(columns) = columns {
            let least: Vec<usize> =
                widths.iter().enumerate().map(|(at, width)| self.least(at).min(*width)).collect();
            let room = columns.saturating_sub(GAP.len() * self.head.len().saturating_sub(1));
            if !fit(&mut widths, &least, room) {
                return Layout { head: None, rows: self.stacked(columns) };
            }
        }
        let head: Vec<String> = self.head.iter().map(|(name, _)| name.clone()).collect();
        let has_head = head.iter().any(|name| !name.is_empty());
        let head = has_head.then(|| self.row_lines(&head, &widths).join("\n"));
        let rows = self.rows.iter().flat_map(|row| self.row_lines(row, &widths)).collect();
        Layout { head, rows }
    }

    /// Returns the lines of [`layout`](Self::layout).
    pub(crate) fn lines(&self, columns: Option<usize>) -> Vec<String> {
        let Layout { head, rows } = self.layout(columns);
        head.into_iter().chain(rows).collect()
    }

    fn of_cells(&self, at: usize) -> usize {
        self.rows.iter().map(|row| width(&row[at])).max().unwrap_or_default()
    }

    /// The fewest columns that a column takes.
    fn least(&self, at: usize) -> usize {
        match self.head[at].1 {
            Align::Left => LEAST,
            Align::Whole if at + 1 == self.head.len() => LEAST_BROKEN,
            Align::Whole | Align::Right => {
                self.of_cells(at).max(width(&self.head[at].0).min(LEAST_HEAD))
            }
        }
    }

    /// A row in the width of each column: one line, and one for each further line of its last cell.
    fn row_lines(&self, row: &[String], widths: &[usize]) -> Vec<String> {
        let (Some((last, cells)), Some((last_width, _))) = (row.split_last(), widths.split_last())
        else {
            return Vec::new();
        };
        let is_broken = self.head.last().is_some_and(|(_, align)| *align == Align::Whole);
        let lasts = if is_broken { wrapped(last, *last_width) } else { vec![last.clone()] };
        let lines = lasts.into_iter().enumerate().map(|(line, last)| {
            let cells = cells.iter().map(|cell| if line == 0 { cell.as_str() } else { "" });
            let cells = cells.chain([last.as_str()]).zip(widths).zip(&self.head);
            let cells = cells.map(|((cell, columns), (_, align))| match align {
                Align::Left => padded(&shortened(cell, *columns), *columns),
                Align::Whole => padded(cell, *columns),
                Align::Right => {
                    let cell = shortened(cell, *columns);
                    format!("{:1$}{cell}", "", columns.saturating_sub(width(&cell)))
                }
            });
            cells.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
        });
        lines.collect()
    }

    /// The name of a row, and below it its other cells behind the heads of their columns.
    fn stacked(&self, columns: usize) -> Vec<String> {
        let mut lines = Vec::new();
        for row in &self.rows {
            let mut cells = row.iter().zip(&self.head);
            lines.extend(cells.next().map(|(name, _)| name.clone()).filter(|it| !it.is_empty()));
            let cells = cells.filter(|(cell, _)| !cell.is_empty()).map(|(cell, (head, _))| {
                if head.is_empty() { cell.clone() } else { format!("{head} {cell}") }
            });
            let cells: Vec<String> = cells.collect();
            let room = columns.saturating_sub(GAP.len());
            let below = wrapped_words(cells.iter().map(String::as_str), GAP, room);
            lines.extend(below.iter().map(|line| format!("{GAP}{line}")));
        }
        lines
    }
}

/// Takes width from the widest column that has more than its least until all fit in `room`. Returns whether they do.
fn fit(widths: &mut [usize], least: &[usize], room: usize) -> bool {
    while widths.iter().sum::<usize>() > room {
        let wide = widths.iter_mut().zip(least).filter(|(width, least)| **width > **least);
        let Some((widest, _)) = wide.max_by_key(|(width, _)| **width) else { return false };
        *widest -= 1;
    }
    true
}

/// Shortens a text in its middle: names differ at both ends.
fn shortened(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let kept = columns.saturating_sub(1);
    let (start, end) = (kept / 2, kept - kept / 2);
    let head = text.char_indices().map(|(at, c)| at + c.len_utf8());
    let head = head.take_while(|end| width(&text[..*end]) <= start).last().unwrap_or(0);
    let tail = text.char_indices().rev().map(|(at, _)| at);
    let tail = tail.take_while(|start| width(&text[*start..]) <= end).last().unwrap_or(text.len());
    // A mark belongs to the character that is cut off before it.
    let is_mark = |c: char| width(c.encode_utf8(&mut [0; 4])) == 0;
    format!("{}\u{2026}{}", &text[..head], text[tail..].trim_start_matches(is_mark))
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
        let expected = [
            "name                             size",
            "model.layers.0.q_proj.weight    9 KiB",
            "b                             128 KiB",
        ];
        assert_eq!(table().lines(None), expected);
    }

    #[test]
    fn the_widest_column_gives_way_to_the_terminal() {
        let lines = table().lines(Some(28));
        assert_eq!(lines[1], "model.lay\u{2026}oj.weight    9 KiB");
        assert!(lines.iter().all(|line| width(line) <= 28), "{lines:?}");
    }

    #[test]
    fn cells_follow_the_name_of_their_row_where_columns_do_not_fit() {
        let mut table = Table::new([
            ("", Align::Left),
            ("before", Align::Right),
            ("best", Align::Right),
            ("after", Align::Right),
        ]);
        table.row(["loss", "1.0986", "0.5842", "0.6123"].map(str::to_owned));
        table.row(["accuracy", "0.3333", "", "0.7950"].map(str::to_owned));
        assert_eq!(table.lines(Some(34))[1], "loss      1.0986  0.5842  0.6123");
        let expected = [
            "loss",
            "  before 1.0986  best 0.5842",
            "  after 0.6123",
            "accuracy",
            "  before 0.3333  after 0.7950",
        ];
        assert_eq!(table.lines(Some(29)), expected);
        let narrow = table.lines(Some(3)).join("\n");
        assert!(narrow.contains("0.7950"), "numbers are never cut: {narrow}");
    }

    #[test]
    fn sentences_of_a_last_column_are_broken_at_spaces() {
        let mut table = Table::new([("part", Align::Left), ("found", Align::Whole)]);
        table.row(["NCCL".to_owned(), "libnccl.so.2 is not there: one GPU".to_owned()]);
        let expected = ["part  found", "NCCL  libnccl.so.2 is not", "      there: one GPU"];
        assert_eq!(table.lines(Some(31)), expected);
        let stacked = ["NCCL", "  found libnccl.so.2 is not there: one GPU"];
        assert_eq!(table.lines(Some(20)), stacked);
    }

    /// Combining marks, letters from right to left, wide characters and emoji: each line is as wide as the first.
    #[test]
    fn columns_are_aligned_by_the_width_of_characters() {
        let mut table = Table::new([("label", Align::Left), ("rows", Align::Right)]);
        for label in ["cafe\u{301}", "नमस्ते", "שלום", "日本語の分類", "👍🏽", "plain"]
        {
            table.row([label.to_owned(), "7".to_owned()]);
        }
        for line in table.lines(None) {
            assert_eq!(width(&line), 18, "{line}");
        }
        for columns in [12, 15, 16] {
            let lines = table.lines(Some(columns));
            assert!(lines.iter().all(|line| width(line) <= columns.max(18)), "{lines:?}");
        }
        assert_eq!(shortened("日本語の分類", 8), "日\u{2026}分類");
        assert_eq!(shortened("e\u{301}e\u{301}e\u{301}e\u{301}", 3), "e\u{301}\u{2026}e\u{301}");
    }
}
