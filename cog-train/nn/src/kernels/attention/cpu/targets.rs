//! The outputs of the gradients, head by head.

use super::super::geometry::Geometry;
use crate::kernels::output::{Columns, Output};

/// The outputs of the gradients of queries, keys and values.
pub(super) enum Targets<'a> {
    /// Three outputs of their operands' shapes.
    Apart([Output<'a>; 3]),
    /// One output, laid out as the packed operand.
    Packed(Output<'a>),
}

/// The targets at one head of keys.
pub(super) struct Head<'a> {
    pub(super) row: usize,
    pub(super) kv: usize,
    /// By head of queries.
    pub(super) dq: Vec<(usize, Columns<'a>)>,
    pub(super) dkv: [Columns<'a>; 2],
}

impl<'a> Targets<'a> {
    /// Writes zeros.
    pub(super) fn clear(self) {
        match self {
            Self::Apart(all) => all.into_iter().for_each(|target| _ = target.zeroed()),
            Self::Packed(target) => _ = target.zeroed(),
        }
    }

    /// By row of the batch and head of keys.
    pub(super) fn heads(self, geometry: &Geometry) -> Vec<Head<'a>> {
        let Geometry { batch, queries, keys, heads, kv_heads, width, .. } = *geometry;
        let (of_q, of_kv) = (heads * width, kv_heads * width);
        let rows: Vec<Vec<Columns<'a>>> = match self {
            Self::Apart([q, k, v]) => {
                let kv = k.chunks(keys * of_kv).zip(v.chunks(keys * of_kv));
                let all = q.chunks(queries * of_q).zip(kv).map(|(q, (k, v))| {
                    let parts = [(q, of_q), (k, of_kv), (v, of_kv)];
                    parts
                        .into_iter()
                        .flat_map(|(part, row)| part.split_columns(row, width))
                        .collect()
                });
                all.collect()
            }
            Self::Packed(x) => {
                let row = of_q + 2 * of_kv;
                x.chunks(queries * row).map(|x| x.split_columns(row, width)).collect()
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
