//! Points in time as text.

use std::time::{SystemTime, UNIX_EPOCH};

/// A date and time in UTC.
pub(crate) struct Utc {
    year: i64,
    month: u64,
    day: u64,
    second: u64,
    micro: u32,
}

impl Utc {
    pub(crate) fn now() -> Self {
        Self::at(SystemTime::now())
    }

    /// Days to a civil date as in Howard Hinnant's "chrono-compatible low-level date algorithms": years that begin in
    /// March put the leap day last.
    fn at(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let days = since.as_secs() / 86_400 + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        Self {
            year: i64::try_from(year_of_era + era * 400).unwrap_or(i64::MAX)
                + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * shifted + 2) / 5 + 1,
            second: since.as_secs() % 86_400,
            micro: since.subsec_micros(),
        }
    }

    /// `2026-11-23T22:03:11.123456Z`.
    pub(crate) fn rfc3339(&self) -> String {
        let Self { year, month, day, second, micro } = self;
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micro:06}Z")
    }

    /// `20261123-220311`.
    pub(crate) fn compact(&self) -> String {
        let Self { year, month, day, second, .. } = self;
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        format!("{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// `date -u -d @N +%FT%TZ` for each.
    #[test]
    fn dates_of_leap_years_and_their_borders() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399, "2000-02-28T23:59:59.000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000000Z"),
            (1_709_251_200, "2024-03-01T00:00:00.000000Z"),
            (1_795_471_391, "2026-11-23T22:03:11.000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000Z"),
        ] {
            assert_eq!(Utc::at(UNIX_EPOCH + Duration::from_secs(seconds)).rfc3339(), text);
        }
    }
}
