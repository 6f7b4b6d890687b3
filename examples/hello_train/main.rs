//! The smallest trainer: a function. It fits a line through points by gradient descent.

use cog_train::prelude::*;
use cog_train::serde_json::{self, Value, json};

#[cog_train::train]
fn train(
    /// JSONL file of points: `{"x": 1.5, "y": 4.0}` on each line
    points: Path,
    #[input(description = "Steps down the slope", default = 200, ge = 1)] steps: u64,
    #[input(description = "How far each step goes", default = 0.1, ge = 0.0, le = 1.0)]
    learning_rate: f64,
    job: &mut Job,
) -> Result<Path> {
    let points = read(&points)?;
    let (mut slope, mut intercept) = (0.0, 0.0);
    for step in 1..=steps {
        job.check_cancelled()?;
        let mean = |f: &dyn Fn(f64, f64) -> f64| {
            points.iter().map(|(x, y)| f(*x, slope * x + intercept - y)).sum::<f64>() / points.len() as f64
        };
        let (loss, down_slope, down_intercept) = (mean(&|_, e| e * e), mean(&|x, e| 2.0 * e * x), mean(&|_, e| 2.0 * e));
        slope -= learning_rate * down_slope;
        intercept -= learning_rate * down_intercept;
        job.metric("loss", step, loss);
        job.progress(step, steps);
    }
    job.line(format_args!("y = {slope:.2} x + {intercept:.2}"));
    let file = job.dir().join("line.json");
    std::fs::write(&file, json!({"slope": slope, "intercept": intercept}).to_string())?;
    Ok(file.into())
}

fn read(path: &Path) -> Result<Vec<(f64, f64)>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let point = |(at, line): (usize, &str)| -> Result<(f64, f64)> {
        let point: Value = serde_json::from_str(line).with_context(|| format!("line {} is not JSON", at + 1))?;
        point["x"].as_f64().zip(point["y"].as_f64()).with_context(|| format!("line {} has no numbers `x` and `y`", at + 1))
    };
    let points = text.lines().enumerate().map(point).collect::<Result<Vec<_>>>()?;
    ensure!(!points.is_empty(), "`{}` has no points", path.display());
    Ok(points)
}

cog_train::run!(train, config = "cog.yaml");
