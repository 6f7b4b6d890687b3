use super::*;
use crate::data::Rows;

#[test]
fn an_error_in_a_change_names_the_row() {
    let rows = Rows::new(vec![1, 0]).named("n.csv").map(|row| {
        anyhow::ensure!(row != 0, "it is zero");
        Ok(row)
    });
    assert_eq!(rows.item(0).unwrap(), 1);
    assert_eq!(rows.item(1).unwrap_err().to_string(), "data `n.csv row 2`: it is zero");
}

#[test]
fn a_subset_keeps_places_and_tokens() {
    let rows = Rows::new(vec!["a", "bbb", "cc"]).with_tokens(|row| row.len()).unwrap();
    let whole = rows.digest().unwrap();
    let part = rows.subset([2, 1]).unwrap();
    assert_eq!((part.item(0).unwrap(), part.tokens(0), part.tokens(1)), ("cc", 2, 3));
    assert_eq!(part.location(0), "memory row 3");
    assert_ne!(part.digest().unwrap(), whole);
    assert!(part.item(2).is_err());
    let error = Rows::new(vec![1]).subset([1]).err().unwrap().to_string();
    assert_eq!(error, "a subset has the row index 1, and the data has 1 row");
}

#[test]
fn lengths_are_a_part_of_the_digest() {
    let with = |factor| {
        let rows = Rows::new(vec!["a", "bbb"]);
        rows.with_tokens(|row| row.len() * factor).unwrap().digest().unwrap()
    };
    assert_eq!(with(1), with(1));
    assert_ne!(with(1), with(2));
}

#[test]
fn counting_tokens_can_be_cancelled_half_way() {
    let (cancel, seen) = (CancelToken::new(), std::cell::Cell::new(0));
    let counted = Rows::new(vec![1; 100]).with_tokens_until(&cancel, |_| {
        seen.set(seen.get() + 1);
        if seen.get() == 7 {
            cancel.cancel();
        }
        1
    });
    assert!(matches!(counted, Err(Error::Cancelled)));
    assert_eq!(seen.get(), 7);
}
