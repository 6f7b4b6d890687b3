use proptest::prelude::*;

use super::*;

fn any_batching() -> impl Strategy<Value = Batching> {
    prop_oneof![
        (1usize..40).prop_map(Batching::Rows),
        (50usize..300, 1usize..100).prop_map(|(most, pool)| Batching::Tokens { most, pool }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn an_epoch_has_every_row_once_and_is_always_the_same(
        seed: u64, epoch in 0u64..1000, batching in any_batching(), shuffle: bool,
        lengths in prop::collection::vec(0u32..50, 1..300),
    ) {
        let count = lengths.len();
        let make = || Sampler::new(seed, count, batching, shuffle).unwrap().lengths(lengths.clone()).unwrap();
        let made = make().epoch(epoch);
        prop_assert_eq!(&made, &make().epoch(epoch));
        prop_assert_eq!(made.len() as u64, make().steps_in(epoch));
        let mut all = made.iter().flatten().copied().collect::<Vec<_>>();
        all.sort_unstable();
        prop_assert!(all.into_iter().eq(0..u32::try_from(count).unwrap()));
        for (at, batch) in made.iter().enumerate() {
            prop_assert!(!batch.is_empty());
            match batching {
                Batching::Rows(rows) => prop_assert!(batch.len() == rows || at + 1 == made.len()),
                Batching::Tokens { most, .. } => {
                    let longest = batch.iter().map(|row| lengths[*row as usize]).max().unwrap();
                    prop_assert!(batch.len() * longest as usize <= most);
                }
            }
        }
    }

    #[test]
    fn only_the_ragged_batch_is_dropped(count in 1usize..100, rows in 1usize..20) {
        let whole = Sampler::new(5, count, Batching::Rows(rows), true).unwrap();
        let Ok(dropped) = whole.clone().drop_last(true) else {
            prop_assert!(count < rows);
            return Ok(());
        };
        let (whole, short) = (whole.epoch(2), dropped.epoch(2));
        prop_assert_eq!(short.len() as u64, dropped.steps_in(2));
        prop_assert_eq!(short.len(), count / rows);
        prop_assert!(short.iter().zip(whole.iter()).all(|(short, whole)| short == whole && short.len() == rows));
    }
}

#[test]
fn order_depends_on_seed_and_epoch_alone() {
    let order = |seed, epoch, rows| {
        let sampler = Sampler::new(seed, 50, Batching::Rows(rows), true).unwrap();
        sampler.epoch(epoch).iter().flatten().copied().collect::<Vec<u32>>()
    };
    assert_eq!(order(1, 0, 4), order(1, 0, 7));
    assert_ne!(order(1, 0, 4), order(2, 0, 4));
    assert_ne!(order(1, 0, 4), order(1, 1, 4));
}

#[test]
fn batches_by_tokens_are_shuffled_and_pad_little() {
    let lengths: Vec<u32> = (0..1000).map(|row| row * 37 % 200 + 1).collect();
    let sampler = Sampler::new(3, 1000, Batching::tokens(1000), true).unwrap();
    let sampler = sampler.lengths(lengths.clone()).unwrap();
    let epoch = sampler.epoch(0);
    let longest: Vec<u32> = epoch
        .iter()
        .map(|batch| batch.iter().map(|row| lengths[*row as usize]).max().unwrap())
        .collect();
    assert!(!longest.is_sorted() && !longest.iter().rev().is_sorted());
    let padded: usize =
        epoch.iter().zip(&longest).map(|(batch, longest)| batch.len() * *longest as usize).sum();
    let real: usize = lengths.iter().map(|length| *length as usize).sum();
    assert!(padded * 20 < real * 21, "{padded} padded, {real} real");
    // Without shuffling the same pools come shortest first.
    let plain = Sampler { shuffle: false, ..sampler }.epoch(0);
    assert!(plain.iter().map(|batch| lengths[batch[0] as usize]).is_sorted());
}

#[test]
fn invalid_settings_are_refused_with_both_numbers() {
    let reason = |made: Result<Sampler, Error>| made.unwrap_err().to_string();
    assert_eq!(reason(Sampler::new(0, 0, Batching::Rows(1), true)), "the data has no rows");
    assert_eq!(reason(Sampler::new(0, 1, Batching::Rows(0), true)), "a batch of 0 rows");
    let sampler = Sampler::new(0, 3, Batching::tokens(10), true).unwrap();
    let error = reason(sampler.clone().lengths(vec![10, 11, 3]));
    assert!(
        error.starts_with("row 2 has 11 tokens, more than the 10 of a batch\nhint: "),
        "{error}"
    );
    assert_eq!(reason(sampler.clone().lengths(vec![1])), "1 length for 3 rows");
    let four = Sampler::new(0, 3, Batching::Rows(4), true).unwrap();
    let error = reason(four.drop_last(true));
    assert!(error.starts_with("the data has 3 rows, fewer than the 4 of a batch"), "{error}");
}

#[test]
fn a_position_is_plain_json() {
    let at = Position { epoch: 2, batch: 7 };
    let text = serde_json::to_string(&at).unwrap();
    assert_eq!(text, r#"{"epoch":2,"batch":7}"#);
    assert_eq!(serde_json::from_str::<Position>(&text).unwrap(), at);
}
