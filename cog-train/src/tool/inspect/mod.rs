//! `inspect`: the tensors, metadata and digests of weights, without loading them.

mod describe;
mod open;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::args::InspectArgs;
use crate::cli::table_text;
use crate::error::{Error, counted, printable};
use crate::fetch::digest_of;
use crate::message::{human, printable_start};
use crate::progress::{CancelToken, Report};
use crate::table::{Align, Table};

/// The most tensors, and the most values of metadata, that are listed without `--all`.
const MOST: usize = 40;
/// Files of this size take seconds to digest.
const LARGE: u64 = 1 << 30;
/// The characters of a value of metadata that are shown without `--all`.
const SHORT: usize = 100;

/// Weights, described.
struct Found {
    /// `a safetensors file`, `a checkpoint at step 120`.
    what: String,
    /// The metadata of the files and of the settings beside them.
    metadata: Map<String, Value>,
    tensors: Vec<Tensor>,
    files: Vec<Digested>,
    /// The name of their digests: `sha256`, and `xxh3` of a checkpoint.
    digest: &'static str,
    /// The digests are those that a manifest records.
    is_verified: bool,
}

/// A tensor as its file describes it.
struct Tensor {
    /// With the file before a colon, where one name is in several.
    name: String,
    dtype: String,
    shape: Vec<usize>,
    bytes: u64,
}

impl Tensor {
    fn elements(&self) -> u64 {
        self.shape.iter().map(|size| *size as u64).product()
    }
}

/// A file with its size and its digest.
struct Digested {
    path: PathBuf,
    bytes: u64,
    digest: String,
}

/// Describes weights as a text or as one JSON object.
pub(super) fn inspect(args: &InspectArgs, report: &mut dyn Report) -> Result<String, Error> {
    let found = open::open(&args.source, report)?;
    Ok(if args.json { json(args, &found) } else { text(args, &found) })
}

/// Digests files by SHA-256.
fn digest(files: &[PathBuf], report: &mut dyn Report) -> Result<Vec<Digested>, Error> {
    let sizes = files
        .iter()
        .map(|path| std::fs::metadata(path).map(|it| it.len()).map_err(Error::file("read", path)));
    let sizes: Vec<u64> = sizes.collect::<Result<_, _>>()?;
    let (mut digested, mut done, total) = (Vec::new(), 0, sizes.iter().sum());
    for (path, bytes) in files.iter().zip(sizes) {
        if total >= LARGE {
            report.progress("bytes", done, total);
        }
        let digest = digest_of(path, &CancelToken::new())?;
        done += bytes;
        digested.push(Digested { path: path.clone(), bytes, digest });
    }
    if total >= LARGE {
        report.progress("bytes", done, total);
    }
    Ok(digested)
}

/// Sums over tensors.
struct Totals {
    parameters: u64,
    bytes: u64,
    /// The elements of each dtype, the most frequent first.
    dtypes: Vec<(String, u64)>,
}

impl Totals {
    fn of(tensors: &[Tensor]) -> Self {
        let mut dtypes: Vec<(String, u64)> = Vec::new();
        for tensor in tensors {
            match dtypes.iter_mut().find(|(dtype, _)| *dtype == tensor.dtype) {
                Some((_, count)) => *count += tensor.elements(),
                None => dtypes.push((tensor.dtype.clone(), tensor.elements())),
            }
        }
        dtypes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        Self {
            parameters: tensors.iter().map(Tensor::elements).sum(),
            bytes: tensors.iter().map(|tensor| tensor.bytes).sum(),
            dtypes,
        }
    }
}

fn json(args: &InspectArgs, found: &Found) -> String {
    let totals = Totals::of(&found.tensors);
    let tensors = found.tensors.iter().map(
        |it| json!({"name": it.name, "dtype": it.dtype, "shape": it.shape, "bytes": it.bytes}),
    );
    let files = found.files.iter().map(|file| {
        json!({"path": file.path.display().to_string(), "bytes": file.bytes, (found.digest): file.digest})
    });
    let object = json!({
        "source": args.source,
        "kind": found.what,
        "metadata": found.metadata,
        "tensors": tensors.collect::<Vec<_>>(),
        "parameters": totals.parameters,
        "bytes": totals.bytes,
        "files": files.collect::<Vec<_>>(),
    });
    format!("{object:#}\n")
}

fn text(args: &InspectArgs, found: &Found) -> String {
    let most = if args.all { usize::MAX } else { MOST };
    let mut text = format!("{}: {}\n", printable(&args.source), found.what);
    let is_said = |value: &Value| match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => true,
    };
    // Settings of transformers and PEFT are written with all that is not set.
    let metadata: Vec<_> =
        found.metadata.iter().filter(|(_, value)| args.all || is_said(value)).collect();
    if !metadata.is_empty() {
        let mut table = Table::new([("metadata", Align::Left), ("", Align::Left)]);
        let short = if args.all { usize::MAX } else { SHORT };
        for (name, value) in metadata.iter().take(most) {
            table.row([printable(name), value_text(value, short)]);
        }
        let _ = write!(text, "\n{}", table_text(&table));
        text += &more(metadata.len(), most, "value");
    }
    let mut table = Table::new([
        ("tensor", Align::Left),
        ("dtype", Align::Left),
        ("shape", Align::Left),
        ("size", Align::Right),
    ]);
    for tensor in found.tensors.iter().take(most) {
        let shape: Vec<String> = tensor.shape.iter().map(ToString::to_string).collect();
        table.row([
            printable(&tensor.name),
            tensor.dtype.clone(),
            format!("[{}]", shape.join(", ")),
            human(tensor.bytes),
        ]);
    }
    let _ = write!(text, "\n{}", table_text(&table));
    text += &more(found.tensors.len(), most, "tensor");
    let _ = write!(text, "\n{}\n", total(&found.tensors));
    let mut table =
        Table::new([("file", Align::Left), ("size", Align::Right), (found.digest, Align::Whole)]);
    for file in &found.files {
        table.row([name_of(&file.path), human(file.bytes), file.digest.clone()]);
    }
    let _ = write!(text, "\n{}", table_text(&table));
    if found.is_verified {
        text += "\nevery file has the size and the digest that the manifest records\n";
    }
    text
}

/// `39 tensors, 12,345,678 parameters, 47.1 MiB: F32 99%, I64 1%`.
fn total(tensors: &[Tensor]) -> String {
    let Totals { parameters, bytes, dtypes } = Totals::of(tensors);
    let tensors = counted(tensors.len(), "tensor");
    let mut text = format!("{tensors}, {} parameters, {}", grouped(parameters), human(bytes));
    if let [(_, _), _, ..] = dtypes.as_slice() {
        let share = |count: u64| (count * 1000 / parameters.max(1)).div_ceil(10);
        let shares = dtypes.iter().map(|(dtype, count)| format!("{dtype} {}%", share(*count)));
        let _ = write!(text, ": {}", shares.collect::<Vec<_>>().join(", "));
    }
    text
}

/// `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev();
    groups.map(|group| String::from_utf8_lossy(group)).collect::<Vec<_>>().join(",")
}

fn more(count: usize, most: usize, noun: &str) -> String {
    match count.checked_sub(most) {
        Some(rest @ 1..) => {
            let rest = counted(rest, &format!("more {noun}"));
            format!("... and {rest}; `--all` lists them\n")
        }
        _ => String::new(),
    }
}

fn value_text(value: &Value, short: usize) -> String {
    match value {
        Value::String(text) => printable_start(text, short),
        other => printable_start(&other.to_string(), short),
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| printable(name.to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (12_345_678, "12,345,678")]
        {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn totals_name_each_dtype_once() {
        let tensor = |dtype: &str, shape: &[usize], bytes| Tensor {
            name: String::new(),
            dtype: dtype.to_owned(),
            shape: shape.to_owned(),
            bytes,
        };
        let mut tensors = vec![tensor("F32", &[2, 3], 24), tensor("F32", &[], 4)];
        assert_eq!(total(&tensors), "2 tensors, 7 parameters, 28 B");
        tensors.push(tensor("I64", &[93], 744));
        assert_eq!(total(&tensors), "3 tensors, 100 parameters, 772 B: I64 93%, F32 7%");
    }
}
