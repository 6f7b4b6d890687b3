//! The names of the folders of checkpoints.

/// Returns the name of the folder that holds the checkpoint of a step.
pub(crate) fn folder(step: u64) -> String {
    Kind::Complete.name(step)
}

/// The kind of a folder of checkpoints, which its name states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Deleted,
    Partial,
    Old,
    Complete,
}

impl Kind {
    /// Returns the name of the folder of this kind of a step.
    pub(super) fn name(self, step: u64) -> String {
        match self {
            Self::Complete => format!("step-{step:06}"),
            Self::Partial => format!(".step-{step:06}.partial"),
            Self::Old => format!(".step-{step:06}.old"),
            Self::Deleted => format!(".step-{step:06}.deleted"),
        }
    }

    /// Parses the name of a folder; `None` for a name that this module does not write.
    pub(super) fn parse(name: &str) -> Option<(u64, Self)> {
        let digits = name.trim_start_matches('.').strip_prefix("step-")?;
        let step = digits.split('.').next()?.parse().ok()?;
        let kinds = [Self::Complete, Self::Partial, Self::Old, Self::Deleted];
        kinds.into_iter().find(|kind| kind.name(step) == name).map(|kind| (step, kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_is_the_inverse_of_name_and_rejects_all_else() {
        for kind in [Kind::Deleted, Kind::Partial, Kind::Old, Kind::Complete] {
            for step in [0, 1, 999_999, 1_000_000, u64::MAX] {
                assert_eq!(Kind::parse(&kind.name(step)), Some((step, kind)));
            }
        }
        let others = [
            "step-1",
            "step-0000001",
            "step-000001.partial",
            ".step-000001",
            "..step-000001.old",
            "step-00000x",
            "step-+00001",
            "step-",
            "notes.txt",
            "",
        ];
        for other in others {
            assert_eq!(Kind::parse(other), None, "{other}");
        }
    }
}
