//! Examples to train on and to measure on, from files or from what is built in.

use std::io::Read;
use std::path::{Path, PathBuf};

use cog_train::CancelToken;
use cog_train::data::{Dataset, Loader, Rows, split};
use cog_train::prelude::*;
use cog_train::serde_json;
use cog_train::text::{
    CausalBatch, Example, ExampleBuilder, Examples, Format, Packs, Row, TextRows,
};

use super::inputs::Inputs;

/// The most rows of a file that are held out, and the share of a smaller one.
const HELD_OUT: f64 = 200.0;
const SHARE: f64 = 0.1;

/// A file that was looked through, or built-in rows.
pub enum Data {
    Rows(Box<dyn Dataset<Item = Row>>),
    /// A plain text.
    Text(PathBuf),
}

impl Data {
    /// Opens the files of the inputs, or what is built in: data to train on, and data to measure on if there is a file of its own.
    pub fn of(inputs: &Inputs, cancel: &CancelToken) -> Result<(Self, Option<Self>)> {
        let open = |path: &cog_train::Path| Self::open(path, cancel);
        let eval = inputs.eval_data.as_ref().map(open).transpose()?;
        if let Some(path) = &inputs.train_data {
            return Ok((open(path)?, eval));
        }
        let (train, own) = Self::pirate()?;
        Ok((train, eval.or(Some(own))))
    }

    /// Opens a file and checks all its rows.
    fn open(path: &Path, cancel: &CancelToken) -> Result<Self> {
        let extension = path.extension().and_then(|extension| extension.to_str());
        let is_text = match extension {
            Some("txt" | "md") => true,
            Some("json" | "jsonl" | "ndjson" | "csv" | "tsv" | "parquet") => false,
            _ => !begins_as_rows(path),
        };
        if is_text {
            return Ok(Self::Text(path.to_owned()));
        }
        let rows = TextRows::open(path, cancel)?;
        if let format @ (Format::Labelled | Format::Pair | Format::Preference) = rows.format() {
            let keys: Vec<String> =
                format.required().iter().map(|key| format!("`{key}`")).collect();
            bail!(
                "data `{}`: its rows have {}, and this trains on texts, prompts with completions, conversations and \
                 instructions",
                path.display(),
                keys.join(", ")
            );
        }
        Ok(Self::Rows(Box::new(rows)))
    }

    /// Pirate talk: prompts in plain English with a pirate's answers, to train on and to measure on.
    fn pirate() -> Result<(Self, Self)> {
        let rows = |text: &str, name| -> Result<Self> {
            let row = |line| -> Result<Row> {
                Row::parse(Format::Completion, &serde_json::from_str(line)?)
                    .map_err(anyhow::Error::msg)
            };
            let rows = text.lines().map(row).collect::<Result<_>>()?;
            Ok(Self::Rows(Box::new(Rows::new(rows).named(name))))
        };
        Ok((
            rows(include_str!("data/train.jsonl"), "pirate talk")?,
            rows(include_str!("data/eval.jsonl"), "pirate talk to measure on")?,
        ))
    }

    /// Makes the examples.
    pub fn examples(self, builder: &ExampleBuilder, cancel: &CancelToken) -> Result<Examples> {
        Ok(match self {
            Self::Rows(rows) => builder.examples(rows, cancel)?,
            Self::Text(path) => Examples::new(windows(&path, builder, cancel)?)?,
        })
    }

    /// Makes the examples of nine rows out of ten to train on, and of the tenth, always the same, to measure on.
    pub fn split(
        self,
        builder: &ExampleBuilder,
        cancel: &CancelToken,
    ) -> Result<(Examples, Examples)> {
        Ok(match self {
            Self::Rows(rows) => {
                let share = share(rows.len());
                let (train, eval) = split(rows, share, 0)?;
                (builder.examples(train, cancel)?, builder.examples(eval, cancel)?)
            }
            Self::Text(path) => {
                let windows = windows(&path, builder, cancel)?;
                let share = share(windows.len());
                let (train, eval) = split(windows, share, 0)?;
                (Examples::new(train)?, Examples::new(eval)?)
            }
        })
    }
}

/// Whether the first character of a file is that of JSON. A file that cannot be read is refused by whoever opens it.
fn begins_as_rows(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(4096).read_to_end(&mut start));
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&start).trim_ascii_start();
    read.is_ok() && (text.starts_with(b"{") || text.starts_with(b"["))
}

/// Batches of examples; with a capacity, several short ones in a row of so many tokens.
pub fn batches(examples: Examples, packs: Option<usize>, pad: u32) -> Loader<CausalBatch> {
    let truncated = examples.counts().truncated;
    let loader = match packs {
        Some(capacity) => Loader::new(Packs::new(examples, capacity), move |packs, batch| {
            Ok(CausalBatch::packed(&packs, pad, batch.device())?)
        }),
        None => Loader::new(examples, move |examples, batch| {
            Ok(CausalBatch::padded(&examples, pad, batch.device())?)
        }),
    };
    loader.truncated(truncated)
}

fn windows(path: &Path, builder: &ExampleBuilder, cancel: &CancelToken) -> Result<Rows<Example>> {
    let windows = builder.text_file(path, cancel)?;
    Ok(Rows::new(windows).named(path.display().to_string()))
}

#[expect(clippy::cast_precision_loss, reason = "a number of rows")]
fn share(rows: usize) -> f64 {
    (HELD_OUT / rows as f64).min(SHARE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_a_file_is_its_ending_or_its_first_character() {
        let line = "{\"text\": \"a\"}";
        for (name, content, is_text) in [
            ("a.txt", line, true),
            ("a.jsonl", line, false),
            ("fetched", line, false),
            ("plain", "plain", true),
            ("marked", "\u{feff} \n{\"text\": \"a\"}", false),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join(name);
            std::fs::write(&file, content).unwrap();
            let data = Data::open(&file, &CancelToken::new()).unwrap();
            assert_eq!(matches!(data, Data::Text(_)), is_text, "{name}");
        }
    }
}
