use candle_core::Device;

use super::*;
use crate::optim::{Adafactor, AdamW};

const WIDTH: usize = 2048;

/// A table of four blocks and some rows, a matrix of one, a vector, a number and a tensor without elements.
fn params() -> Params {
    let shapes: [(&str, &[usize]); 5] = [
        ("table", &[4 * BLOCK / WIDTH + 3, WIDTH]),
        ("matrix", &[300, 700]),
        ("vector", &[7]),
        ("number", &[]),
        ("nothing", &[0, 3]),
    ];
    let zeros = |shape| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    Params::new(shapes.map(|(name, shape)| (name, zeros(shape)))).unwrap()
}

fn adamw() -> Optimizer {
    Optimizer::new(AdamW::default())
}

#[test]
fn each_row_has_one_owner_and_each_owner_its_rows_in_one_range() {
    let params = params();
    for world in [1, 2, 4, 8, 16] {
        let owners = Owners::new(&params, &adamw(), world);
        for (name, param) in params.trainable() {
            let mut next = 0;
            let holders = owners.holders(name, param);
            assert!(!holders.is_empty());
            for Holder { rank, rows } in holders {
                assert_eq!(rows.start, next, "`{name}` on {world} ranks");
                assert!(rows.is_empty() || owners.rows(name, rank) == rows);
                next = rows.end;
            }
            assert_eq!(next, param.all_rows().end, "`{name}` on {world} ranks");
        }
    }
}

/// The sum of the squares of a tensor is added up block by block.
#[test]
fn blocks_of_ranks_are_the_blocks_of_the_tensor() {
    let params = params();
    let table = params.get("table").unwrap();
    let all: Vec<usize> = blocks(table.compute()).unwrap().iter().map(|it| it.dims()[0]).collect();
    assert_eq!(all, [512, 512, 512, 512, 3]);
    for world in [2, 4, 8] {
        let holders = Owners::new(&params, &adamw(), world).holders("table", table);
        let parts = holders.iter().map(|it| rows_of(table.compute(), &it.rows).unwrap());
        let parts: Vec<usize> =
            parts.flat_map(|it| blocks(&it).unwrap()).map(|it| it.dims()[0]).collect();
        assert_eq!(parts, all, "{world} ranks");
    }
}

#[test]
fn ranks_own_about_as_many_elements() {
    let params = params();
    for world in [2, 4] {
        let owners = Owners::new(&params, &adamw(), world);
        let of = |rank| {
            let rows = params.trainable().map(|(name, it)| (owners.rows(name, rank).len(), it));
            rows.map(|(rows, param)| rows * row(param.dims())).sum::<usize>()
        };
        let held: Vec<usize> = (0..world).map(of).collect();
        let (least, most) = (held.iter().min().unwrap(), held.iter().max().unwrap());
        assert!(most - least <= 2 * BLOCK, "{held:?}");
    }
    // A factored state is of all rows.
    let owners = Owners::new(&params, &Optimizer::new(Adafactor::default()), 4);
    assert_eq!(owners.holders("table", params.get("table").unwrap()).len(), 1);
}

#[test]
fn buckets_have_each_row_once_and_no_more_than_they_hold() {
    let params = params();
    for optimizer in [adamw(), Optimizer::new(Adafactor::default())] {
        for world in [2, 4] {
            let mut owners = Owners::new(&params, &optimizer, world);
            for order in [
                ["table", "number", "matrix", "vector", "nothing"],
                ["nothing", "vector", "matrix", "number", "table"],
            ] {
                owners.order(&params, order.into_iter());
                for rank in 0..world {
                    let mut rows: BTreeMap<&str, usize> = BTreeMap::new();
                    for bucket in &owners.buckets[rank] {
                        let elements = |it: &Piece| it.dims(&params).iter().product::<usize>();
                        assert!(bucket.iter().map(elements).sum::<usize>() <= BUCKET);
                        for piece in bucket {
                            *rows.entry(&piece.name).or_insert(0) += piece.rows.len();
                        }
                    }
                    for (name, _) in params.trainable() {
                        let owned = owners.rows(name, rank).len();
                        assert_eq!(rows.get(name).copied().unwrap_or(0), owned, "`{name}`");
                    }
                }
            }
        }
    }
}
