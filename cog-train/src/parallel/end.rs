//! The end of each rank's training, as the others see it.

use crate::error::Error;

/// The end of a rank's training.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    Succeeded,
    Cancelled,
    /// The rank's error.
    Failed(String),
    /// The error with which rank 0 refuses the run, for all ranks.
    Refused(String),
    /// The rank has waited for the others as long as it may.
    Waited,
    /// The rank's process is gone or stopped, by the sentence of the one that has seen it.
    Lost(String),
}

/// The most bytes of an error that travel.
const MOST: usize = 2048;

impl End {
    /// Whether the other ranks cannot end well either.
    pub(super) fn is_failure(&self) -> bool {
        !matches!(self, Self::Succeeded | Self::Cancelled)
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let (tag, text) = match self {
            Self::Succeeded => (b's', ""),
            Self::Cancelled => (b'c', ""),
            Self::Waited => (b'w', ""),
            Self::Failed(text) => (b'f', &text[..text.floor_char_boundary(MOST)]),
            Self::Refused(text) => (b'r', &text[..text.floor_char_boundary(MOST)]),
            Self::Lost(text) => (b'l', &text[..text.floor_char_boundary(MOST)]),
        };
        [&[tag], text.as_bytes()].concat()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let text = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        match bytes.split_first() {
            Some((b's', _)) => Self::Succeeded,
            Some((b'c', _)) => Self::Cancelled,
            Some((b'w', _)) => Self::Waited,
            Some((b'r', rest)) => Self::Refused(text(rest)),
            Some((b'l', rest)) => Self::Lost(text(rest)),
            Some((_, rest)) => Self::Failed(text(rest)),
            None => Self::Failed("it sent no cause".to_owned()),
        }
    }

    /// The error of a rank that waits for `rank`, which has ended.
    pub(super) fn seen_of(&self, rank: usize) -> Error {
        let reason = match self {
            Self::Failed(text) | Self::Refused(text) => of_rank(rank, text),
            Self::Lost(text) => text.clone(),
            Self::Cancelled => format!("rank {rank}: cancelled"),
            Self::Waited => format!("rank {rank}: it waits no longer for the others"),
            Self::Succeeded => format!("rank {rank}: its training ended before that of the others"),
        };
        Error::Ranks { reason }
    }
}

/// Returns an error with its rank: itself where it names the rank that it is about.
fn of_rank(rank: usize, text: &str) -> String {
    let named = text.strip_prefix("rank ").and_then(|rest| rest.split_once([':', ' ']));
    match named {
        Some((number, _)) if number.parse::<usize>().is_ok() => text.to_owned(),
        _ => format!("rank {rank}: {text}"),
    }
}

/// Returns the error of a rank that has failed, first of all that of a lost one: others fail because of it.
pub(super) fn failure(ends: &[Option<End>]) -> Option<Error> {
    let failed = |is_cause: fn(&End) -> bool| {
        ends.iter().enumerate().find_map(|(rank, end)| {
            end.as_ref().filter(|end| is_cause(end)).map(|end| end.seen_of(rank))
        })
    };
    failed(|end| matches!(end, End::Lost(_))).or_else(|| failed(End::is_failure))
}

/// Whether ranks have waited for others too long, and none has failed: who waits with them ends for the same cause.
pub(super) fn is_waited_out(ends: &[Option<End>]) -> bool {
    let mut failures = ends.iter().flatten().filter(|end| end.is_failure()).peekable();
    failures.peek().is_some() && failures.all(|end| *end == End::Waited)
}

/// Returns the errors of all ranks, each once, with its rank where not all have the same.
pub(super) fn errors(ends: &[Option<End>]) -> Vec<String> {
    if let Some(Some(End::Refused(text))) = ends.first() {
        return vec![text.clone()];
    }
    let failed = |end: &Option<End>| match end {
        Some(End::Failed(text)) => Some(text.clone()),
        _ => None,
    };
    let texts: Vec<Option<String>> = ends.iter().map(failed).collect();
    if let Some(Some(first)) = texts.first()
        && texts.iter().all(|text| text.as_ref() == Some(first))
    {
        return vec![first.clone()];
    }
    let lost = ends.iter().flatten().filter_map(|end| match end {
        End::Lost(text) => Some(text),
        _ => None,
    });
    let mut errors: Vec<String> = Vec::new();
    for text in lost {
        if !errors.contains(text) {
            errors.push(text.clone());
        }
    }
    let lost = errors.len();
    for (rank, text) in texts.iter().enumerate() {
        let Some(text) = text else { continue };
        let error = of_rank(rank, text);
        // What fails because a rank is lost has its sentence in it.
        if !errors.contains(&error) && !errors[..lost].iter().any(|cause| error.contains(cause)) {
            errors.push(error);
        }
    }
    if errors.is_empty() {
        let late = ends.iter().enumerate().filter(|(_, end)| end.is_none());
        errors.extend(late.map(|(rank, _)| {
            format!(
                "rank {rank}: the others have waited for it too long\nhint: `COG_TRAIN_RANKS_TIMEOUT` is the longest wait in seconds"
            )
        }));
    }
    if errors.is_empty() && ends.iter().any(|end| *end != ends[0] || *end == Some(End::Waited)) {
        let odd = ends.iter().position(|end| *end != Some(End::Succeeded)).unwrap_or_default();
        errors.extend(ends[odd].as_ref().map(|end| end.seen_of(odd).to_string()));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_shown_with_the_rank_that_it_is_about() {
        assert_eq!(of_rank(3, "no such file"), "rank 3: no such file");
        assert_eq!(of_rank(3, "rank 1: no such file"), "rank 1: no such file");
        let lost = "rank 1 (node2, pid 40) has not answered for 15 s";
        assert_eq!(of_rank(3, lost), lost);
        assert_eq!(of_rank(3, "rank x: no"), "rank 3: rank x: no");
    }

    #[test]
    fn an_end_is_the_same_after_its_bytes() {
        let text = || "device `cuda:1`: none".to_owned();
        let failed = [End::Failed(text()), End::Refused(text()), End::Lost(text())];
        for end in [End::Succeeded, End::Cancelled, End::Waited].into_iter().chain(failed) {
            assert_eq!(End::from_bytes(&end.to_bytes()), end);
        }
        let long = End::Failed("é".repeat(MOST));
        let End::Failed(text) = End::from_bytes(&long.to_bytes()) else { panic!() };
        assert_eq!(text, "é".repeat(MOST / 2));
    }

    #[expect(clippy::unnecessary_wraps, reason = "an end that has arrived")]
    fn failed(text: &str) -> Option<End> {
        Some(End::Failed(text.to_owned()))
    }

    #[test]
    fn each_error_is_reported_once_and_with_its_rank() {
        let ok = || Some(End::Succeeded);
        let lost = |rank| {
            Some(End::Lost(format!("rank {rank} (node2, pid 40) has not answered for 15 s")))
        };
        for (ends, expected) in [
            (vec![ok(), ok()], vec![]),
            (vec![Some(End::Cancelled), Some(End::Cancelled)], vec![]),
            // All made the same mistake.
            (vec![failed("no such file"), failed("no such file")], vec!["no such file"]),
            (
                vec![
                    Some(End::Refused("no such input".to_owned())),
                    failed("rank 0: no such input"),
                ],
                vec!["no such input"],
            ),
            // Rank 1 failed, and the others saw it or are killed.
            (vec![failed("rank 1: full"), failed("full"), None], vec!["rank 1: full"]),
            (vec![ok(), failed("full"), ok()], vec!["rank 1: full"]),
            (vec![failed("a"), failed("b")], vec!["rank 0: a", "rank 1: b"]),
            (vec![Some(End::Cancelled), failed("rank 0: cancelled")], vec!["rank 0: cancelled"]),
            (vec![Some(End::Cancelled), ok()], vec!["rank 0: cancelled"]),
            // Rank 2 is stopped, and the others fail in what needs it.
            (
                vec![
                    failed("no checkpoint: rank 2 (node2, pid 40) has not answered for 15 s"),
                    Some(End::Waited),
                    lost(2),
                    None,
                ],
                vec!["rank 2 (node2, pid 40) has not answered for 15 s"],
            ),
        ] {
            assert_eq!(errors(&ends), expected, "{ends:?}");
        }
        let hangs = [Some(End::Waited), None, Some(End::Waited)];
        let expected = "rank 1: the others have waited for it too long\nhint: ";
        let [error] = &errors(&hangs)[..] else { panic!("{:?}", errors(&hangs)) };
        assert!(error.starts_with(expected), "{error}");
        assert_eq!(errors(&[Some(End::Waited), Some(End::Waited)]).len(), 1);
    }
}
