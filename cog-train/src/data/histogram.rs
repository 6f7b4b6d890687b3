//! A histogram of the lengths of rows as text, for the dry run.

/// The most rows of the picture.
const BINS: usize = 8;
/// The most characters of a bar.
const BAR: usize = 32;

/// A histogram of `lengths`: one line for each of at most 8 ranges of one width, such as `  64-127  ######  120`. No
/// lengths give no lines.
///
/// ```
/// let lines = cog_train::data::histogram(&[1, 2, 2, 9]);
/// assert_eq!(lines[0], "1-2  ################################  3");
/// assert_eq!(lines[4], "9-9  ###########                       1");
/// ```
#[must_use]
pub fn lines(lengths: &[usize]) -> Vec<String> {
    let (Some(least), Some(most)) = (lengths.iter().min().copied(), lengths.iter().max().copied())
    else {
        return Vec::new();
    };
    let width = (most - least) / BINS + 1;
    let mut counts = vec![0usize; (most - least) / width + 1];
    for length in lengths {
        counts[(length - least) / width] += 1;
    }
    let peak = counts.iter().max().copied().unwrap_or(1);
    let digits = most.to_string().len();
    let shown = counts.iter().enumerate().map(|(bin, count)| {
        let low = least + bin * width;
        let high = most.min(low + (width - 1));
        // Rounded up: what is there is seen.
        let bar = "#".repeat((count * BAR).div_ceil(peak));
        format!("{low:>digits$}-{high:<digits$}  {bar:<BAR$}  {count}")
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_counted_once() {
        let lengths: Vec<usize> = (0..1000).map(|at| at * at % 517).collect();
        let lines = lines(&lengths);
        assert!(lines.len() <= BINS);
        let counts = lines.iter().map(|line| line.rsplit(' ').next().unwrap().parse::<usize>());
        assert_eq!(counts.map(Result::unwrap).sum::<usize>(), 1000);
        assert!(lines[0].starts_with("  0-63  "), "{lines:?}");
    }

    #[test]
    fn one_length_and_none() {
        assert_eq!(lines(&[7, 7]), [format!("7-7  {}  2", "#".repeat(BAR))]);
        assert!(lines(&[]).is_empty());
        assert_eq!(lines(&[0, 1_000_000]).len(), 8);
    }
}
