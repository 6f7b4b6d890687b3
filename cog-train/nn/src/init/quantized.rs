//! Weights in blocks of few bits, and in floats of 16 under a model of 32.

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
        let of_tensors = source.loaded.values().map(Tensor::dtype).find(DType::is_float);
        let dtype = source.computes_in.or(of_tensors);
        for (name, matrix) in matrices {
            let matrix = dtype.map_or(matrix.clone(), |dtype| matrix.to_dtype(dtype));
            source.quantized.insert(self.name(&name.into()), matrix);
        }
        drop(source);
        self
    }

    /// Computes in a float type, which that of the loaded tensors may differ from: they are converted to it. Of a model that computes in
    /// 32 bits on the CPU, frozen weights of linear layers and tables of embeddings in 16 bits stay as they are, and are
    /// [widened](Quantized::from_floats) when they are used: the values, and so the results, are the same.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use cog_train_nn::{Init, Linear, Rng};
    ///
    /// let layer = |init: &Init| Linear::new(&init.at("fc"), 64, 8);
    /// let narrow = Init::random(Rng::new(1, "init"), &Device::Cpu).dtype(DType::BF16).tensors_of(layer)?;
    /// let frozen = narrow.into_iter().map(|(name, tensor)| (name, tensor.detach()));
    /// let layer = Init::from_tensors(frozen).compute_in(DType::F32).build(layer)?;
    /// assert_eq!(layer.weight().quantized().unwrap().byte_count(), 64 * 8 * 2);
    /// assert_eq!(layer.forward(&Tensor::ones((2, 64), DType::F32, &Device::Cpu)?)?.dtype(), DType::F32);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    #[must_use]
    pub fn compute_in(self, dtype: DType) -> Self {
        let mut source = self.lock();
        source.computes_in = Some(dtype);
        for matrix in source.quantized.values_mut() {
            *matrix = matrix.clone().to_dtype(dtype);
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
        source.chosen(&full, initializer);
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
        if let Some(matrix) = source.held(&full, sizes) {
            return Ok(matrix.into());
        }
        drop(source);
        self.tensor(name, sizes, initializer).map(Weight::Tensor)
    }
}
