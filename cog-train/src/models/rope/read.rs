//! Reading `rope_parameters`, or `rope_theta` and `rope_scaling`.

use super::config::{RopeConfig, Scaling, real};
use crate::error::counted;
use crate::models::keys::{Keys, nearest};

/// The scalings that are supported.
const SCALINGS: &[&str] = &["default", "dynamic", "linear", "llama3", "longrope", "su", "yarn"];

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
        let theta = keys.above_zero("rope_theta");
        let partial = keys.get::<f64>(&["partial_rotary_factor"]);
        // transformers takes the old object where both are there.
        let new = keys.object(&["rope_parameters"]);
        let inner = match keys.object(&["rope_scaling"]) {
            Some(old) => {
                if let Some(new) = new {
                    keys.close(new.without_values());
                }
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
        let theta = keys.above_zero("rope_theta").or(theta);
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

    /// Positions without a scaling.
    pub(crate) fn plain(theta: Option<f64>, defaults: &RopeDefaults) -> Self {
        let &RopeDefaults { width, max_positions, .. } = defaults;
        let theta = theta.unwrap_or(defaults.theta);
        Self { theta, scaling: Scaling::Default, width, max_positions }
    }
}

fn yarn(keys: &mut Keys, defaults: &RopeDefaults) -> Scaling {
    let original = real(original(keys, defaults).unwrap_or(defaults.max_positions));
    let factor = keys.above_zero("factor").unwrap_or(real(defaults.max_positions) / original);
    let (mscale, all) = (keys.get::<f64>(&["mscale"]), keys.get::<f64>(&["mscale_all_dim"]));
    let scale = |mscale: f64| if factor <= 1.0 { 1.0 } else { 0.1 * mscale * factor.ln() + 1.0 };
    let inferred = match (mscale, all) {
        (Some(mscale), Some(all)) if mscale != 0.0 && all != 0.0 => scale(mscale) / scale(all),
        _ => scale(1.0),
    };
    Scaling::Yarn {
        factor,
        beta_fast: keys.above_zero("beta_fast").unwrap_or(32.0),
        beta_slow: keys.above_zero("beta_slow").unwrap_or(1.0),
        attention_factor: keys.above_zero("attention_factor").unwrap_or(inferred),
        original,
        truncate: keys.get_or(&["truncate"], true),
    }
}

fn longrope(keys: &mut Keys, defaults: &RopeDefaults) -> Scaling {
    let original = original(keys, defaults).unwrap_or(defaults.max_positions);
    let grown = real(defaults.max_positions) / real(original);
    let factor: f64 = keys.above_zero("factor").unwrap_or(grown);
    let inferred =
        if factor <= 1.0 { 1.0 } else { (1.0 + factor.ln() / real(original).ln()).sqrt() };
    let mut factors = |name: &'static str| {
        let factors: Vec<f64> = keys.require(&[name]);
        let pairs = defaults.width / 2;
        if !factors.is_empty() && factors.len() != pairs {
            let (name, found) = (keys.name(name), factors.len());
            keys.problem(format!(
                "`{name}` has {}, and a head has {}",
                counted(found, "number"),
                counted(pairs, "pair")
            ));
        }
        factors
    };
    Scaling::LongRope {
        short: factors("short_factor"),
        long: factors("long_factor"),
        attention_factor: keys.above_zero("attention_factor").unwrap_or(inferred),
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
