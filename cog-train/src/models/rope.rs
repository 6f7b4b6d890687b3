//! The frequencies of rotary positions (Su et al., "RoFormer", 2021) and their scalings for longer texts, as transformers
//! defines them.

use std::f64::consts::TAU;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{Device, Tensor};
use cog_train_nn::Rope;

use super::keys::{Keys, nearest};

/// The scalings that are supported.
const SCALINGS: &[&str] = &["default", "dynamic", "linear", "llama3", "longrope", "su", "yarn"];

/// The rotary positions of a layer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RopeConfig {
    pub(crate) theta: f64,
    pub(crate) scaling: Scaling,
    /// Elements of a head.
    pub(crate) width: usize,
    pub(crate) max_positions: usize,
}

/// Changes of the frequencies for texts longer than those of the pretraining.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scaling {
    Default,
    Linear {
        factor: f64,
    },
    /// The base grows with the length (NTK-aware scaling).
    Dynamic {
        factor: f64,
    },
    /// Peng et al., "YaRN", 2023.
    Yarn {
        factor: f64,
        beta_fast: f64,
        beta_slow: f64,
        attention_factor: f64,
        original: f64,
        truncate: bool,
    },
    /// Ding et al., "LongRoPE", 2024: one list of factors for texts of the pretraining's length, one for longer ones.
    LongRope {
        short: Vec<f64>,
        long: Vec<f64>,
        attention_factor: f64,
        original: usize,
    },
    /// Llama 3.1's.
    Llama3 {
        factor: f64,
        low: f64,
        high: f64,
        original: f64,
    },
}

/// The sizes and defaults that a family reads its rotary positions with.
pub(crate) struct RopeDefaults {
    pub(crate) theta: f64,
    pub(crate) width: usize,
    pub(crate) max_positions: usize,
    /// A key of the whole file that takes precedence (Phi-3).
    pub(crate) original: Option<usize>,
}

impl RopeConfig {
    /// Reads `rope_parameters`, or `rope_theta` and `rope_scaling`.
    pub(crate) fn read(keys: &mut Keys, defaults: &RopeDefaults) -> Self {
        let theta = keys.get::<f64>(&["rope_theta"]);
        let partial = keys.get::<f64>(&["partial_rotary_factor"]);
        // transformers takes the old object where both are there.
        let new = keys.object(&["rope_parameters"]);
        let inner = match keys.object(&["rope_scaling"]) {
            Some(old) => {
                new.into_iter().for_each(|new| keys.close(new.without_values()));
                Some(old)
            }
            None => new,
        };
        let Some(mut inner) = inner else {
            whole(keys, partial);
            return Self::plain(theta, defaults);
        };
        let read = Self::of(&mut inner, theta, partial, defaults);
        keys.close(inner);
        read
    }

    /// Reads the object of one kind of layers.
    pub(crate) fn of(
        keys: &mut Keys,
        theta: Option<f64>,
        partial: Option<f64>,
        defaults: &RopeDefaults,
    ) -> Self {
        let theta = keys.get::<f64>(&["rope_theta"]).or(theta);
        let partial = keys.get::<f64>(&["partial_rotary_factor"]).or(partial);
        whole(keys, partial);
        let plain = Self::plain(theta, defaults);
        let kind = keys.get_or(&["rope_type", "type"], "default".to_owned());
        let max_positions = plain.max_positions;
        let scaling = match kind.as_str() {
            "default" => {
                keys.ignore(&["factor", "original_max_position_embeddings"]);
                Scaling::Default
            }
            "linear" => Scaling::Linear { factor: factor(keys) },
            "dynamic" => {
                keys.ignore(&["original_max_position_embeddings"]);
                Scaling::Dynamic { factor: factor(keys) }
            }
            "yarn" => yarn(keys, defaults),
            "longrope" | "su" => longrope(keys, defaults),
            "llama3" => Scaling::Llama3 {
                factor: factor(keys),
                low: positive(keys, "low_freq_factor"),
                high: positive(keys, "high_freq_factor"),
                original: real(original(keys, defaults).unwrap_or(max_positions)),
            },
            other => {
                let name = keys.name("rope_type");
                let near = nearest(other, SCALINGS.iter().copied());
                let near = near.map_or_else(
                    || format!("one of `{}`", SCALINGS.join("`, `")),
                    |near| format!("`{near}`"),
                );
                keys.problem(format!("`{name}` is `{other}`, not {near}"));
                Scaling::Default
            }
        };
        Self { scaling, ..plain }
    }

    fn plain(theta: Option<f64>, defaults: &RopeDefaults) -> Self {
        let &RopeDefaults { width, max_positions, .. } = defaults;
        let theta = theta.unwrap_or(defaults.theta);
        Self { theta, scaling: Scaling::Default, width, max_positions }
    }

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

fn yarn(keys: &mut Keys, defaults: &RopeDefaults) -> Scaling {
    let original = real(original(keys, defaults).unwrap_or(defaults.max_positions));
    let factor = keys.get(&["factor"]).unwrap_or(real(defaults.max_positions) / original);
    let (mscale, all) = (keys.get::<f64>(&["mscale"]), keys.get::<f64>(&["mscale_all_dim"]));
    let scale = |mscale: f64| if factor <= 1.0 { 1.0 } else { 0.1 * mscale * factor.ln() + 1.0 };
    let inferred = match (mscale, all) {
        (Some(mscale), Some(all)) if mscale != 0.0 && all != 0.0 => scale(mscale) / scale(all),
        _ => scale(1.0),
    };
    Scaling::Yarn {
        factor,
        beta_fast: keys.get_or(&["beta_fast"], 32.0),
        beta_slow: keys.get_or(&["beta_slow"], 1.0),
        attention_factor: keys.get_or(&["attention_factor"], inferred),
        original,
        truncate: keys.get_or(&["truncate"], true),
    }
}

fn longrope(keys: &mut Keys, defaults: &RopeDefaults) -> Scaling {
    let original = original(keys, defaults).unwrap_or(defaults.max_positions);
    let grown = real(defaults.max_positions) / real(original);
    let factor: f64 = keys.get(&["factor"]).unwrap_or(grown);
    let inferred =
        if factor <= 1.0 { 1.0 } else { (1.0 + factor.ln() / real(original).ln()).sqrt() };
    let mut factors = |name: &'static str| {
        let factors: Vec<f64> = keys.require(&[name]);
        let pairs = defaults.width / 2;
        if !factors.is_empty() && factors.len() != pairs {
            let (name, found) = (keys.name(name), factors.len());
            keys.problem(format!("`{name}` has {found} numbers, and a head has {pairs} pairs"));
        }
        factors
    };
    Scaling::LongRope {
        short: factors("short_factor"),
        long: factors("long_factor"),
        attention_factor: keys.get_or(&["attention_factor"], inferred),
        original,
    }
}

fn factor(keys: &mut Keys) -> f64 {
    positive(keys, "factor")
}

fn positive(keys: &mut Keys, name: &'static str) -> f64 {
    match keys.get::<f64>(&[name]) {
        Some(number) if number > 0.0 => number,
        found => {
            let (name, needed) = (keys.name(name), "a number above 0");
            let found = found.map_or_else(|| "missing".to_owned(), |number| number.to_string());
            keys.problem(format!("`{name}` is {found}, not {needed}"));
            1.0
        }
    }
}

/// The length of the pretraining's texts.
fn original(keys: &mut Keys, defaults: &RopeDefaults) -> Option<usize> {
    let within = keys.get::<usize>(&["original_max_position_embeddings"]);
    defaults.original.or(within).filter(|length| *length > 0)
}

/// Refuses to rotate only a part of each head.
fn whole(keys: &mut Keys, partial: Option<f64>) {
    if let Some(partial) = partial.filter(|partial| (partial - 1.0).abs() > f64::EPSILON) {
        let name = keys.name("partial_rotary_factor");
        keys.problem(format!("`{name}` is {partial}, and only 1 is supported"));
    }
}

#[expect(clippy::cast_precision_loss, reason = "positions and sizes are far below 2^53")]
fn real(count: usize) -> f64 {
    count as f64
}

#[expect(clippy::cast_possible_truncation, reason = "rounded as the models were trained")]
fn round(number: f64) -> f32 {
    number as f32
}
