//! Values to the nearest codes, and back.

use std::sync::LazyLock;

use crate::kernels::dynamic_map;

/// The bits of a float that are not looked at: what is left of magnitudes up to 1 has few values, and no two bounds of codes share one.
const IGNORED: u32 = 16;

/// The codes of first moments: 0 is the code 127.
pub(super) static SIGNED: LazyLock<Codes> = LazyLock::new(|| Codes::new(&dynamic_map::signed()));

/// The codes of second moments: 0 is the code 0.
pub(super) static UNSIGNED: LazyLock<Codes> =
    LazyLock::new(|| Codes::new(&dynamic_map::unsigned()));

/// The values of 256 codes, in order, and a table to find the nearest one.
pub(super) struct Codes {
    pub(super) values: [f32; 256],
    /// The code of 0.
    zero: u8,
    /// For each code from `zero` on: the greatest magnitude that is nearest to it.
    bounds: [f32; 256],
    /// The codes, from `zero` on, of the smallest magnitude of each group with the same upper bits, of which the first is `lowest`.
    starts: Vec<u8>,
    lowest: u32,
}

impl Codes {
    fn new(map: &[f32]) -> Self {
        let mut values = [1.0; 256];
        values.copy_from_slice(map);
        let zero = values.partition_point(|value| *value < 0.0);
        let mut bounds = [f32::INFINITY; 256];
        for (bound, pair) in bounds.iter_mut().zip(values[zero..].windows(2)) {
            *bound = f32::midpoint(pair[0], pair[1]);
        }
        let lowest = bounds[0].to_bits() >> IGNORED;
        let groups = lowest..=1f32.to_bits() >> IGNORED;
        let start = |group: u32| {
            let smallest = f32::from_bits(group << IGNORED);
            #[expect(clippy::cast_possible_truncation, reason = "at most 255")]
            let code = bounds.partition_point(|bound| *bound < smallest) as u8;
            code
        };
        #[expect(clippy::cast_possible_truncation, reason = "at most 127")]
        let zero = zero as u8;
        Self { values, zero, bounds, starts: groups.map(start).collect(), lowest }
    }

    /// Returns how many codes the nearest one of a magnitude up to 1 is above that of 0; of two the lower one.
    #[inline]
    fn above_zero(&self, magnitude: f32) -> u8 {
        let group = (magnitude.to_bits() >> IGNORED).saturating_sub(self.lowest) as usize;
        let start = self.starts[group.min(self.starts.len() - 1)];
        start + u8::from(magnitude > self.bounds[usize::from(start)])
    }

    /// Returns the code of a value from -1 to 1, with a sign.
    #[inline]
    pub(super) fn signed(&self, value: f32) -> u8 {
        let above = self.above_zero(value.abs());
        if value < 0.0 { self.zero.saturating_sub(above) } else { self.zero + above }
    }

    /// Returns the code of a value from 0 to 1, without a sign: above that of 0 unless it is 0.
    #[inline]
    pub(super) fn unsigned(&self, value: f32) -> u8 {
        self.above_zero(value).max(u8::from(value > 0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At every bound of two codes and its neighbours, and all over each decade.
    #[test]
    fn the_code_is_that_of_the_nearest_value() {
        let nearest = |values: &[f32], value: f32| {
            let distance = |code: &usize| (f64::from(values[*code]) - f64::from(value)).abs();
            (0..256).min_by(|one, other| distance(one).total_cmp(&distance(other))).unwrap()
        };
        let inner = (0..20_000u16).map(|at| 10f32.powf(-f32::from(at) / 2_500.0));
        for (codes, signs) in [(&*SIGNED, &[1.0, -1.0][..]), (&*UNSIGNED, &[1.0])] {
            let bounds = codes.bounds.into_iter().filter(|bound| bound.is_finite());
            let beside = bounds.flat_map(|bound| [bound.next_down(), bound.next_up()]);
            for magnitude in beside.chain(codes.values.map(f32::abs)).chain(inner.clone()) {
                for sign in signs {
                    let value = magnitude * sign;
                    let code = if signs.len() == 2 {
                        codes.signed(value)
                    } else if value > 0.0 && nearest(&codes.values, value) == 0 {
                        assert_eq!(codes.unsigned(value), 1);
                        continue;
                    } else {
                        codes.unsigned(value)
                    };
                    assert_eq!(usize::from(code), nearest(&codes.values, value), "{value:e}");
                }
            }
        }
    }

    #[test]
    fn a_value_becomes_its_own_code() {
        for code in 0..=255 {
            let at = usize::from(code);
            assert_eq!(SIGNED.signed(SIGNED.values[at]), code);
            assert_eq!(UNSIGNED.unsigned(UNSIGNED.values[at]), code);
        }
        assert_eq!((SIGNED.values[127], UNSIGNED.values[0]), (0.0, 0.0));
    }
}
