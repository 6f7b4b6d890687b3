//! Tables of tides: `hour` of the day, `moon`'s age in days, `height` of the water in metres.

use std::f64::consts::TAU;
use std::path::Path;

use candle_core::{Device, Tensor};
use cog_train::candle_core;
use cog_train::prelude::*;
use cog_train::rng::Rng;

/// The features of a row.
pub const FEATURES: usize = 6;
/// From one new moon to the next.
const MONTH: f64 = 29.53;

/// Rows of hour, moon, height.
#[derive(Debug, Clone, PartialEq)]
pub struct Tides(Vec<[f64; 3]>);

impl Tides {
    /// From a CSV file, or the made-up harbour's table.
    pub fn read(file: Option<&Path>) -> Result<Self> {
        let Some(file) = file else { return Ok(Self::harbour()) };
        let name = file.display();
        let text =
            std::fs::read_to_string(file).with_context(|| format!("cannot read `{name}`"))?;
        Self::parse(&text).with_context(|| format!("`{name}` is not a table of tides"))
    }

    fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines();
        ensure!(
            lines.next() == Some("hour,moon,height"),
            "its first line is not `hour,moon,height`"
        );
        let row = |(at, line): (usize, &str)| {
            let numbers: Option<Vec<f64>> =
                line.split(',').map(|cell| cell.trim().parse().ok()).collect();
            numbers
                .and_then(|numbers| numbers.try_into().ok())
                .filter(|row: &[f64; 3]| row.iter().all(|number| number.is_finite()))
                .with_context(|| format!("line {} is not three numbers: `{line}`", at + 2))
        };
        let rows = lines.enumerate().map(row).collect::<Result<Vec<_>>>()?;
        ensure!(rows.len() >= 10, "10 rows are needed, and it has {}", rows.len());
        Ok(Self(rows))
    }

    /// 600 measurements: two tides a day, later and higher with the moon, and waves of some centimetres.
    fn harbour() -> Self {
        let mut stream = Rng::new(1, "harbour").at(0);
        let row = |_| {
            let (hour, moon) = (24.0 * stream.uniform(), MONTH * stream.uniform());
            let range = 1.5 + 0.5 * (2.0 * TAU * moon / MONTH).cos();
            let height = 2.0 + range * (2.0 * TAU * (hour / 24.0 - moon / MONTH)).cos();
            [hour, moon, height + 0.05 * stream.normal()]
        };
        Self((0..600).map(row).collect())
    }

    /// Every fifth row is held out.
    pub fn split(self) -> (Self, Self) {
        let (eval, train): (Vec<_>, Vec<_>) =
            self.0.into_iter().enumerate().partition(|(at, _)| at % 5 == 0);
        let rows =
            |rows: Vec<(usize, [f64; 3])>| Self(rows.into_iter().map(|(_, row)| row).collect());
        (rows(train), rows(eval))
    }

    /// Features [rows, `FEATURES`] and heights [rows, 1]. An hour and an age are points on a circle: 24 is 0 again.
    #[expect(clippy::cast_possible_truncation, reason = "the network computes in 32 bits")]
    pub fn tensors(&self, device: &Device) -> Result<(Tensor, Tensor)> {
        let features = |[hour, moon, _]: &[f64; 3]| {
            let (day, month) = (TAU * hour / 24.0, TAU * moon / MONTH);
            let circle = |angle: f64| [angle.sin() as f32, angle.cos() as f32];
            [circle(day), circle(2.0 * day), circle(2.0 * month)].concat()
        };
        let features: Vec<f32> = self.0.iter().flat_map(features).collect();
        let heights: Vec<f32> = self.0.iter().map(|[_, _, height]| *height as f32).collect();
        let rows = heights.len();
        Ok((
            Tensor::from_vec(features, (rows, FEATURES), device)?,
            Tensor::from_vec(heights, (rows, 1), device)?,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_three_numbers_a_line_under_its_header() {
        let good = format!("hour,moon,height\n{}", "1.5, 3,2.25\n".repeat(10));
        assert_eq!(Tides::parse(&good).unwrap(), Tides(vec![[1.5, 3.0, 2.25]; 10]));
        for (text, words) in [
            ("1,2,3\n", "`hour,moon,height`"),
            ("hour,moon,height\n1,2,3\n", "10 rows are needed, and it has 1"),
            ("hour,moon,height\n1,2,3\n1,2\n", "line 3 is not three numbers: `1,2`"),
            ("hour,moon,height\n1,x,3\n", "line 2"),
            ("hour,moon,height\n1,inf,3\n", "line 2"),
        ] {
            let error = Tides::parse(text).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_fifth_is_held_out_and_no_row_is_lost() {
        let all = Tides::harbour();
        let (train, eval) = all.clone().split();
        assert_eq!((train.0.len(), eval.0.len()), (480, 120));
        assert!(all.0.iter().all(|row| train.0.contains(row) != eval.0.contains(row)));
    }
}
