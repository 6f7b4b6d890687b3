//! The loss of embeddings of pairs: each text is to be nearest to its own partner among all of a batch.

use candle_core::{Error as TensorError, Tensor};
use cog_train_nn as nn;

use super::pooling::unit_length;
use crate::error::Error;

/// Computes the in-batch contrastive loss, added up over the anchors (`InfoNCE`: van den Oord et al., "Representation Learning with
/// Contrastive Predictive Coding", 2018; `MultipleNegativesRankingLoss` of sentence-transformers, whose `scale` is
/// `1 / temperature`).
///
/// `anchors` are `[B, d]` of floats. `candidates` are `[N, d]`, of which row `i` is the positive of anchor `i`; the others, and the
/// rows from `B` on, which are hard negatives, are negatives of it. The loss is the cross-entropy of the cosine similarities,
/// divided by the temperature, with the positive as the target.
///
/// It depends on what is in the batch: micro-batches have fewer negatives than the batch that they are of, so that gradient
/// accumulation trains on an easier task and gives other gradients than the whole batch.
///
/// ```
/// use cog_train::candle_core::{Device, Tensor};
/// use cog_train::models::contrastive_loss;
///
/// let anchors = Tensor::new(&[[1f32, 0.0], [0.0, 2.0]], &Device::Cpu)?;
/// let positives = Tensor::new(&[[3f32, 0.0], [0.0, 1.0]], &Device::Cpu)?;
/// let sum = contrastive_loss(&anchors, &positives, 0.5)?; // similarities of 1 and 0, doubled
/// assert!((sum.to_scalar::<f32>()? - 2.0 * (1.0 + (-2f32).exp()).ln()).abs() < 1e-6);
/// # Ok::<(), cog_train::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::InvalidConfig`] when `temperature` is not above zero; [`Error::Tensor`] when there are fewer candidates than anchors,
/// their widths differ, or the device fails.
pub fn contrastive_loss(
    anchors: &Tensor,
    candidates: &Tensor,
    temperature: f64,
) -> Result<Tensor, Error> {
    if !(temperature > 0.0 && temperature.is_finite()) {
        let reason = format!("`temperature` is {temperature}, which must be above 0");
        return Err(Error::InvalidConfig { reason });
    }
    let (rows, count) = (anchors.dim(0)?, candidates.dim(0)?);
    if count < rows {
        let reason = format!("{rows} anchors and {count} candidates: each needs a positive");
        return Err(TensorError::Msg(reason).into());
    }
    let scores = (cosine_similarity(anchors, candidates)? * (1.0 / temperature))?;
    let rows = u32::try_from(rows).map_err(TensorError::wrap)?;
    let targets = Tensor::arange(0, rows, anchors.device())?;
    Ok(nn::cross_entropy(&scores, &targets)?)
}

/// Computes the cosine of each row of `a`, `[A, d]`, with each row of `b`, `[B, d]`: `[A, B]`.
///
/// ```
/// use cog_train::candle_core::{Device, Tensor};
/// use cog_train::models::cosine_similarity;
///
/// let a = Tensor::new(&[[3f32, 0.0]], &Device::Cpu)?;
/// let b = Tensor::new(&[[6f32, 0.0], [0.0, 2.0]], &Device::Cpu)?;
/// assert_eq!(cosine_similarity(&a, &b)?.to_vec2::<f32>()?, [[1.0, 0.0]]);
/// # Ok::<(), cog_train::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Tensor`] when the shapes do not fit or the device fails.
pub fn cosine_similarity(a: &Tensor, b: &Tensor) -> Result<Tensor, Error> {
    Ok(unit_length(a)?.matmul(&unit_length(b)?.t()?)?)
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Var};

    use super::*;

    /// `sin(factor i) + 0.1`, by rows of 4.
    fn wave(factor: f64, rows: usize) -> Var {
        let values = (0..4 * rows).map(|at| {
            #[expect(clippy::cast_precision_loss, reason = "a small index")]
            let at = at as f64;
            #[expect(clippy::cast_possible_truncation, reason = "a float of 32 bits")]
            let value = ((factor * at).sin() + 0.1) as f32;
            value
        });
        Var::from_vec(values.collect::<Vec<f32>>(), (rows, 4), &Device::Cpu).unwrap()
    }

    fn assert_near(found: &Tensor, expected: &[f64]) {
        let found = found.to_dtype(DType::F64).unwrap().flatten_all().unwrap();
        let found: Vec<f64> = found.to_vec1().unwrap();
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            let near = (found - expected).abs() <= 1e-5 * expected.abs().max(1.0);
            assert!(near, "{found} is not {expected}");
        }
    }

    /// ```python
    /// # pip install sentence-transformers==6.2.0
    /// import torch
    /// from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    /// wave = lambda factor, rows: (torch.sin(factor * torch.arange(4.0 * rows, dtype=torch.float64)) + 0.1).view(rows, 4).requires_grad_()
    /// show = lambda x: [round(v, 7) for v in x.reshape(-1).tolist()]
    /// for negatives, scale in (0, 20.0), (3, 4.0):
    ///     parts = [wave(0.7, 3), wave(0.9, 3)] + [wave(1.3, 3)] * (negatives > 0)
    ///     # It is the mean over the three anchors.
    ///     loss = MultipleNegativesRankingLoss(torch.nn.Module(), scale=scale).compute_loss_from_embeddings(parts, None) * 3
    ///     print(show(loss), *map(show, torch.autograd.grad(loss, parts)), sep="\n")
    /// ```
    #[test]
    fn losses_and_gradients_equal_those_of_sentence_transformers() {
        let parts = [wave(0.7, 3), wave(0.9, 3), wave(1.3, 3)];
        let [anchors, positives, negatives] = parts.each_ref().map(Var::as_tensor);
        let loss = contrastive_loss(anchors, positives, 0.05).unwrap();
        assert_near(&loss, &[16.667_017_6]);
        let store = loss.backward().unwrap();
        assert_near(
            store.get(anchors).unwrap(),
            &[
                0.000_198_1,
                0.000_124_4,
                -1.39e-05,
                -0.000_101,
                0.032_958_2,
                0.046_684_2,
                0.024_361_2,
                -0.018_321_3,
                -2.917_188_1,
                -2.452_246_8,
                -0.767_689,
                -0.626_941_6,
            ],
        );
        assert_near(
            store.get(positives).unwrap(),
            &[
                -5.580_972_6,
                -4.256_262,
                0.584_908_6,
                6.996_219_5,
                -0.016_066_6,
                -0.001_870_2,
                0.015_239_2,
                0.026_607_5,
                3.634_638_7,
                -2.544_657_2,
                -7.638_341_8,
                -9.470_598_7,
            ],
        );

        let candidates = Tensor::cat(&[positives, negatives], 0).unwrap();
        let loss = contrastive_loss(anchors, &candidates, 0.25).unwrap();
        assert_near(&loss, &[5.928_228_2]);
        let store = loss.backward().unwrap();
        assert_near(
            store.get(anchors).unwrap(),
            &[
                -0.319_784_6,
                -0.152_264_6,
                0.111_254_9,
                0.025_472_1,
                0.818_666_8,
                1.432_556,
                0.761_861_7,
                -0.669_707,
                -1.703_730_1,
                -2.055_968_2,
                -0.743_410_6,
                -0.093_935_3,
            ],
        );
        assert_near(
            store.get(positives).unwrap(),
            &[
                -0.207_863_7,
                -0.030_050_5,
                0.054_733_9,
                -0.021_701_8,
                -0.513_653_7,
                -0.060_049_1,
                0.488_028_2,
                0.853_462,
                0.851_328_4,
                -0.584_572_1,
                -1.729_855_7,
                -2.099_129,
            ],
        );
        assert_near(
            store.get(negatives).unwrap(),
            &[
                0.115_006_1,
                -0.011_292_9,
                -0.089_638_9,
                -0.094_736_4,
                0.387_196_1,
                0.084_089_8,
                -0.047_707_5,
                0.785_641_1,
                0.066_291,
                0.538_911_7,
                0.326_732_5,
                0.216_276_8,
            ],
        );
    }

    /// The gradient of an embedding of zeros is a number: the length is bounded from below.
    #[test]
    fn an_embedding_of_zeros_has_a_finite_gradient() {
        let zeros = Var::zeros((2, 4), DType::F32, &Device::Cpu).unwrap();
        let loss = contrastive_loss(&zeros, &wave(0.7, 2), 1.0).unwrap();
        let store = loss.backward().unwrap();
        let gradient = store.get(&zeros).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(gradient.iter().all(|value| value.is_finite()), "{gradient:?}");
    }

    #[test]
    fn a_temperature_that_cannot_be_meant_and_a_missing_positive_are_errors() {
        let (two, three) = (wave(0.7, 2), wave(0.9, 3));
        for temperature in [0.0, -0.1, f64::NAN, f64::INFINITY] {
            let error = contrastive_loss(&two, &three, temperature).unwrap_err().to_string();
            assert_eq!(error, format!("`temperature` is {temperature}, which must be above 0"));
        }
        let error = contrastive_loss(&three, &two, 0.1).unwrap_err().to_string();
        assert!(error.contains("3 anchors and 2 candidates"), "{error}");
    }
}
