//! Dates and times as text, in the proleptic Gregorian calendar.

use ::parquet::basic::TimeUnit;

const SECONDS_PER_DAY: i64 = 86_400;

/// Returns the units in a second and their number of decimal digits.
fn resolution(unit: TimeUnit) -> (i64, usize) {
    match unit {
        TimeUnit::MILLIS => (1_000, 3),
        TimeUnit::MICROS => (1_000_000, 6),
        TimeUnit::NANOS => (1_000_000_000, 9),
    }
}

/// Returns the date of a number of days since 1970-01-01, such as `2024-01-02`. Years that need more than four digits, or
/// a sign, have a sign.
pub(super) fn date(days: i64) -> String {
    // Days since 0000-03-01, so that a leap day is the last of its year.
    let days = days + 719_468;
    let (cycle, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    // Of the 400 years of the cycle: each fourth day 1460 is a leap day, but those of day 36,524, and the last again.
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // From March on, five months have 153 days.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = year + 400 * cycle + next;
    if (0..10_000).contains(&year) {
        format!("{year:04}-{month:02}-{day:02}")
    } else {
        format!("{year:+05}-{month:02}-{day:02}")
    }
}

/// Returns a time of day, such as `03:04:05.678`, with the digits of its unit.
pub(super) fn time(value: i64, unit: TimeUnit) -> Result<String, String> {
    let (per_second, digits) = resolution(unit);
    let (seconds, fraction) = (value / per_second, value % per_second);
    if value < 0 || seconds >= SECONDS_PER_DAY {
        return Err(format!("{value} is no time of day in units of 1/{per_second} s"));
    }
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    Ok(format!("{hour:02}:{minute:02}:{second:02}.{fraction:0digits$}"))
}

/// Returns a date and a time since 1970-01-01 00:00:00, such as `2024-01-02 03:04:05.678`, with ` +00:00` where it is UTC.
pub(super) fn timestamp(value: i64, unit: TimeUnit, utc: bool) -> Result<String, String> {
    let per_day = SECONDS_PER_DAY * resolution(unit).0;
    let (days, of_day) = (value.div_euclid(per_day), value.rem_euclid(per_day));
    let zone = if utc { " +00:00" } else { "" };
    Ok(format!("{} {}{zone}", date(days), time(of_day, unit)?))
}

/// Returns the text of an INT96: nanoseconds within a day that has a Julian number.
pub(super) fn julian(day: i64, nanos: i64) -> Result<String, String> {
    Ok(format!("{} {}", date(day - 2_440_588), time(nanos, TimeUnit::NANOS)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of Python: `datetime.date.toordinal`, and the day numbers of both ends of an `i32` by numpy's `datetime64[D]`.
    #[test]
    fn dates_are_those_of_the_gregorian_calendar() {
        for (days, text) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (19_724, "2024-01-02"),
            (19_782, "2024-02-29"),
            (19_783, "2024-03-01"),
            (11_016, "2000-02-29"),
            (-25_509, "1900-02-28"),
            (-25_508, "1900-03-01"),
            (47_540, "2100-02-28"),
            (47_541, "2100-03-01"),
            (-719_162, "0001-01-01"),
            (-719_528, "0000-01-01"),
            (-719_529, "-0001-12-31"),
            (2_932_896, "9999-12-31"),
            (2_932_897, "+10000-01-01"),
            (i64::from(i32::MAX), "+5881580-07-11"),
            (i64::from(i32::MIN), "-5877641-06-23"),
        ] {
            assert_eq!(date(days), text);
        }
    }

    #[test]
    fn times_have_the_digits_of_their_unit() {
        let (ms, us, ns) = (TimeUnit::MILLIS, TimeUnit::MICROS, TimeUnit::NANOS);
        assert_eq!(time(11_045_678, ms).unwrap(), "03:04:05.678");
        assert_eq!(time(86_399_999_999, us).unwrap(), "23:59:59.999999");
        assert_eq!(time(1, ns).unwrap(), "00:00:00.000000001");
        assert_eq!(time(-1, ms).unwrap_err(), "-1 is no time of day in units of 1/1000 s");
        assert!(time(86_400_000, ms).is_err());
        let at = 1_704_164_645_678_901_000;
        assert_eq!(timestamp(at, ns, false).unwrap(), "2024-01-02 03:04:05.678901000");
        assert_eq!(timestamp(at / 1000, us, true).unwrap(), "2024-01-02 03:04:05.678901 +00:00");
        assert_eq!(timestamp(-1, ms, false).unwrap(), "1969-12-31 23:59:59.999");
        assert_eq!(timestamp(i64::MIN, ns, false).unwrap(), "1677-09-21 00:12:43.145224192");
        assert_eq!(timestamp(i64::MAX, ms, false).unwrap(), "+292278994-08-17 07:12:55.807");
        assert_eq!(julian(2_460_312, 11_045_678_901_234).unwrap(), "2024-01-02 03:04:05.678901234");
    }
}
