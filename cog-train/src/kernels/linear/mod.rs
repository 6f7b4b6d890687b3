//! `y = x W^T + b`, in every precision on every device.
//!
//! candle 0.11 has no product of bfloat16 matrices on the CPU. There the numbers are multiplied and summed in 32 bits
//! and the result is rounded once, as a GPU's tensor cores do.

use candle_core::{DType, Tensor};

use crate::error::Error;

/// `x` \[.., n, inputs\] times `weight` \[outputs, inputs\], plus `bias` \[outputs\]: \[.., n, outputs\], in the type of
/// `x`. All have one type.
///
/// ```
/// use cog_train::candle_core::{DType, Device, Tensor};
/// use cog_train::kernels::linear::linear;
///
/// let x = Tensor::ones((3, 2), DType::BF16, &Device::Cpu)?;
/// let weight = Tensor::ones((4, 2), DType::BF16, &Device::Cpu)?;
/// let y = linear(&x, &weight, None)?;
/// assert_eq!((y.dims(), y.dtype()), (&[3, 4][..], DType::BF16));
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Tensor`] when shapes or types do not go together.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, Error> {
    let y = if x.dtype() == DType::BF16 && x.device().is_cpu() {
        let (x, weight) = (x.to_dtype(DType::F32)?, weight.to_dtype(DType::F32)?);
        x.broadcast_matmul(&weight.t()?)?.to_dtype(DType::BF16)?
    } else {
        x.broadcast_matmul(&weight.t()?)?
    };
    Ok(match bias {
        Some(bias) => y.broadcast_add(bias)?,
        None => y,
    })
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;
    use crate::rng::Rng;

    fn tensor(at: u64, shape: &[usize]) -> Tensor {
        Rng::new(4, "test").at(at).normal_tensor(shape, 0.0, 1.0, DType::F32, &Device::Cpu).unwrap()
    }

    fn numbers(tensor: &Tensor) -> Vec<f32> {
        tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn bfloat16_is_rounded_once_and_has_gradients() {
        let half = |tensor: Tensor| tensor.to_dtype(DType::BF16).unwrap();
        let full = |tensor: &Tensor| tensor.to_dtype(DType::F32).unwrap();
        let x = half(tensor(0, &[2, 5, 64]));
        let weight = Var::from_tensor(&half(tensor(1, &[3, 64]))).unwrap();
        let bias = half(tensor(2, &[3]));
        let y = linear(&x, &weight, Some(&bias)).unwrap();
        let exact = full(&x).broadcast_matmul(&full(&weight).t().unwrap()).unwrap();
        let rounded = half(exact).broadcast_add(&bias).unwrap();
        assert_eq!(numbers(&y), numbers(&rounded));

        let gradients = y.sum_all().unwrap().backward().unwrap();
        let gradient = gradients.get(&weight).unwrap();
        assert_eq!(gradient.dtype(), DType::BF16);
        let sums = numbers(&full(&x).sum((0, 1)).unwrap());
        for (gradient, sum) in numbers(gradient).chunks(64).flat_map(|row| row.iter().zip(&sums)) {
            assert!((gradient - sum).abs() <= sum.abs() / 128.0, "{gradient} {sum}");
        }
    }

    #[test]
    fn other_types_are_multiplied_as_they_are() {
        let (x, weight) = (tensor(0, &[4, 8]), tensor(1, &[3, 8]));
        let y = linear(&x, &weight, None).unwrap();
        assert_eq!(numbers(&y), numbers(&x.matmul(&weight.t().unwrap()).unwrap()));
        assert!(linear(&x, &tensor(1, &[3, 7]), None).is_err());
    }
}
