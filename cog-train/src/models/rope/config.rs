//! Rotary positions and their scaling.

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

#[expect(clippy::cast_precision_loss, reason = "positions and sizes are far below 2^53")]
pub(super) fn real(count: usize) -> f64 {
    count as f64
}
