//! Weights in blocks of few bits.

use candle_core::{DType, Error, Tensor};

use super::Init;
use crate::initializer::Initializer;
use crate::kernels::quantized::Quantized;
use crate::kernels::weight::Weight;

impl Init {
    /// Takes the weights of linear layers and the tables of embeddings from matrices in blocks of few bits, by their names. They
    /// are frozen, and stand for the float type of the loaded tensors.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use cog_train_nn::{BlockLayout, Init, Linear, Quantized};
    ///
    /// let (weight, bias) = (Tensor::rand(-1f32, 1.0, (8, 64), &Device::Cpu)?, Tensor::rand(-1f32, 1.0, 8, &Device::Cpu)?);
    /// let quantized = Quantized::quantize(&weight, BlockLayout::Nf4)?;
    /// let init = Init::from_tensors([("fc.bias", bias)]).quantized([("fc.weight", quantized)]);
    /// let layer = init.build(|init| Linear::new(&init.at("fc"), 64, 8))?;
    /// assert_eq!(layer.forward(&Tensor::ones((2, 64), candle_core::DType::F32, &Device::Cpu)?)?.dims(), [2, 8]);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    #[must_use]
    pub fn quantized<K: Into<String>>(
        self,
        matrices: impl IntoIterator<Item = (K, Quantized)>,
    ) -> Self {
        let mut source = self.lock();
        let dtype = source.loaded.values().map(Tensor::dtype).find(DType::is_float);
        for (name, matrix) in matrices {
            let matrix = dtype.map_or(matrix.clone(), |dtype| matrix.to_dtype(dtype));
            source.quantized.insert(self.name(&name.into()), matrix);
        }
        drop(source);
        self
    }

    /// Returns a matrix of this module, which may be [quantized](Self::quantized).
    pub(crate) fn weight(
        &self,
        name: &str,
        sizes: (usize, usize),
        initializer: Initializer,
    ) -> Result<Weight, Error> {
        let full = self.name(name);
        let mut source = self.lock();
        match source.find_quantized(&full, sizes) {
            None => {}
            Some(Ok(matrix)) => return Ok(matrix.into()),
            Some(Err(problem)) => {
                let Some(problems) = &mut source.problems else { return Err(Error::Msg(problem)) };
                problems.push(problem);
                let nothing = Tensor::zeros((), source.dtype, &source.device)?;
                return Ok(Weight::Tensor(nothing.broadcast_as(sizes)?));
            }
        }
        drop(source);
        self.tensor(name, sizes, initializer).map(Weight::Tensor)
    }
}
