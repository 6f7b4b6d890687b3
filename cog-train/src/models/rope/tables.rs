//! Frequencies, and tables of cosines and sines.

use std::f64::consts::TAU;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{Device, Tensor};
use cog_train_nn::Rope;

use super::config::{RopeConfig, Scaling, real};

impl RopeConfig {
    /// The factor of all cosines and sines.
    fn attention_factor(&self) -> f64 {
        match self.scaling {
            Scaling::Yarn { attention_factor, .. } | Scaling::LongRope { attention_factor, .. } => {
                attention_factor
            }
            _ => 1.0,
        }
    }

    /// The angle of each pair per position, in a text of `length` positions.
    ///
    /// Every operation is rounded to 32 bits, as PyTorch does it: a frequency that is off by one unit in the last place turns
    /// position 1,000 by 6e-5.
    fn frequencies(&self, length: usize) -> Vec<f32> {
        let power = |theta: f64| {
            move |pair: usize| {
                let exponent = round(real(2 * pair)) / round(real(self.width));
                round(theta.powf(f64::from(exponent)))
            }
        };
        let pairs = 0..self.width / 2;
        let powers = pairs.clone().map(power(self.theta));
        match &self.scaling {
            Scaling::Default => powers.map(f32::recip).collect(),
            Scaling::Linear { factor } => {
                powers.map(|power| power.recip() / round(*factor)).collect()
            }
            Scaling::Dynamic { factor } => {
                let (width, most) = (real(self.width), real(self.max_positions));
                let grown = factor * real(length.max(self.max_positions)) / most - (factor - 1.0);
                let theta = self.theta * grown.powf(width / (width - 2.0));
                pairs.map(power(theta)).map(f32::recip).collect()
            }
            Scaling::Yarn { factor, .. } => pairs
                .zip(powers)
                .map(|(pair, power)| {
                    let kept = round(self.extrapolated(pair));
                    (round(*factor) * power).recip() * (1.0 - kept) + power.recip() * kept
                })
                .collect(),
            Scaling::LongRope { short, long, original, .. } => {
                let factors = if length > *original { long } else { short };
                powers
                    .zip(factors)
                    .map(|(power, factor)| (round(*factor) * power).recip())
                    .collect()
            }
            Scaling::Llama3 { factor, low, high, original } => {
                let [factor, low, high, original] =
                    [factor, low, high, original].map(|it| round(*it));
                let scaled = |power: f32| {
                    let frequency = power.recip();
                    let turns = original / (round(TAU) / frequency);
                    if turns > high {
                        frequency
                    } else if turns < low {
                        frequency / factor
                    } else {
                        let smooth = (turns - low) / (high - low);
                        (1.0 - smooth) * frequency / factor + smooth * frequency
                    }
                };
                powers.map(scaled).collect()
            }
        }
    }

    /// YaRN's share of a pair's own frequency: 1 for the fast ones, which turn often within the pretraining's length.
    fn extrapolated(&self, pair: usize) -> f64 {
        let Scaling::Yarn { beta_fast, beta_slow, original, truncate, .. } = self.scaling else {
            return 1.0;
        };
        let width = real(self.width);
        let dim = |turns: f64| width * (original / (turns * TAU)).ln() / (2.0 * self.theta.ln());
        let (mut low, mut high) = (dim(beta_fast), dim(beta_slow));
        if truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        let (low, mut high) = (low.max(0.0), high.min(width - 1.0));
        if low.total_cmp(&high).is_eq() {
            high += 0.001;
        }
        1.0 - ((real(pair) - low) / (high - low)).clamp(0.0, 1.0)
    }

    /// Texts of lengths with one variant have the same frequencies.
    fn variant(&self, length: usize) -> usize {
        match self.scaling {
            Scaling::Dynamic { .. } => length.max(self.max_positions),
            Scaling::LongRope { original, .. } => usize::from(length > original),
            _ => 0,
        }
    }
}

/// The tables of cosines and sines of a configuration, made as far as a text needs them.
#[derive(Debug, Clone)]
pub(crate) struct Rotary {
    config: RopeConfig,
    device: Device,
    tables: Arc<Mutex<Option<Tables>>>,
}

#[derive(Debug)]
struct Tables {
    variant: usize,
    length: usize,
    rope: Rope,
}

impl Rotary {
    pub(crate) fn new(config: RopeConfig, device: &Device) -> Self {
        Self { config, device: device.clone(), tables: Arc::default() }
    }

    /// Texts of lengths with one variant have the same frequencies.
    pub(crate) fn variant(&self, length: usize) -> usize {
        self.config.variant(length)
    }

    /// Returns the tables for a text of `length` positions.
    ///
    /// # Errors
    ///
    /// candle's error when the device fails.
    pub(crate) fn rope(&self, length: usize) -> Result<Rope, candle_core::Error> {
        let variant = self.config.variant(length);
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tables) = tables.as_ref()
            && tables.variant == variant
            && length <= tables.length
        {
            return Ok(tables.rope.clone());
        }
        let frequencies = self.config.frequencies(length);
        // Some more rows, so that a text that grows by one does not compute them all again.
        let rows = length.next_multiple_of(256);
        let factor = self.config.attention_factor();
        // Angles are products of 32 bits, as transformers computes them.
        let angles: Vec<f64> = (0..rows)
            .flat_map(|position| {
                let position = round(real(position));
                frequencies.iter().map(move |frequency| f64::from(position * frequency))
            })
            .collect();
        let table = |function: fn(f64) -> f64| {
            let values = angles.iter().map(|angle| round(function(*angle) * factor)).collect();
            Tensor::from_vec(values, (rows, frequencies.len()), &self.device)
        };
        let rope = Rope::from_tables(table(f64::cos)?, table(f64::sin)?);
        *tables = Some(Tables { variant, length: rows, rope: rope.clone() });
        Ok(rope)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "rounded as the models were trained")]
fn round(number: f64) -> f32 {
    number as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ```python
    /// for theta, width in ((100000.0, 64), (500000.0, 128)):
    ///     inverse = 1.0 / (theta ** (torch.arange(0, width, 2).float() / width))
    ///     print(inverse[1::5].view(torch.int32).tolist())
    /// ```
    #[test]
    fn frequencies_have_the_bits_of_pytorch() {
        let of = |theta, width| {
            let config =
                RopeConfig { theta, scaling: Scaling::Default, width, max_positions: 2048 };
            let bits = |frequency: &f32| frequency.to_bits();
            config.frequencies(16).iter().skip(1).step_by(5).map(bits).collect::<Vec<_>>()
        };
        assert_eq!(
            of(100_000.0, 64),
            [
                1_060_283_654,
                1_038_909_398,
                1_016_892_311,
                995_049_016,
                973_680_130,
                951_425_819,
                930_114_413
            ]
        );
        assert_eq!(
            of(500_000.0, 128),
            [
                1_062_243_009,
                1_049_992_931,
                1_037_480_348,
                1_025_116_360,
                1_012_729_580,
                1_000_248_322,
                987_991_056,
                975_389_069,
                963_265_135,
                950_538_859,
                938_552_192,
                925_697_959,
                913_852_610
            ]
        );
    }
}
