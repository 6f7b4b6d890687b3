//! The operation that a rank is in, by its number and its kind.

/// An operation between ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[cfg_attr(
    not(any(feature = "mpi", feature = "nccl")),
    expect(dead_code, reason = "ranks have no transport")
)]
pub(super) enum Operation {
    Sum = 1,
    Broadcast,
    AllToAll,
    Gather,
    Agree,
    Barrier,
}

/// The operation that a rank has begun last, and the one before. All ranks call the same operations in the same order: those of one number
/// have one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Position {
    number: u64,
    before: u8,
    kind: u8,
}

impl Position {
    /// Reads 8 bytes: the kinds, and the number without its highest 16 bits.
    pub(super) fn from_bits(bits: u64) -> Self {
        let [kind, before, ..] = bits.to_le_bytes();
        Self { number: bits >> 16, before, kind }
    }

    pub(super) fn bits(self) -> u64 {
        self.number << 16 | u64::from(self.before) << 8 | u64::from(self.kind)
    }

    /// Returns the position of a rank that begins its next operation.
    pub(super) fn next(self, operation: Operation) -> Self {
        Self { number: self.number + 1, before: self.kind, kind: operation as u8 }
    }

    /// Returns the operations that two ranks have begun in each other's place. A rank is at most one operation ahead: it begins none
    /// before all have begun the one before.
    pub(super) fn contradiction(self, other: Self) -> Option<Contradiction> {
        let (own, other) = match (self.number, other.number) {
            (own, other_number) if own == other_number => (self.kind, other.kind),
            (own, other_number) if own + 1 == other_number => (self.kind, other.before),
            (own, other_number) if own == other_number + 1 => (self.before, other.kind),
            _ => return None,
        };
        (own != other).then(|| Contradiction { own: name(own), other: name(other) })
    }
}

/// Two operations, by the methods of [`Communicator`](super::Communicator).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Contradiction {
    pub(super) own: &'static str,
    pub(super) other: &'static str,
}

fn name(kind: u8) -> &'static str {
    match kind {
        1 => "sum",
        2 => "broadcast",
        3 => "all_to_all",
        4 => "gather",
        5 => "agree",
        6 => "barrier",
        _ => "nothing",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_of_one_number_have_one_kind() {
        let start = Position::default().next(Operation::Barrier);
        let (sum, agree) = (start.next(Operation::Sum), start.next(Operation::Agree));
        let expected = Some(Contradiction { own: "sum", other: "agree" });
        assert_eq!(sum.contradiction(agree), expected);
        // Rank 1 has left its operation, and the other one has not.
        assert_eq!(sum.contradiction(agree.next(Operation::Gather)), expected);
        assert_eq!(sum.next(Operation::Gather).contradiction(agree), expected);
        for (one, other) in
            [(sum, sum), (sum, start), (start, sum), (sum.next(Operation::Sum), start)]
        {
            assert_eq!(one.contradiction(other), None);
        }
        assert_eq!(Position::from_bits(agree.bits()), agree);
    }
}
