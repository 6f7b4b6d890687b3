//! The reference: every device.

use candle_core::{Error, Tensor, Var};

use super::Constants;

pub(super) fn update(
    weight: &Var,
    gradient: &Tensor,
    [first, second]: [&Var; 2],
    constants: &Constants,
) -> Result<(), Error> {
    let mut gradient = (gradient * constants.scale)?;
    if constants.coupled != 0.0 {
        gradient = (gradient + (weight.as_tensor() * constants.coupled)?)?;
    }
    first.set(&(first.as_tensor() + ((&gradient - first.as_tensor())? * constants.share1)?)?)?;
    let squared = ((&gradient * constants.share2)? * &gradient)?;
    second.set(&((second.as_tensor() * constants.beta2)? + squared)?)?;
    let divisor = second.sqrt()?.affine(constants.correction, constants.epsilon)?;
    let change = ((first.as_tensor() / divisor)? * constants.rate)?;
    let decayed = (weight.as_tensor() * constants.shrink)?;
    weight.set(&(decayed - change)?)?;
    Ok(())
}
