//! Where the gradients go, head by head.

use super::super::Geometry;
use super::piece::{Piece, split_columns};

/// Where the gradients of queries, keys and values go.
pub(super) enum Targets<'a> {
    /// To three places of their operands' shapes.
    Apart([&'a mut [f32]; 3]),
    /// To one, as the packed operand.
    Packed(&'a mut [f32]),
}

/// The targets at one head of keys.
pub(super) struct Head<'a> {
    pub(super) row: usize,
    pub(super) kv: usize,
    /// By head of queries.
    pub(super) dq: Vec<(usize, Piece<'a>)>,
    pub(super) dkv: [Piece<'a>; 2],
}

impl Targets<'_> {
    /// No gradient.
    pub(super) fn clear(self) {
        match self {
            Self::Apart(all) => all.into_iter().for_each(|target| target.fill(0.0)),
            Self::Packed(target) => target.fill(0.0),
        }
    }

    /// By row of the batch and head of keys.
    pub(super) fn heads(&mut self, geometry: &Geometry) -> Vec<Head<'_>> {
        let Geometry { batch, queries, keys, heads, kv_heads, width } = *geometry;
        let (of_q, of_kv) = (heads * width, kv_heads * width);
        let rows: Vec<Vec<Piece<'_>>> = match self {
            Self::Apart([q, k, v]) => {
                let kv = k.chunks_mut(keys * of_kv).zip(v.chunks_mut(keys * of_kv));
                let all = q.chunks_mut(queries * of_q).zip(kv).map(|(q, (k, v))| {
                    let parts = [(q, of_q), (k, of_kv), (v, of_kv)];
                    parts
                        .into_iter()
                        .flat_map(|(part, row)| split_columns(part, row, width))
                        .collect()
                });
                all.collect()
            }
            Self::Packed(x) => {
                let row = of_q + 2 * of_kv;
                x.chunks_mut(queries * row).map(|x| split_columns(x, row, width)).collect()
            }
        };
        let mut found = Vec::with_capacity(batch * kv_heads);
        for (row, mut pieces) in rows.into_iter().enumerate() {
            let values = pieces.split_off(heads + kv_heads);
            let keys = pieces.split_off(heads);
            let mut queries = pieces.into_iter().enumerate();
            for (kv, dkv) in keys.into_iter().zip(values).enumerate() {
                let dq = queries.by_ref().take(geometry.group()).collect();
                found.push(Head { row, kv, dq, dkv: dkv.into() });
            }
        }
        found
    }
}
