//! The type that a model computes in.

use candle_core::DType;
use serde_json::Value;

use crate::input::{Choice, Item, Kind};

/// The type that a model computes in. The values that are trained are 32-bit floats in every case; frozen ones are held in
/// this type alone. It is a [`Choice`](crate::Choice): an input of a trainer may have it as its type.
///
/// ```
/// use cog_train::candle_core::{DType, Device, Tensor};
/// use cog_train::engine::{Params, Precision};
///
/// let weight = Tensor::new(&[1.0f32, 0.001], &Device::Cpu)?;
/// let params = Params::new([("weight", weight)])?.precision(Precision::Bf16)?;
/// assert_eq!(params.tensors()["weight"].dtype(), DType::BF16); // what the model computes with
/// assert_eq!(params.masters()["weight"].to_vec1::<f32>()?, [1.0, 0.001]); // what is trained and saved
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
///
/// ```
/// use cog_train::engine::Precision;
/// use cog_train::prelude::*;
///
/// #[derive(Debug, TrainInputs)]
/// struct Inputs {
///     /// Type to compute in; trained values are kept in 32 bits
///     #[input(default = Precision::F32)]
///     precision: Precision, // -i precision=bf16
/// }
/// # drop(|inputs: Inputs| inputs.precision);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// bfloat16: the range of 32 bits with 8 bits of precision.
    Bf16,
    /// IEEE half: 11 bits of precision in a narrow range, so the loss is scaled (Micikevicius et al., "Mixed Precision
    /// Training", 2018).
    F16,
}

impl Precision {
    /// candle's name for it.
    #[must_use]
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
            Self::F16 => DType::F16,
        }
    }

    /// `f32`, `bf16` or `f16`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }
}

impl Choice for Precision {
    const NAMES: &'static [&'static str] = &["f32", "bf16", "f16"];

    fn from_name(name: &str) -> Option<Self> {
        [Self::F32, Self::Bf16, Self::F16].into_iter().find(|precision| precision.name() == name)
    }

    fn name(&self) -> &'static str {
        Self::name(*self)
    }
}

impl Item for Precision {
    const KIND: Kind = Kind::Choice(Self::NAMES);

    fn from_value(value: &Value) -> Option<Self> {
        Self::from_name(value.as_str()?)
    }
}
