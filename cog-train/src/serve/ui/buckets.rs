//! A curve of any number of points in a bounded number of buckets, in one pass.
//!
//! Each bucket holds the same number of points in a row: their least, greatest and mean value. When there are too many
//! buckets, each two become one. A bucket is narrower than a pixel where the plot has as many pixels as the caller's width, so
//! that the plot of the buckets is the plot of the points, and no spike is lost.

use serde_json::{Map, Value};

/// Points in a row of a curve.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    count: u64,
    first: f64,
    last: f64,
    sum: f64,
    min: f64,
    max: f64,
}

impl Bucket {
    fn of(x: f64, y: f64) -> Self {
        Self { count: 1, first: x, last: x, sum: y, min: y, max: y }
    }

    /// The bucket of this one's points and then the other's.
    fn join(self, next: Self) -> Self {
        Self {
            count: self.count + next.count,
            first: self.first,
            last: next.last,
            sum: self.sum + next.sum,
            min: self.min.min(next.min),
            max: self.max.max(next.max),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 points")]
    fn mean(&self) -> f64 {
        // A sum may overflow where its numbers do not.
        (self.sum / self.count as f64).clamp(self.min, self.max)
    }
}

/// A curve.
#[derive(Debug)]
pub(super) struct Buckets {
    width: usize,
    /// The points of a full bucket.
    stride: u64,
    kept: Vec<Bucket>,
    count: u64,
    not_finite: u64,
}

impl Buckets {
    /// An empty curve, which keeps at least `width` buckets once it has as many points, and at most twice as many.
    pub(super) fn new(width: usize) -> Self {
        Self { width, stride: 1, kept: Vec::new(), count: 0, not_finite: 0 }
    }

    /// Adds a point. One that is not finite is counted and cannot be drawn.
    pub(super) fn add(&mut self, x: f64, y: f64) {
        if !y.is_finite() {
            self.not_finite += 1;
            return;
        }
        self.count += 1;
        let point = Bucket::of(x, y);
        match self.kept.last_mut() {
            Some(last) if last.count < self.stride => *last = last.join(point),
            _ => {
                if self.kept.len() >= 2 * self.width {
                    self.halve();
                }
                self.kept.push(point);
            }
        }
    }

    fn halve(&mut self) {
        let pairs = self.kept.chunks(2).map(|pair| match pair {
            [first, second] => first.join(*second),
            _ => pair[0],
        });
        self.kept = pairs.collect();
        self.stride *= 2;
    }

    /// Returns `{"count", "not_finite", "x", "mean"}`, and `n`, `min` and `max` when a bucket has more than one point.
    pub(super) fn json(&self) -> Value {
        let column = |value: fn(&Bucket) -> f64| -> Value {
            self.kept.iter().map(|bucket| number(value(bucket))).collect()
        };
        let mut fields = Map::new();
        fields.insert("count".to_owned(), self.count.into());
        fields.insert("not_finite".to_owned(), self.not_finite.into());
        fields.insert("x".to_owned(), column(|it| f64::midpoint(it.first, it.last)));
        fields.insert("mean".to_owned(), column(Bucket::mean));
        if self.stride > 1 {
            fields.insert("min".to_owned(), column(|it| it.min));
            fields.insert("max".to_owned(), column(|it| it.max));
            fields.insert("n".to_owned(), self.kept.iter().map(|it| it.count).collect());
        }
        Value::Object(fields)
    }
}

/// A whole number without `.0`: half the bytes of most steps.
#[expect(clippy::cast_possible_truncation, reason = "a whole number of at most 54 bits")]
fn number(value: f64) -> Value {
    let is_whole = value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0;
    if is_whole { Value::from(value as i64) } else { Value::from(value) }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::float_cmp, reason = "extremes are points of the curve")]

    use super::*;

    fn curve(width: usize, points: &[(f64, f64)]) -> Value {
        let mut buckets = Buckets::new(width);
        for (x, y) in points {
            buckets.add(*x, *y);
        }
        buckets.json()
    }

    fn column(curve: &Value, name: &str) -> Vec<f64> {
        curve[name].as_array().unwrap().iter().map(|it| it.as_f64().unwrap()).collect()
    }

    /// A walk with a spike at each end and one within.
    fn walk(count: u32) -> Vec<(f64, f64)> {
        let value = |at: u32| match at {
            0 => -7.5,
            at if at == count - 1 => 12.25,
            at if at == count / 3 => 1e6,
            at => f64::from(at.wrapping_mul(2_654_435_761) % 1000) / 1000.0,
        };
        (0..count).map(|at| (f64::from(at), value(at))).collect()
    }

    #[test]
    fn few_points_are_kept_as_they_are() {
        for count in [1, 2, 9, 20] {
            let points = walk(count);
            let curve = curve(10, &points);
            let (x, y): (Vec<f64>, Vec<f64>) = points.into_iter().unzip();
            assert_eq!((column(&curve, "x"), column(&curve, "mean")), (x, y));
            assert!(curve.get("min").is_none());
        }
    }

    #[test]
    fn no_extreme_is_lost_and_no_bucket_is_empty() {
        for count in [21, 40, 41, 100, 1023, 5000] {
            let points = walk(count);
            let curve = curve(10, &points);
            let (min, max, mean) =
                (column(&curve, "min"), column(&curve, "max"), column(&curve, "mean"));
            assert!((10..=20).contains(&mean.len()), "{count} points make {} buckets", mean.len());
            assert_eq!(min.iter().copied().fold(f64::MAX, f64::min), -7.5);
            assert_eq!(max.iter().copied().fold(f64::MIN, f64::max), 1e6);
            let (mut rest, mut total) = (&points[..], 0.0);
            for (index, size) in curve["n"].as_array().unwrap().iter().enumerate() {
                let size = usize::try_from(size.as_u64().unwrap()).unwrap();
                let inner;
                (inner, rest) = rest.split_at(size);
                let least = inner.iter().map(|it| it.1).fold(f64::MAX, f64::min);
                let greatest = inner.iter().map(|it| it.1).fold(f64::MIN, f64::max);
                assert_eq!((min[index], max[index]), (least, greatest));
                total += mean[index] * f64::from(u32::try_from(size).unwrap());
            }
            assert!(rest.is_empty(), "{} points are in no bucket", rest.len());
            let expected: f64 = points.iter().map(|it| it.1).sum();
            assert!((total - expected).abs() < 1e-6 * expected.abs(), "{total} and {expected}");
            assert!(column(&curve, "x").is_sorted());
        }
    }

    #[test]
    fn points_that_are_not_finite_are_counted_and_spoil_no_bucket() {
        let points = [(0.0, f64::NAN), (1.0, f64::MAX), (2.0, f64::MAX), (3.0, f64::INFINITY)];
        let curve = curve(1, &points);
        assert_eq!((&curve["count"], &curve["not_finite"]), (&2.into(), &2.into()));
        let mut buckets = Buckets::new(1);
        (0..4).for_each(|x| buckets.add(f64::from(x), f64::MAX));
        assert_eq!(column(&buckets.json(), "mean"), [f64::MAX, f64::MAX]);
    }
}
