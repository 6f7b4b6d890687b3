//! The same in candle's operations: every device, 64-bit floats too.

use candle_core::{D, DType, Error, Tensor};

use super::rows_at_once;
use crate::kernels::cross_entropy::IGNORED;
use crate::kernels::tape::Node;

pub(super) fn forward(h: &Node, weight: &Node, targets: &[u32]) -> Result<Node, Error> {
    let to = [h.handle(), weight.handle()];
    let (classes, d) = weight.tensor().dims2()?;
    let (flat, w) = (h.tensor().reshape((targets.len(), d))?, weight.tensor().contiguous()?);
    let device = flat.device();
    let wide = if flat.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
    let mut loss = Tensor::zeros((), wide, device)?;
    let (mut of_h, mut of_weight) = (Vec::new(), None::<Tensor>);
    let most = rows_at_once(classes);
    for (at, targets) in targets.chunks(most).enumerate() {
        let h = flat.narrow(0, at * most, targets.len())?;
        let scores = h.matmul(&w.t()?)?.to_dtype(wide)?;
        let counts: Vec<f32> =
            targets.iter().map(|target| if *target == IGNORED { 0.0 } else { 1.0 }).collect();
        let counts = Tensor::new(counts, device)?.to_dtype(wide)?.unsqueeze(1)?;
        let classes: Vec<u32> =
            targets.iter().map(|target| if *target == IGNORED { 0 } else { *target }).collect();
        let classes = Tensor::new(classes, device)?.unsqueeze(1)?;
        let shifted = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?)?;
        let powers = shifted.exp()?;
        let sums = powers.sum_keepdim(D::Minus1)?;
        let losses = (sums.log()? - shifted.gather(&classes, 1)?)?;
        loss = (loss + (losses * &counts)?.sum_all()?)?;
        if to == [None; 2] {
            continue;
        }
        let shares =
            powers.broadcast_div(&sums)?.scatter_add(&classes, &counts.ones_like()?.neg()?, 1)?;
        let gradient = shares.broadcast_mul(&counts)?.to_dtype(flat.dtype())?;
        if to[0].is_some() {
            of_h.push(gradient.matmul(&w)?);
        }
        if to[1].is_some() {
            let part = gradient.t()?.matmul(&h)?;
            of_weight = Some(match of_weight {
                Some(sum) => (sum + part)?,
                None => part,
            });
        }
    }
    let of_h = if of_h.is_empty() { None } else { Some(Tensor::cat(&of_h, 0)?) };
    let gradients = [of_h, of_weight];
    Ok(h.tape().result(loss, to, move |dloss, adjoints| {
        for (to, gradient) in to.into_iter().zip(gradients) {
            if let Some(gradient) = gradient {
                let dloss = dloss.to_dtype(gradient.dtype())?;
                adjoints.give(to, gradient.broadcast_mul(&dloss)?)?;
            }
        }
        Ok(())
    }))
}
