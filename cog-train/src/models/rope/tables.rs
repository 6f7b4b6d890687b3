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
    fn frequencies(&self, length: usize) -> Vec<f32> {
        let pairs = self.width / 2;
        let slower =
            |theta: f64| move |pair: usize| 1.0 / theta.powf(real(2 * pair) / real(self.width));
        let plain = slower(self.theta);
        let pairs = 0..pairs;
        let frequencies: Vec<f64> = match &self.scaling {
            Scaling::Default => pairs.map(plain).collect(),
            Scaling::Linear { factor } => pairs.map(|pair| plain(pair) / factor).collect(),
            Scaling::Dynamic { factor } => {
                let (width, most) = (real(self.width), real(self.max_positions));
                let grown = factor * real(length.max(self.max_positions)) / most - (factor - 1.0);
                pairs.map(slower(self.theta * grown.powf(width / (width - 2.0)))).collect()
            }
            Scaling::Yarn { factor, .. } => pairs
                .map(|pair| {
                    let kept = self.extrapolated(pair);
                    plain(pair) * (kept + (1.0 - kept) / factor)
                })
                .collect(),
            Scaling::LongRope { short, long, original, .. } => {
                let factors = if length > *original { long } else { short };
                pairs.zip(factors).map(|(pair, factor)| plain(pair) / factor).collect()
            }
            Scaling::Llama3 { factor, low, high, original } => pairs
                .map(|pair| {
                    let frequency = plain(pair);
                    let turns = original * frequency / TAU;
                    if turns > *high {
                        frequency
                    } else if turns < *low {
                        frequency / factor
                    } else {
                        let smooth = (turns - low) / (high - low);
                        frequency * ((1.0 - smooth) / factor + smooth)
                    }
                })
                .collect(),
        };
        frequencies.into_iter().map(round).collect()
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
