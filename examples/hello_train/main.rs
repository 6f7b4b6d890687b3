//! The smallest trainer is a function. This one fits a line to points by gradient descent.

use cog_train::prelude::*;
use cog_train::serde_json::{self, Value, json};

/// Fits a line to points
#[cog_train::train]
fn train(
    /// JSONL file with a point on each line: `{"x": 1.5, "y": 4.0}`
    points: Path,
    /// Steps of gradient descent
    #[input(default = 200, ge = 1)]
    steps: u64,
    /// Learning rate
    #[input(default = 0.1, ge = 0.0, le = 1.0)]
    learning_rate: f64,
    job: &mut Job,
) -> Result<Path> {
    let points = read(&points)?;
    let (mut slope, mut intercept) = (0.0, 0.0);
    for step in 1..=steps {
        job.check_cancelled()?;
        let [mut loss, mut by_slope, mut by_intercept, mut count] = [0.0; 4];
        for (x, y) in &points {
            let error = slope * x + intercept - y;
            loss += error * error;
            by_slope += 2.0 * error * x;
            by_intercept += 2.0 * error;
            count += 1.0;
        }
        slope -= learning_rate * by_slope / count;
        intercept -= learning_rate * by_intercept / count;
        job.metric("loss", step, loss / count);
        job.progress(step, steps);
    }
    job.line(format_args!("y = {slope:.2} x + {intercept:.2}"));
    let file = job.dir().join("line.json");
    std::fs::write(&file, json!({"slope": slope, "intercept": intercept}).to_string())?;
    Ok(file.into())
}

fn read(file: &Path) -> Result<Vec<(f64, f64)>> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read `{}`", file.display()))?;
    ensure!(!text.is_empty(), "`{}` is empty", file.display());
    let point = |(number, line)| {
        let point: Value = serde_json::from_str(line).unwrap_or_default();
        let point = point["x"].as_f64().zip(point["y"].as_f64());
        point.with_context(|| format!("line {number} is not {{\"x\": NUMBER, \"y\": NUMBER}}"))
    };
    (1..).zip(text.lines()).map(point).collect()
}

cog_train::run!(train, config = "cog.yaml");

#[cfg(test)]
#[test]
fn points_on_a_line_give_the_line() {
    let dir = tempfile::tempdir().unwrap();
    let points = dir.path().join("points.jsonl");
    std::fs::write(&points, "{\"x\": -1, \"y\": -1}\n{\"x\": 0, \"y\": 1}\n{\"x\": 1, \"y\": 3}\n")
        .unwrap();
    let file = train(points.into(), 200, 0.1, &mut Job::for_test(dir.path())).unwrap();
    let line: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    for (name, expected) in [("slope", 2.0), ("intercept", 1.0)] {
        assert!((line[name].as_f64().unwrap() - expected).abs() < 1e-6, "{line}");
    }
}
