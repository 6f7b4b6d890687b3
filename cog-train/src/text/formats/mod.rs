//! Rows of a file, in one of the formats that are recognised by their keys.

mod content;
mod fields;
mod format;
mod preference;
mod row;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use serde_json::Value;

pub use self::content::Content;
pub use self::format::Format;
pub use self::row::{Label, Row};
use crate::data::{Csv, Dataset, Jsonl, Rows};
use crate::error::Error;
use crate::progress::CancelToken;

/// The rows of a file of JSON Lines, a JSON array, CSV, TSV or Parquet, in the [`Format`] of its first row.
///
/// All rows are validated when it is opened.
///
/// ```
/// use cog_train::CancelToken;
/// use cog_train::data::Dataset;
/// use cog_train::text::{Format, Row, TextRows};
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("train.jsonl");
/// std::fs::write(&path, "{\"text\": \"To be, or not to be\", \"id\": 1}\n")?;
/// let rows = TextRows::open(&path, &CancelToken::new())?;
/// assert_eq!(rows.format(), Format::Text);
/// assert_eq!(rows.item(0)?, Row::Text("To be, or not to be".to_owned()));
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
pub struct TextRows {
    values: Box<dyn Dataset<Item = Value>>,
    format: Format,
}

impl TextRows {
    /// Opens a file and reads it once, until the token is cancelled.
    ///
    /// # Errors
    ///
    /// [`Error::Data`] with the rows that cannot be used: keys of no format, with the nearest one, or a key that is not right;
    /// for a file of an unknown kind, and those of its reader; [`Error::File`]; [`Error::Cancelled`].
    pub fn open(path: impl AsRef<Path>, cancel: &CancelToken) -> Result<Self, Error> {
        let path = path.as_ref();
        let mut format = None;
        let mut check = |row: &Value| {
            let object = row.as_object().ok_or("not a JSON object")?;
            let known = match format {
                Some(known) => known,
                None => *format.insert(Format::of(object.keys().map(String::as_str))?),
            };
            Row::parse(known, row).map(drop)
        };
        let values: Box<dyn Dataset<Item = Value>> = match Kind::of(path)? {
            Kind::Lines => Box::new(Jsonl::open_checked(path, cancel, check)?),
            Kind::Array => Box::new(checked(array(path)?, cancel, check)?),
            Kind::Csv => {
                let rows = Csv::<BTreeMap<String, String>>::open_checked(path, cancel, |row| {
                    check(&object(row))
                })?;
                Box::new(rows.map(|row| Ok(object(&row))))
            }
            #[cfg(feature = "parquet")]
            Kind::Parquet => {
                let rows = crate::data::Parquet::<Value>::open_with(path, cancel)?;
                Box::new(checked(rows, cancel, check)?)
            }
        };
        let format = format.ok_or_else(|| refused(path, "it has no rows"))?;
        Ok(Self { values, format })
    }

    /// Returns the rows if they are in a format, for a task that needs it.
    ///
    /// # Errors
    ///
    /// [`Error::Data`] with the keys that the rows have and those that they need.
    pub fn require(self, format: Format) -> Result<Self, Error> {
        if self.format == format {
            return Ok(self);
        }
        let keys = |format: Format| {
            let keys: Vec<_> = format.required().iter().map(|key| format!("`{key}`")).collect();
            keys.join(" and ")
        };
        let (found, needed) = (keys(self.format), keys(format));
        let reason = format!("the rows have {found}, and this task needs {needed}");
        Err(Error::Data { location: self.location(0), reason })
    }

    /// Returns the format.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }
}

impl Dataset for TextRows {
    type Item = Row;

    fn len(&self) -> usize {
        self.values.len()
    }

    fn item(&self, index: usize) -> Result<Row, Error> {
        Row::parse(self.format, &self.values.item(index)?)
            .map_err(|reason| Error::Data { location: self.location(index), reason })
    }

    fn location(&self, index: usize) -> String {
        self.values.location(index)
    }

    fn digest(&self) -> Result<String, Error> {
        self.values.digest()
    }
}

enum Kind {
    Lines,
    Array,
    Csv,
    #[cfg(feature = "parquet")]
    Parquet,
}

impl Kind {
    /// The kind of a file by its extension, and of JSON by its first character.
    fn of(path: &Path) -> Result<Self, Error> {
        let extension = path.extension().and_then(|extension| extension.to_str());
        match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("csv" | "tsv") => return Ok(Self::Csv),
            #[cfg(feature = "parquet")]
            Some("parquet") => return Ok(Self::Parquet),
            #[cfg(not(feature = "parquet"))]
            Some("parquet") => {
                let reason = "this program cannot read Parquet files\n\
                              hint: build it with the feature `parquet`, or convert the file to JSON Lines";
                return Err(refused(path, reason));
            }
            Some("jsonl" | "ndjson") => return Ok(Self::Lines),
            _ => {}
        }
        let mut start = Vec::new();
        let file = std::fs::File::open(path).map_err(Error::file("read", path))?;
        file.take(4096).read_to_end(&mut start).map_err(Error::file("read", path))?;
        let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&start).trim_ascii_start();
        match text.first() {
            Some(b'[') => Ok(Self::Array),
            Some(b'{') => Ok(Self::Lines),
            None => Err(refused(path, "it is empty")),
            _ => Err(refused(
                path,
                "its rows are of no known kind\n\
                 hint: rows are read from `.jsonl`, `.json`, `.csv`, `.tsv` and `.parquet`",
            )),
        }
    }
}

fn refused(path: &Path, reason: &str) -> Error {
    Error::Data { location: path.display().to_string(), reason: reason.to_owned() }
}

fn object(row: &BTreeMap<String, String>) -> Value {
    row.iter().map(|(key, value)| (key.clone(), Value::String(value.clone()))).collect()
}

fn array(path: &Path) -> Result<Rows<Value>, Error> {
    let text = std::fs::read_to_string(path).map_err(Error::file("read", path))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let rows: Vec<Value> = serde_json::from_str(text)
        .map_err(|error| refused(path, &format!("not a JSON array: {error}")))?;
    Ok(Rows::new(rows).named(path.display().to_string()))
}

/// Validates all rows.
fn checked<D: Dataset<Item = Value>>(
    rows: D,
    cancel: &CancelToken,
    mut check: impl FnMut(&Value) -> Result<(), String>,
) -> Result<D, Error> {
    for index in 0..rows.len() {
        cancel.check()?;
        let location = || rows.location(index);
        check(&rows.item(index)?).map_err(|reason| Error::Data { location: location(), reason })?;
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_another_format_are_refused_with_the_keys_of_both() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows.jsonl");
        std::fs::write(&path, "{\"text\": \"a\", \"label\": \"b\"}\n").unwrap();
        let open = || TextRows::open(&path, &CancelToken::new()).unwrap();
        assert_eq!(open().require(Format::Labelled).unwrap().len(), 1);
        let error = open().require(Format::Pair).err().unwrap().to_string();
        let expected = "line 1`: the rows have `text` and `label`, and this task needs `anchor` and `positive`";
        assert!(error.ends_with(expected), "{error}");
    }
}
