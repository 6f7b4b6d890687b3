//! `report.html` in a run's folder: one page about the run, without scripts and without a request to anywhere.
//!
//! It is made of the run's own files: `run.json`, `metrics.jsonl`, `samples.jsonl` and `log.txt`. `metrics.jsonl` is read once, line by line,
//! and a curve keeps at most some hundred points, so that a run of a million steps takes no more memory than a short one.

mod chart;
mod curves;
mod environment;
mod html;
mod samples;
mod tables;
mod text;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde_json::{Map, Value};

use self::curves::Curves;
use self::html::Page;
use crate::error::Error;
use crate::{partial, read};

/// The name of the page in the run's folder.
pub(crate) const REPORT: &str = "report.html";

/// Writes the report of the run in `dir`. `next` is the command that tries its result.
///
/// # Errors
///
/// [`Error::File`] when a file of the run cannot be read or the report not be written.
pub(crate) fn write(dir: &Path, next: Option<&str>) -> Result<(), Error> {
    let record = read::file(&dir.join("run.json"), read::JSON_BYTES)?;
    let record: Map<String, Value> = serde_json::from_slice(&record).unwrap_or_default();
    let page = page(dir, &record, next)?;
    let path = dir.join(REPORT);
    let staged = partial::file(dir, ".report-").map_err(Error::file("create", &path))?;
    fs::write(staged.path(), page).map_err(Error::file("write", &path))?;
    staged.persist(&path).map_err(|error| Error::file("write", &path)(error.error))?;
    Ok(())
}

fn page(dir: &Path, record: &Map<String, Value>, next: Option<&str>) -> Result<String, Error> {
    let curves = Curves::read(&dir.join("metrics.jsonl"))?;
    let mut page = Page::new(record.get("id").and_then(Value::as_str).unwrap_or("run"));
    tables::head(&mut page, record);
    tables::result(&mut page, record, next);
    tables::evaluations(&mut page, &curves);
    tables::confusion(&mut page, record);
    chart::all(&mut page, &curves);
    chart::sweep(&mut page, record);
    samples::all(&mut page, dir)?;
    tables::inputs(&mut page, record);
    environment::time_and_memory(&mut page, record, &curves);
    environment::machine(&mut page, record);
    log(&mut page, dir)?;
    Ok(page.finish())
}

/// The lines of the log that are shown, of its beginning (where a trainer reports its data) and of its end.
const LINES: usize = 60;

fn log(page: &mut Page, dir: &Path) -> Result<(), Error> {
    let path = dir.join("log.txt");
    let Ok(file) = fs::File::open(&path) else { return Ok(()) };
    let (mut first, mut last, mut lines) = (Vec::new(), std::collections::VecDeque::new(), 0);
    for line in BufReader::new(file).split(b'\n') {
        let line = line.map_err(Error::file("read", &path))?;
        let line = text::shortened(&String::from_utf8_lossy(&line), 2000);
        lines += 1;
        if first.len() < LINES {
            first.push(line);
        } else {
            if last.len() == LINES {
                last.pop_front();
            }
            last.push_back(line);
        }
    }
    if lines == 0 {
        return Ok(());
    }
    let between = lines - first.len() - last.len();
    if between > 0 {
        first.push(format!("… {between} lines …"));
    }
    first.extend(last);
    page.section("Log");
    let lines = first.iter().map(|line| text::columns_apart(line)).collect::<Vec<_>>();
    // Lines of a log begin at the left, whatever their first letter is.
    page.raw(&format!("<pre class=\"log\">{}</pre>\n", html::escaped(&lines.join("\n"))));
    Ok(())
}

#[cfg(test)]
mod tests;
