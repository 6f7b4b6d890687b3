//! The curves of a run from `metrics.jsonl`, each in a bounded number of points.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::Path;

use serde_json::{Map, Value};

use crate::error::Error;
use crate::progress::number_of;

/// The most curves of a report.
const CURVES: usize = 60;
/// The most buckets of a curve; when they are full, each two become one.
const BUCKETS: usize = 400;

/// Consecutive points of a curve.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    /// The step of the last point.
    pub(super) step: f64,
    pub(super) least: f64,
    pub(super) most: f64,
    sum: f64,
    count: u32,
}

impl Bucket {
    pub(super) fn mean(&self) -> f64 {
        self.sum / f64::from(self.count)
    }

    fn join(self, next: Self) -> Self {
        Self {
            step: next.step,
            least: self.least.min(next.least),
            most: self.most.max(next.most),
            sum: self.sum + next.sum,
            count: self.count + next.count,
        }
    }
}

/// A curve.
#[derive(Debug, Clone)]
pub(super) struct Curve {
    pub(super) buckets: Vec<Bucket>,
    /// The points of a whole bucket.
    width: u32,
    pub(super) first: (f64, f64),
    pub(super) last: (f64, f64),
    /// The lowest and the highest value, with their steps.
    pub(super) lowest: (f64, f64),
    pub(super) highest: (f64, f64),
    pub(super) points: u64,
    sum: f64,
}

impl Curve {
    /// A curve of one finite point.
    fn new(step: f64, value: f64) -> Self {
        let at = (step, value);
        let mut curve = Self {
            buckets: Vec::new(),
            width: 1,
            first: at,
            last: at,
            lowest: at,
            highest: at,
            points: 0,
            sum: 0.0,
        };
        curve.add(step, value);
        curve
    }

    /// A curve of finite points; `None` without any.
    pub(super) fn of(points: impl IntoIterator<Item = (f64, f64)>) -> Option<Self> {
        let mut points = points.into_iter();
        let (step, value) = points.next()?;
        let mut curve = Self::new(step, value);
        points.for_each(|(step, value)| curve.add(step, value));
        Some(curve)
    }

    /// Adds a point, which must be finite.
    fn add(&mut self, step: f64, value: f64) {
        self.points += 1;
        self.sum += value;
        self.last = (step, value);
        if value < self.lowest.1 {
            self.lowest = (step, value);
        }
        if value > self.highest.1 {
            self.highest = (step, value);
        }
        let point = Bucket { step, least: value, most: value, sum: value, count: 1 };
        match self.buckets.last_mut() {
            Some(last) if last.count < self.width => *last = last.join(point),
            _ => self.buckets.push(point),
        }
        if self.buckets.len() > BUCKETS {
            self.width *= 2;
            let joined = self.buckets.chunks(2).map(|pair| match *pair {
                [one, two] => one.join(two),
                _ => pair[0],
            });
            self.buckets = joined.collect();
        }
    }

    pub(super) fn mean(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "points are far fewer than 2^53")]
        let points = self.points as f64;
        self.sum / points
    }
}

/// All curves by name.
#[derive(Debug, Default)]
pub(super) struct Curves {
    pub(super) of: BTreeMap<String, Curve>,
    /// Whether there are metrics beyond the most curves.
    pub(super) is_cut: bool,
}

impl Curves {
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Error::file("read", path)(error)),
        };
        let mut curves = Self::default();
        let mut reader = BufReader::with_capacity(1 << 18, file);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).map_err(Error::file("read", path))? > 0 {
            if let Ok(values) = serde_json::from_slice::<Map<String, Value>>(&line) {
                curves.add(&values);
            }
            line.clear();
        }
        Ok(curves)
    }

    fn add(&mut self, values: &Map<String, Value>) {
        let Some(step) = values.get("step").and_then(Value::as_f64) else { return };
        for (name, value) in values {
            let is_full = self.of.len() == CURVES;
            let Some(value) = number_of(value).filter(|it| it.is_finite() && name != "step") else {
                continue;
            };
            match self.of.get_mut(name) {
                Some(curve) => curve.add(step, value),
                None if is_full => self.is_cut = true,
                None => drop(self.of.insert(name.clone(), Curve::new(step, value))),
            }
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Curve> {
        self.of.get(name)
    }
}
