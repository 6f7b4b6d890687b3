//! Two convolutions, each with a batch norm and a max pooling, and a linear layer.

use candle_core::{Error, Tensor};
use cog_train::candle_core;
use cog_train::nn::{self, BatchNorm2d, Conv2d, Init, Linear, Node, max_pool2d, relu};

use crate::idx::SIDE;

/// The network.
#[derive(Debug)]
pub struct ConvNet {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    conv2: Conv2d,
    bn2: BatchNorm2d,
    linear: Linear,
}

impl ConvNet {
    pub fn new(init: &Init) -> Result<Self, Error> {
        Ok(Self {
            conv1: Conv2d::without_bias(&init.at("conv1"), 1, 8, 5)?.padding(2),
            bn1: BatchNorm2d::new(&init.at("bn1"), 8)?,
            conv2: Conv2d::without_bias(&init.at("conv2"), 8, 16, 3)?.padding(1),
            bn2: BatchNorm2d::new(&init.at("bn2"), 16)?,
            linear: Linear::new(&init.at("linear"), 16 * (SIDE / 4) * (SIDE / 4), 10)?,
        })
    }

    /// Images [batch, 1, side, side] to a score for each digit [batch, 10].
    pub fn forward(&self, images: &Node, training: bool) -> Result<Node, Error> {
        let x = relu(&self.bn1.forward(&self.conv1.forward(images)?, training)?)?;
        let x = max_pool2d(&x, 2, 2, 0)?;
        let x = relu(&self.bn2.forward(&self.conv2.forward(&x)?, training)?)?;
        let x = max_pool2d(&x, 2, 2, 0)?;
        self.linear.forward(&nn::reshape(&x, (images.dims()[0], ()))?)
    }

    /// The scores of images that are not learned from.
    pub fn scores(&self, images: &Tensor) -> Result<Tensor, Error> {
        nn::trace([images], |[images]| self.forward(&images, false))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use cog_train::engine::Params;
    use cog_train::rng::Rng;

    use super::*;

    /// Along each parameter's gradient the loss rises by the gradient's length.
    #[test]
    fn gradients_are_what_differences_show() {
        let device = &Device::Cpu;
        let rng = Rng::new(5, "test");
        let tensors = Init::random(rng, device).tensors_of(ConvNet::new).unwrap();
        let params = Params::new(tensors).unwrap().buffers("*.running_*").unwrap();
        let network = Init::from_tensors(params.tensors()).build(ConvNet::new).unwrap();
        let float = candle_core::DType::F32;
        let images = rng.at(9).uniform_tensor((3, 1, SIDE, SIDE), 0.0, 1.0, float, device).unwrap();
        let labels = Tensor::new(&[3u32, 0, 7], device).unwrap();
        let loss = || {
            let forward =
                |[images]: [Node; 1]| nn::cross_entropy(&network.forward(&images, true)?, &labels);
            nn::trace([&images], forward).unwrap()
        };
        let gradients = loss().backward().unwrap();
        for (name, param) in params.trainable() {
            let gradient = gradients.get(param.compute()).unwrap();
            let squares = gradient.sqr().unwrap().sum_all().unwrap();
            let length = squares.to_scalar::<f32>().unwrap().sqrt();
            let before = param.master().copy().unwrap();
            let at = |distance: f32| {
                let step = (gradient * f64::from(distance / length)).unwrap();
                param.set(&(&before + step).unwrap()).unwrap();
                loss().to_scalar::<f32>().unwrap()
            };
            let slope = (at(2e-3) - at(-2e-3)) / 4e-3;
            param.set(&before).unwrap();
            assert!(
                length > 1e-3 && (slope / length - 1.0).abs() < 0.03,
                "`{name}`: {slope} and {length}"
            );
        }
    }
}
