//! The tables of a report: what the run was, its result, its evaluations and its inputs.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::curves::Curves;
use super::html::{Page, escaped};
use super::text::{number, value};

fn field<'a>(record: &'a Map<String, Value>, name: &str) -> &'a str {
    record.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A point in time without its fraction of a second.
fn moment(text: &str) -> String {
    text.split('.').next().unwrap_or_default().replace('T', " ") + " UTC"
}

pub(super) fn head(page: &mut Page, record: &Map<String, Value>) {
    let status = field(record, "status");
    let (name, id) = (field(record, "trainer"), field(record, "id"));
    let title = if name.is_empty() { id } else { name };
    page.raw(&format!(
        "<header><h1 dir=\"auto\">{}</h1><span class=\"status {1}\">{1}</span><p class=\"soft\"><bdi>{2}</bdi> · {3}</p></header>\n",
        escaped(title),
        escaped(status),
        escaped(id),
        escaped(&moment(field(record, "started_at"))),
    ));
    let error = field(record, "error");
    if !error.is_empty() {
        page.element("pre", "error", error);
    }
}

pub(super) fn result(page: &mut Page, record: &Map<String, Value>, next: Option<&str>) {
    let output = record.get("output").unwrap_or(&Value::Null);
    if output.is_null() {
        return;
    }
    page.section("Result");
    let rows: Vec<Vec<String>> = match output {
        Value::Object(fields) => {
            let present = fields.iter().filter(|(_, value)| !value.is_null());
            present.map(|(name, it)| vec![name.clone(), value(it)]).collect()
        }
        other => vec![vec!["output".to_owned(), value(other)]],
    };
    page.table("plain", &[], &rows);
    if let Some(next) = next {
        page.element("p", "soft", "Try it:");
        page.element("pre", "", next);
    }
}

/// The first, the lowest, the highest and the last value of each metric of evaluations, with their steps.
pub(super) fn evaluations(page: &mut Page, curves: &Curves) {
    let evals =
        || curves.of.iter().filter_map(|(name, it)| Some((name.strip_prefix("eval_")?, it)));
    if evals().next().is_none() {
        return;
    }
    page.section("Evaluation");
    let head = ["", "first", "lowest", "highest", "last"].map(str::to_owned);
    let row = |(name, curve): (&str, &super::curves::Curve)| {
        let at = |(step, value): (f64, f64)| format!("{} (step {step:.0})", number(value));
        let values = [curve.first, curve.lowest, curve.highest, curve.last].map(at);
        [vec![name.to_owned()], values.to_vec()].concat()
    };
    page.table("numbers", &head, &evals().map(row).collect::<Vec<_>>());
}

pub(super) fn confusion(page: &mut Page, record: &Map<String, Value>) {
    let Some(matrix) = record.get("metrics").and_then(|it| it.get("confusion_matrix")) else {
        return;
    };
    let counts: Vec<Vec<f64>> =
        serde_json::from_value(matrix["counts"].clone()).unwrap_or_default();
    let labels: Vec<String> = serde_json::from_value(matrix["labels"].clone()).unwrap_or_default();
    if counts.is_empty() || counts.iter().any(|row| row.len() != counts.len()) {
        return;
    }
    let label = |at: usize| labels.get(at).cloned().unwrap_or_else(|| at.to_string());
    page.section("Confusion matrix");
    page.element(
        "p",
        "soft",
        "Rows are true classes, columns predicted ones; shades are shares of a row.",
    );
    let head = (0..counts.len()).map(|at| format!("<th dir=\"auto\">{}</th>", escaped(&label(at))));
    let mut markup = format!(
        "<div class=\"wide\"><table class=\"matrix\"><thead><tr><th></th>{}<th>recall</th></tr></thead><tbody>\n",
        head.collect::<String>()
    );
    for (at, row) in counts.iter().enumerate() {
        let all: f64 = row.iter().sum();
        let share = |count: f64| if all > 0.0 { count / all } else { 0.0 };
        let cells = row.iter().map(|count| {
            let percent = 100.0 * share(*count);
            format!("<td style=\"--shade:{percent:.0}%\">{count:.0}</td>")
        });
        let _ = writeln!(
            markup,
            "<tr><th dir=\"auto\">{}</th>{}<td class=\"sum\">{:.3}</td></tr>",
            escaped(&label(at)),
            cells.collect::<String>(),
            share(row[at])
        );
    }
    let precision = (0..counts.len()).map(|at| {
        let all: f64 = counts.iter().map(|row| row[at]).sum();
        let share = if all > 0.0 { counts[at][at] / all } else { 0.0 };
        format!("<td class=\"sum\">{share:.3}</td>")
    });
    let _ = writeln!(
        markup,
        "<tr><th>precision</th>{}<td></td></tr></tbody></table></div>",
        precision.collect::<String>()
    );
    page.raw(&markup);
}

pub(super) fn inputs(page: &mut Page, record: &Map<String, Value>) {
    let Some(inputs) = record.get("inputs").and_then(Value::as_object) else { return };
    page.section("Inputs");
    let head = ["input", "value", "origin", "SHA-256"].map(str::to_owned);
    let row = |(name, input): (&String, &Value)| {
        let files = input.get("files").and_then(Value::as_array).into_iter().flatten();
        let digests =
            files.filter_map(|file| Some(file.get("sha256")?.as_str()?.get(..12)?.to_owned()));
        let (shown, origin) = (value(&input["value"]), value(&input["origin"]));
        vec![name.clone(), shown, origin, digests.collect::<Vec<_>>().join(", ")]
    };
    let mut rows: Vec<Vec<String>> = inputs.iter().map(row).collect();
    if let Some(seed) = record.get("seed").filter(|_| !inputs.contains_key("seed")) {
        rows.push(vec![
            "seed".to_owned(),
            value(&seed["value"]),
            value(&seed["origin"]),
            String::new(),
        ]);
    }
    page.table("plain", &head, &rows);
}
