//! Rows to train on, and rows to measure on.

use std::path::Path;

use cog_train::CancelToken;
use cog_train::data::{Dataset, Rows, split};
use cog_train::prelude::*;
use cog_train::serde_json;
use cog_train::text::{Format, Row, TextRows};

pub type Preferences = Box<dyn Dataset<Item = Row>>;

/// Opens files, or the rows that are built in. Of a file alone, a tenth is put aside to measure on.
pub fn open(
    train: Option<&Path>,
    eval: Option<&Path>,
    cancel: &CancelToken,
) -> Result<(Preferences, Preferences)> {
    match (train, eval) {
        (Some(train), Some(eval)) => Ok((file(train, cancel)?, file(eval, cancel)?)),
        (Some(train), None) => {
            let (train, eval) = split(file(train, cancel)?, 0.1, 0)?;
            Ok((Box::new(train), Box::new(eval)))
        }
        (None, Some(_)) => bail!("`eval_data` is given without `train_data`"),
        (None, None) => Ok((
            built_in("train", include_str!("data/train.jsonl"))?,
            built_in("eval", include_str!("data/eval.jsonl"))?,
        )),
    }
}

fn file(path: &Path, cancel: &CancelToken) -> Result<Preferences> {
    let rows = TextRows::open(path, cancel)?;
    let format = rows.format();
    ensure!(
        matches!(format, Format::Preference | Format::ImplicitPreference),
        "`{}` has rows of `{}`\nhint: a preference has `chosen` and `rejected`, and perhaps `prompt`",
        path.display(),
        format.required().join("`, `")
    );
    Ok(Box::new(rows))
}

fn built_in(name: &str, text: &str) -> Result<Preferences> {
    let row = |line: &str| {
        Row::parse(Format::Preference, &serde_json::from_str(line)?).map_err(anyhow::Error::msg)
    };
    let rows = text.lines().map(row).collect::<Result<Vec<_>>>()?;
    Ok(Box::new(Rows::new(rows).named(name)))
}
