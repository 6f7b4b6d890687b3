//! Lends a value of a caller to code further down the stack on the same thread, through a thread-local.

use std::cell::RefCell;
use std::thread::LocalKey;

/// A thread-local for the value that is lent.
pub(crate) type Slot<T> = LocalKey<RefCell<Option<T>>>;

/// Runs `work` while the slot has the value of `owner`, and then moves it back, after a panic too.
pub(crate) fn lend<T: Default, R>(
    slot: &'static Slot<T>,
    owner: &mut T,
    work: impl FnOnce() -> R,
) -> R {
    struct Loan<'a, T: Default + 'static> {
        slot: &'static Slot<T>,
        owner: &'a mut T,
        before: Option<T>,
    }
    impl<T: Default> Drop for Loan<'_, T> {
        fn drop(&mut self) {
            if let Some(lent) = self.slot.replace(self.before.take()) {
                *self.owner = lent;
            }
        }
    }
    let before = slot.replace(Some(std::mem::take(owner)));
    let _loan = Loan { slot, owner, before };
    work()
}

#[cfg(test)]
mod tests {
    use super::*;

    thread_local! {
        static SLOT: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
    }

    #[test]
    fn a_loan_returns_its_value_and_restores_the_outer_one() {
        let (mut outer, mut inner) = (vec![1], vec![2]);
        let push = |number| SLOT.with_borrow_mut(|slot| slot.as_mut().unwrap().push(number));
        lend(&SLOT, &mut outer, || {
            push(3);
            let run = std::panic::AssertUnwindSafe(|| {
                lend(&SLOT, &mut inner, || {
                    push(4);
                    panic!("on its way");
                });
            });
            assert!(std::panic::catch_unwind(run).is_err());
            push(5);
        });
        assert_eq!((outer, inner), (vec![1, 3, 5], vec![2, 4]));
        assert!(SLOT.with_borrow(Option::is_none));
    }
}
