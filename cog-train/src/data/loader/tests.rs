use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::data::{Batch, Rows};

type Collated = (Vec<u32>, Vec<u32>);

/// Items are their own row numbers; a batch is its items and a random number for each.
fn loader(count: u32, sleep: bool) -> Loader<Collated> {
    let rows = Rows::new((0..count).collect::<Vec<u32>>()).named("numbers");
    let rows = rows.with_tokens(|row| *row as usize % 7 + 1).unwrap();
    Loader::new(rows, move |items: Vec<u32>, collate| {
        assert_eq!(items, collate.rows());
        let numbers: Vec<u32> =
            (0..items.len()).map(|at| collate.rng("crop", at).next_u32()).collect();
        if sleep {
            std::thread::sleep(Duration::from_micros(u64::from(numbers[0] % 3000)));
        }
        Ok((items, numbers))
    })
}

fn take(batches: &mut Batches<Collated>, count: usize) -> Vec<Batch<Collated>> {
    let step = |_| Batch { waited: Duration::ZERO, ..batches.next().unwrap().unwrap() };
    (0..count).map(step).collect()
}

fn steps(loader: &Loader<Collated>, from: Position, count: usize) -> Vec<Batch<Collated>> {
    take(&mut loader.start(9, from, Some(3), &Device::Cpu), count)
}

#[test]
fn batches_are_independent_of_threads_and_timing() {
    let straight = steps(&loader(50, false).threads(0), Position::default(), 40);
    for (threads, ahead) in [(1, 1), (1, 4), (2, 1), (2, 3), (4, 2), (4, 9)] {
        let loader = loader(50, true).threads(threads).prefetch(ahead);
        assert_eq!(steps(&loader, Position::default(), 40), straight, "{threads} {ahead}");
    }
}

#[test]
fn a_start_at_any_position_equals_the_rest_of_the_sequence() {
    for batching in [Batching::Rows(8), Batching::Tokens { most: 20, pool: 16 }] {
        let loader = loader(30, false).batch(batching);
        let straight = steps(&loader, Position::default(), 24);
        for at in 0..straight.len() {
            let rest = steps(&loader, straight[at].at, straight.len() - at);
            assert_eq!(rest, straight[at..], "from {at}");
            if let Some(next) = straight.get(at + 1) {
                assert_eq!(straight[at].next, next.at);
            }
        }
    }
}

#[test]
fn a_position_past_its_epoch_is_the_start_of_the_next() {
    let loader = loader(30, false);
    let next = Position { epoch: 1, batch: 0 };
    let whole = Position { epoch: 0, batch: loader.steps_in(9, 0) };
    assert_eq!(steps(&loader, whole, 5), steps(&loader, next, 5));
}

#[test]
fn micro_batches_concatenate_to_the_batch() {
    let loader = loader(30, false);
    let with = |micro| take(&mut loader.start(9, Position::default(), micro, &Device::Cpu), 8);
    let flat = |step: &Batch<Collated>| -> Collated {
        let parts: Vec<Collated> = step.parts.iter().map(|part| part.batch.clone()).collect();
        (
            parts.iter().flat_map(|part| part.0.clone()).collect(),
            parts.iter().flat_map(|part| part.1.clone()).collect(),
        )
    };
    let whole = with(None);
    for micro in [1, 2, 3, 8, 100] {
        for (step, whole) in with(Some(micro)).iter().zip(&whole) {
            assert_eq!((&step.rows, step.at, step.next), (&whole.rows, whole.at, whole.next));
            assert_eq!(flat(step), flat(whole));
            assert!(step.parts.iter().all(|part| part.rows.len() <= micro));
            assert!(
                step.parts.iter().all(|part| part.batch.0 == step.rows[part.rows.clone()]),
                "the ranges are those of the rows"
            );
        }
    }
    assert!(whole.iter().all(|step| step.parts.len() == 1));
    let last = with(Some(3)).pop().unwrap();
    assert!(last.parts.iter().map(|part| part.number).eq(0..last.parts.len()));
}

#[test]
fn random_numbers_depend_on_the_row_and_the_epoch_alone() {
    let of = |batching: Batching, epoch| {
        let loader = loader(30, false).batch(batching);
        let count = usize::try_from(loader.steps_in(9, epoch)).unwrap();
        let steps = steps(&loader, Position { epoch, batch: 0 }, count);
        let parts = steps.into_iter().flat_map(|step| step.parts);
        let mut numbers: Vec<(u32, u32)> =
            parts.flat_map(|part| part.batch.0.into_iter().zip(part.batch.1)).collect();
        numbers.sort_unstable();
        numbers
    };
    let numbers = of(Batching::Rows(8), 1);
    assert_eq!(numbers.len(), 30);
    assert_eq!(numbers, of(Batching::Tokens { most: 20, pool: 16 }, 1));
    assert!(numbers.iter().zip(of(Batching::Rows(8), 0)).all(|(one, other)| *one != other));
}

#[test]
fn one_epoch_has_all_rows_in_order_and_ends() {
    for threads in [0, 1, 3] {
        let loader = loader(30, false).threads(threads).drop_last(true);
        let mut batches = loader.once(&Device::Cpu, Some(2));
        let mut rows = Vec::new();
        while let Some(step) = batches.next().unwrap() {
            rows.extend(step.rows);
        }
        assert_eq!(rows, (0..30).collect::<Vec<u32>>());
        assert!(batches.next().unwrap().is_none());
    }
}

#[test]
fn ranks_share_the_micro_batches_of_each_batch_in_their_order() {
    for batching in [Batching::Rows(10), Batching::Tokens { most: 40, pool: 16 }] {
        let whole = steps(&loader(47, false).batch(batching), Position::default(), 12);
        for world in [2, 4] {
            let of = |rank| {
                let shard = Shard { rank, world };
                let loader = loader(47, false).batch(batching).for_rank(shard);
                steps(&loader, Position::default(), 12)
            };
            let ranks: Vec<_> = (0..world).map(of).collect();
            for (at, whole) in whole.iter().enumerate() {
                let parts: Vec<_> =
                    ranks.iter().flat_map(|steps| steps[at].parts.clone()).collect();
                assert_eq!(parts, whole.parts, "batch {at} on {world} ranks");
                for steps in &ranks {
                    let batch = Batch { parts: whole.parts.clone(), ..steps[at].clone() };
                    assert_eq!(batch, *whole, "all of it but the parts is the same on every rank");
                }
            }
        }
    }
}

#[test]
fn ranks_take_turns_in_an_evaluation() {
    let of = |shard| {
        let loader = loader(50, false).for_rank(shard);
        let mut batches = loader.once(&Device::Cpu, Some(3));
        let mut found = Vec::new();
        while let Some(batch) = batches.next().unwrap() {
            found.push(Batch { waited: Duration::ZERO, ..batch });
        }
        found
    };
    let whole = of(Shard::default());
    assert_eq!(whole.len(), 7);
    for rank in 0..4 {
        let expected: Vec<_> = whole.iter().skip(rank).step_by(4).cloned().collect();
        assert_eq!(of(Shard { rank, world: 4 }), expected);
    }
}

#[test]
fn a_bad_row_fails_its_own_batch_and_no_other() {
    for threads in [0, 2] {
        let rows = Rows::new((0..12).collect::<Vec<i32>>()).named("n.csv").map(|row| {
            assert_ne!(row, 9, "nine");
            anyhow::ensure!(row != 5, "five");
            Ok(row)
        });
        let loader = Loader::new(rows, |items: Vec<i32>, _| {
            anyhow::ensure!(items[0] != 2, "two");
            assert_ne!(items[0], 6, "six");
            Ok(items)
        });
        let loader = loader.batch(Batching::Rows(2)).shuffle(false).threads(threads);
        let mut batches = loader.once(&Device::Cpu, None);
        let mut outcomes = Vec::new();
        loop {
            match batches.next() {
                Ok(Some(step)) => outcomes.push(format!("{:?}", step.rows)),
                Ok(None) => break,
                Err(error) => outcomes.push(format!("{error:#}")),
            }
        }
        assert_eq!(
            outcomes,
            [
                "[0, 1]",
                "collate, batch 2 of epoch 1 (first row: n.csv row 3): two",
                "data `n.csv row 6`: five",
                "`collate` panicked at n.csv row 7 and 1 more row: assertion `left != right` failed: six\n  left: 6\n right: 6",
                "`dataset` panicked at n.csv row 10: assertion `left != right` failed: nine\n  left: 9\n right: 9",
                "[10, 11]"
            ]
        );
    }
}

#[test]
fn prefetch_is_bounded_and_dropping_joins_the_threads() {
    let made = Arc::new(AtomicUsize::new(0));
    let count = made.clone();
    let loader =
        Loader::new(Rows::new((0..1000).collect::<Vec<i32>>()), move |items: Vec<i32>, _| {
            count.fetch_add(1, Ordering::SeqCst);
            Ok(items)
        });
    let loader = loader.batch(Batching::Rows(1)).threads(3).prefetch(4);
    for taken in [0, 1, 20] {
        made.store(0, Ordering::SeqCst);
        let mut batches = loader.start(0, Position::default(), None, &Device::Cpu);
        for _ in 0..taken {
            batches.next().unwrap();
        }
        drop(batches);
        assert!(made.load(Ordering::SeqCst) <= taken + 4);
        // Each thread had a share in the source; they are gone.
        assert_eq!(Arc::strong_count(&loader.source), 1);
    }
}

#[test]
fn invalid_settings_fail_before_the_first_batch() {
    let empty = Loader::new(Rows::new(Vec::<u8>::new()), |items: Vec<u8>, _| Ok(items));
    assert_eq!(empty.check().unwrap_err().to_string(), "the data has no rows");
    let mut batches = empty.start(0, Position::default(), None, &Device::Cpu);
    assert_eq!(batches.next().unwrap_err().to_string(), "the data has no rows");
    assert!(batches.next().unwrap().is_none());
    let long = loader(7, false).batch(Batching::tokens(6));
    let error = long.check().unwrap_err().to_string();
    assert!(
        error.starts_with("data `numbers row 7`: 7 tokens are more than the 6 of a batch\nhint: "),
        "{error}"
    );
    assert_eq!((long.steps_in(0, 0), empty.steps_in(0, 0)), (0, 0));
}

#[test]
fn a_description_has_every_setting_of_the_order() {
    let plain = loader(30, false);
    assert_eq!(
        plain.describe().to_string(),
        r#"{"rows":30,"batching":{"rows":8},"shuffle":true,"drop_last":false}"#
    );
    let tokens = loader(30, false).batch(Batching::tokens(64)).describe();
    assert_eq!(tokens["batching"]["tokens"]["most"], 64);
    assert_eq!(plain.lengths().unwrap()[..8], [1, 2, 3, 4, 5, 6, 7, 1]);
    assert_eq!((plain.len(), plain.location(3).as_str()), (30, "numbers row 4"));
    assert_eq!(plain.digest().unwrap(), loader(30, true).digest().unwrap());
    let flat = Loader::new(Rows::new(vec![1, 2]), |items: Vec<i32>, _| Ok(items));
    assert!(flat.lengths().is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// An epoch of any loader has every row once, and as many steps as it says.
    #[test]
    fn an_epoch_of_batches_is_a_permutation(count in 1u32..60, rows in 1usize..20, tokens: bool, threads in 0usize..3) {
        let batching = if tokens { Batching::Tokens { most: rows + 6, pool: 10 } } else { Batching::Rows(rows) };
        let loader = loader(count, false).batch(batching).threads(threads);
        let mut batches = loader.start(9, Position { epoch: 3, batch: 0 }, None, &Device::Cpu);
        let mut all = Vec::new();
        for _ in 0..loader.steps_in(9, 3) {
            let step = batches.next().unwrap().unwrap();
            prop_assert_eq!(step.at.epoch, 3);
            all.extend(step.rows);
        }
        all.sort_unstable();
        prop_assert!(all.into_iter().eq(0..count));
        let next = batches.next().unwrap().unwrap();
        prop_assert_eq!(next.at, Position { epoch: 4, batch: 0 });
    }
}
