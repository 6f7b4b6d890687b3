//! The rule for the types of operands, which is the same for every operation: all float operands are of one type.
//!
//! An operation never converts an operand: a weight in bfloat16 under an input of 32 bits is most likely a mistake,
//! and a silent conversion would cost a copy of the weight in every step.

use candle_core::{Error, Tensor};

/// Checks that the operands of `operation` are of the type of the first.
///
/// # Errors
///
/// candle's error that names the first operand of another type.
pub(crate) fn check<'a>(
    operation: &str,
    (name, first): (&str, &Tensor),
    others: impl IntoIterator<Item = (&'a str, Option<&'a Tensor>)>,
) -> Result<(), Error> {
    let dtype = first.dtype();
    for (other, tensor) in others {
        if let Some(found) = tensor.map(Tensor::dtype).filter(|found| *found != dtype) {
            return Err(Error::msg(format!(
                "{operation}: `{name}` is {dtype:?} and `{other}` is {found:?}\n\
                 hint: operands are of one float type; convert one with `to_dtype`"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Tensor};

    use crate::kernels::attention::{Mask, Options};
    use crate::kernels::conv2d::Settings;
    use crate::kernels::linear::Operands;
    use crate::kernels::tape::trace;
    use crate::kernels::{
        attention, conv2d, layer_norm, linear, linear_cross_entropy, parity, rms_norm, sum, swiglu,
    };

    /// On every device, with the wider type first and last.
    #[test]
    fn operands_of_two_types_are_an_error_that_names_both() {
        for device in &parity::devices() {
            for [one, other] in [[DType::F32, DType::BF16], [DType::F16, DType::F64]] {
                let tensor = |shape: &[usize], dtype| Tensor::ones(shape, dtype, device).unwrap();
                let x = tensor(&[1, 2, 2, 2], one);
                let (vector, matrix) = (tensor(&[2], other), tensor(&[2, 2], other));
                let targets = Tensor::zeros(4, DType::U32, device).unwrap();
                let settings =
                    Settings { stride: 1, padding: 0, dilation: 1, groups: 1, relu: false };
                let same = tensor(&[2, 2], one);
                let with = |weight, bias| Operands { weight, bias, to: None, scale: 1.0 };
                let found = [
                    (
                        "linear",
                        "weight",
                        trace([&x], |[x]| linear::forward(&x, &with(&matrix, None))),
                    ),
                    (
                        "linear",
                        "bias",
                        trace([&x], |[x]| linear::forward(&x, &with(&same, Some(&vector)))),
                    ),
                    (
                        "linear_cross_entropy",
                        "weight",
                        trace([&x], |[x]| linear_cross_entropy::forward(&x, &matrix, &targets)),
                    ),
                    (
                        "conv2d",
                        "weight",
                        trace([&x], |[x]| {
                            let weight = tensor(&[2, 2, 1, 1], other);
                            conv2d::forward(&x, &weight, None, settings)
                        }),
                    ),
                    (
                        "layer_norm",
                        "weight",
                        trace([&x], |[x]| layer_norm::forward(&x, &vector, &vector, 1e-5)),
                    ),
                    (
                        "rms_norm",
                        "weight",
                        trace([&x], |[x]| rms_norm::forward(&x, &vector, 0.0, 1e-5)),
                    ),
                    (
                        "attention",
                        "k",
                        trace([&x, &tensor(&[1, 2, 2, 2], other)], |[q, k]| {
                            attention::forward(&q, &k, &k, &Options::new(Mask::Full))
                        }),
                    ),
                    (
                        "swiglu",
                        "up",
                        trace([&x, &tensor(&[1, 2, 2, 2], other)], |[x, up]| {
                            swiglu::forward(&x, &up)
                        }),
                    ),
                    (
                        "add",
                        "other",
                        trace([&x, &tensor(&[1, 2, 2, 2], other)], |[x, other]| {
                            sum::forward(&x, &other)
                        }),
                    ),
                ];
                for (operation, name, found) in found {
                    let error = found.unwrap_err().to_string();
                    let types = format!(" is {one:?} and `{name}` is {other:?}\nhint: ");
                    assert!(error.starts_with(&format!("{operation}: `")), "{error}");
                    assert!(error.contains(&types), "{error}");
                }
            }
        }
    }
}
