//! Two convolutions and a linear layer.
//!
//! Convolutions with a stride halve the image: the backward pass of candle's `max_pool2d` is scaled wrongly, so it is not
//! used.

use std::collections::BTreeMap;

use candle_core::{D, DType, Device, Tensor};
use cog_train::candle_core;
use cog_train::engine::Loss;
use cog_train::prelude::*;
use cog_train::rng::Rng;

use crate::idx::SIDE;

/// Name, shape, and how many inputs each of its outputs sums up.
const PARAMETERS: [(&str, &[usize], usize); 6] = [
    ("conv1.bias", &[8], 0),
    ("conv1.weight", &[8, 1, 5, 5], 25),
    ("conv2.bias", &[16], 0),
    ("conv2.weight", &[16, 8, 3, 3], 72),
    ("linear.bias", &[10], 0),
    ("linear.weight", &[10, 16 * (SIDE / 4) * (SIDE / 4)], 16 * (SIDE / 4) * (SIDE / 4)),
];

/// The network.
#[derive(Debug)]
pub struct ConvNet(BTreeMap<String, Tensor>);

impl ConvNet {
    /// Refuses tensors that are not exactly this network's.
    pub fn new(tensors: BTreeMap<String, Tensor>) -> Result<Self> {
        for (name, shape, _) in PARAMETERS {
            let found =
                tensors.get(name).with_context(|| format!("the weights have no `{name}`"))?;
            ensure!(
                found.dims() == shape,
                "`{name}` has shape {:?} in place of {shape:?}",
                found.dims()
            );
        }
        ensure!(
            tensors.len() == PARAMETERS.len(),
            "the weights have {} tensors in place of {}",
            tensors.len(),
            PARAMETERS.len()
        );
        Ok(Self(tensors))
    }

    /// Images [batch, 1, side, side] to a score for each digit [batch, 10].
    pub fn forward(&self, images: &Tensor) -> Result<Tensor> {
        let conv = |x: &Tensor, name: &str, padding: usize| -> Result<Tensor> {
            let weight = &self.0[&format!("{name}.weight")];
            let bias = self.0[&format!("{name}.bias")].reshape((1, (), 1, 1))?;
            Ok(x.conv2d(weight, padding, 2, 1, 1)?.broadcast_add(&bias)?.relu()?)
        };
        let x = conv(images, "conv1", 2)?;
        let x = conv(&x, "conv2", 1)?.flatten_from(1)?;
        Ok(x.matmul(&self.0["linear.weight"].t()?)?.broadcast_add(&self.0["linear.bias"])?)
    }

    /// The cross-entropy, summed over the images.
    pub fn loss(&self, images: &Tensor, labels: &Tensor) -> Result<Loss> {
        let scores = self.forward(images)?;
        let chosen = scores.gather(&labels.unsqueeze(1)?, 1)?;
        let sum = (scores.log_sum_exp(D::Minus1)? - chosen.squeeze(1)?)?.sum_all()?;
        Ok(Loss::sum(sum, labels.dim(0)?)?)
    }
}

/// Zero biases, and normal weights that keep the spread of what flows through a layer with `relu`.
pub fn first_weights(init: Rng, device: &Device) -> Result<BTreeMap<String, Tensor>> {
    let fresh = |((name, shape, inputs), index): ((&str, &[usize], usize), u64)| {
        #[expect(clippy::cast_precision_loss, reason = "some hundred inputs")]
        let spread = if inputs == 0 { 0.0 } else { (2.0 / inputs as f64).sqrt() };
        let tensor = init.at(index).normal_tensor(shape, 0.0, spread, DType::F32, device)?;
        Ok((name.to_owned(), tensor))
    };
    PARAMETERS.into_iter().zip(0..).map(fresh).collect()
}

#[cfg(test)]
mod tests {
    use cog_train::engine::Params;

    use super::*;

    /// Along each parameter's gradient the loss rises by the gradient's length: candle's max pooling would fail here.
    #[test]
    fn gradients_are_what_differences_show() {
        let device = Device::Cpu;
        let numbers = Rng::new(5, "test");
        let params = Params::new(first_weights(numbers, &device).unwrap()).unwrap();
        let network = ConvNet::new(params.tensors()).unwrap();
        let images = numbers
            .at(9)
            .uniform_tensor((3, 1, SIDE, SIDE), 0.0, 1.0, DType::F32, &device)
            .unwrap();
        let labels = Tensor::new(&[3u32, 0, 7], &device).unwrap();
        let loss = || network.loss(&images, &labels).unwrap().tensor().clone();
        let gradients = loss().backward().unwrap();
        for (name, param) in params.iter() {
            let var = param.master();
            let gradient = gradients.get(var).unwrap();
            let length = gradient
                .sqr()
                .unwrap()
                .sum_all()
                .unwrap()
                .sqrt()
                .unwrap()
                .to_scalar::<f32>()
                .unwrap();
            let before = var.as_tensor().copy().unwrap();
            let at = |distance: f32| {
                let step = (gradient * f64::from(distance / length)).unwrap();
                var.set(&(&before + step).unwrap()).unwrap();
                loss().to_scalar::<f32>().unwrap()
            };
            let slope = (at(1e-2) - at(-1e-2)) / 2e-2;
            var.set(&before).unwrap();
            assert!(
                length > 1e-3 && (slope / length - 1.0).abs() < 0.03,
                "`{name}`: {slope} and {length}"
            );
        }
    }

    #[test]
    fn other_weights_are_refused_by_name() {
        let tensors = || first_weights(Rng::new(5, "test"), &Device::Cpu).unwrap();
        let mut less = tensors();
        let bias = less.remove("conv1.bias").unwrap();
        assert_eq!(ConvNet::new(less).unwrap_err().to_string(), "the weights have no `conv1.bias`");
        let mut other = tensors();
        other.insert("linear.bias".to_owned(), bias.clone());
        assert!(
            ConvNet::new(other).unwrap_err().to_string().contains("shape [8] in place of [10]")
        );
        let mut more = tensors();
        more.insert("conv3.bias".to_owned(), bias);
        assert!(ConvNet::new(more).unwrap_err().to_string().contains("7 tensors in place of 6"));
    }
}
