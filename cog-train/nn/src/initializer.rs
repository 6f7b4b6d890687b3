//! Initial values of parameters.

use candle_core::{DType, Device, Error, Shape, Tensor};

use crate::rng::Stream;

/// The distribution of a parameter's initial values, as in PyTorch's `torch.nn.init`.
///
/// A *fan-in* is the number of inputs that each output sums up, and a *fan-out* the reverse: of a weight `[out, in, ..]`,
/// `in` and `out` times the size of the kernel behind them. `gain` is 1 before a linear layer or a sigmoid, the square root
/// of 2 before a ReLU, and 5/3 before a tanh (PyTorch's `calculate_gain`).
///
/// ```
/// use candle_core::Device;
/// use cog_train_nn::{Init, Initializer, Rng};
///
/// let init = Init::random(Rng::new(42, "init"), &Device::Cpu);
/// let token = init.tensor("class_token", (1, 1, 64), Initializer::TruncatedNormal { std: 0.02 })?;
/// assert!(token.abs()?.max_all()?.to_scalar::<f32>()? <= 0.04);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Initializer {
    /// One number (`constant_`).
    Constant(f64),
    /// Uniform within `bound` of 0 (`uniform_(-bound, bound)`).
    Uniform {
        /// The greatest magnitude.
        bound: f64,
    },
    /// Normal around 0 (`normal_`).
    Normal {
        /// The standard deviation.
        std: f64,
    },
    /// Normal around 0; values beyond two standard deviations are drawn again (`trunc_normal_(std=std, a=-2*std, b=2*std)`).
    /// The standard deviation of what is drawn is 0.880 `std`.
    TruncatedNormal {
        /// The standard deviation before the truncation.
        std: f64,
    },
    /// Uniform within `gain * sqrt(6 / (fan_in + fan_out))` (Glorot and Bengio, "Understanding the Difficulty of Training
    /// Deep Feedforward Neural Networks", 2010; `xavier_uniform_`).
    XavierUniform {
        /// The factor of the activation function.
        gain: f64,
    },
    /// Normal with the standard deviation `gain * sqrt(2 / (fan_in + fan_out))` (`xavier_normal_`).
    XavierNormal {
        /// The factor of the activation function.
        gain: f64,
    },
    /// Uniform within `gain * sqrt(3 / fan_in)` (He et al., "Delving Deep into Rectifiers", 2015; `kaiming_uniform_`).
    KaimingUniform {
        /// The factor of the activation function.
        gain: f64,
    },
    /// Normal with the standard deviation `gain / sqrt(fan_in)` (`kaiming_normal_`).
    KaimingNormal {
        /// The factor of the activation function.
        gain: f64,
    },
}

impl Initializer {
    /// Zeros, as PyTorch's biases of normalizations.
    pub const ZEROS: Self = Self::Constant(0.0);
    /// Ones, as PyTorch's weights of normalizations.
    pub const ONES: Self = Self::Constant(1.0);

    /// PyTorch's default for the weight and the bias of linear layers and convolutions: uniform within
    /// `1 / sqrt(fan_in)`, which `kaiming_uniform_(a=sqrt(5))` comes to.
    pub(crate) fn of_fan_in(fan_in: usize) -> Self {
        Self::Uniform { bound: if fan_in == 0 { 0.0 } else { 1.0 / float(fan_in).sqrt() } }
    }

    /// Draws a tensor, in 64 bits and rounded to `dtype`.
    ///
    /// # Errors
    ///
    /// candle's error when the shape has no fans or the device fails.
    pub(crate) fn draw(
        self,
        shape: &Shape,
        mut stream: Stream,
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor, Error> {
        let distribution = self.distribution(shape)?;
        let values: Vec<f64> =
            (0..shape.elem_count()).map(|_| distribution.sample(&mut stream)).collect();
        Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(dtype)?.to_device(device)
    }

    fn distribution(self, shape: &Shape) -> Result<Distribution, Error> {
        Ok(match self {
            Self::Constant(value) => Distribution::Constant(value),
            Self::Uniform { bound } => Distribution::Uniform(bound),
            Self::Normal { std } => Distribution::Normal(std),
            Self::TruncatedNormal { std } => Distribution::TruncatedNormal(std),
            Self::XavierUniform { gain } => {
                let Fans { fan_in, fan_out } = Fans::of(shape)?;
                Distribution::Uniform(gain * (6.0 / (fan_in + fan_out)).sqrt())
            }
            Self::XavierNormal { gain } => {
                let Fans { fan_in, fan_out } = Fans::of(shape)?;
                Distribution::Normal(gain * (2.0 / (fan_in + fan_out)).sqrt())
            }
            Self::KaimingUniform { gain } => {
                Distribution::Uniform(gain * (3.0 / Fans::of(shape)?.fan_in).sqrt())
            }
            Self::KaimingNormal { gain } => {
                Distribution::Normal(gain / Fans::of(shape)?.fan_in.sqrt())
            }
        })
    }
}

/// An initializer whose scale is known.
enum Distribution {
    Constant(f64),
    Uniform(f64),
    Normal(f64),
    TruncatedNormal(f64),
}

impl Distribution {
    fn sample(&self, stream: &mut Stream) -> f64 {
        match *self {
            Self::Constant(value) => value,
            Self::Uniform(bound) => bound * (2.0 * stream.uniform() - 1.0),
            Self::Normal(std) => std * stream.normal(),
            Self::TruncatedNormal(std) => loop {
                let value = stream.normal();
                if value.abs() <= 2.0 {
                    break std * value;
                }
            },
        }
    }
}

struct Fans {
    fan_in: f64,
    fan_out: f64,
}

impl Fans {
    fn of(shape: &Shape) -> Result<Self, Error> {
        let &[outputs, inputs, ref kernel @ ..] = shape.dims() else {
            return Err(Error::Msg(format!(
                "a tensor of shape {:?} has no fan-in: Xavier's and Kaiming's initializers need two dimensions or more",
                shape.dims()
            )));
        };
        let kernel: usize = kernel.iter().product();
        Ok(Self { fan_in: float(inputs * kernel), fan_out: float(outputs * kernel) })
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes of tensors are far below 2^53")]
fn float(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// Mean, standard deviation and greatest magnitude of 48,000 values of a weight with fan-in 600 and fan-out 960.
    fn moments(initializer: Initializer) -> [f64; 3] {
        let shape = Shape::from((80, 50, 3, 4));
        let stream = Rng::new(3, "init").at(0);
        let values = initializer.draw(&shape, stream, DType::F64, &Device::Cpu).unwrap();
        let values: Vec<f64> = values.flatten_all().unwrap().to_vec1().unwrap();
        let count = float(values.len());
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        let most = values.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
        [mean, variance.sqrt(), most]
    }

    /// The standard deviations and bounds are those of `torch.nn.init` for a tensor `[80, 50, 3, 4]`, in closed form.
    #[test]
    fn moments_and_bounds_are_pytorchs() {
        let relu = 2f64.sqrt();
        // `None`: the values have no bound.
        for (initializer, std, bound) in [
            (Initializer::Constant(0.3), 0.0, Some(0.3)),
            (Initializer::Uniform { bound: 0.5 }, 0.288_675, Some(0.5)),
            (Initializer::Normal { std: 0.02 }, 0.02, None),
            (Initializer::TruncatedNormal { std: 0.02 }, 0.017_592_5, Some(0.04)),
            (Initializer::XavierUniform { gain: 1.0 }, 0.035_805_7, Some(0.062_017_4)),
            (Initializer::XavierNormal { gain: 5.0 / 3.0 }, 0.059_676_2, None),
            (Initializer::KaimingUniform { gain: relu }, 0.057_735, Some(0.1)),
            (Initializer::KaimingNormal { gain: relu }, 0.057_735, None),
            (Initializer::of_fan_in(600), 0.023_570_2, Some(0.040_824_8)),
        ] {
            let [mean, found, most] = moments(initializer);
            let expected_mean = if std == 0.0 { 0.3 } else { 0.0 };
            // Five standard errors of 48,000 values.
            assert!((mean - expected_mean).abs() <= 0.023 * std + 1e-12, "{initializer:?}: {mean}");
            assert!((found - std).abs() <= 0.017 * std + 1e-12, "{initializer:?}: {found}");
            match bound {
                Some(bound) => assert!(most <= bound * (1.0 + 1e-6) && most > 0.999 * bound),
                None => assert!(most > 3.5 * std, "{initializer:?}: {most}"),
            }
        }
    }

    #[test]
    fn a_vector_has_no_fans() {
        let stream = Rng::new(0, "init").at(0);
        let initializer = Initializer::XavierUniform { gain: 1.0 };
        let error = initializer.draw(&Shape::from(3), stream, DType::F32, &Device::Cpu);
        assert!(error.unwrap_err().to_string().contains("shape [3] has no fan-in"));
    }
}
