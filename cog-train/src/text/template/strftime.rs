//! Dates as Python's `strftime` writes them, in the C locale and in UTC.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

struct Date {
    seconds: i64,
    year: i64,
    /// 1 to 12.
    month: usize,
    /// 1 to 31.
    day: i64,
    /// 1 to 366.
    of_year: i64,
    /// Sunday is 0.
    weekday: usize,
    hour: i64,
    minute: i64,
    second: i64,
    microsecond: u32,
}

impl Date {
    fn new(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX / 2);
        let (days, of_day) = (seconds / 86400, seconds % 86400);
        let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let (mut year, mut left) = (1970 + days / 146_097 * 400, days % 146_097);
        while left >= 365 + i64::from(leap(year)) {
            left -= 365 + i64::from(leap(year));
            year += 1;
        }
        let of_year = left + 1;
        let lengths = [31, 28 + i64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let mut month = 0;
        while left >= lengths[month] {
            left -= lengths[month];
            month += 1;
        }
        Self {
            seconds,
            year,
            month: month + 1,
            day: left + 1,
            of_year,
            // 1970 began on a Thursday.
            weekday: usize::try_from((days + 4) % 7).unwrap_or_default(),
            hour: of_day / 3600,
            minute: of_day / 60 % 60,
            second: of_day % 60,
            microsecond: since.subsec_micros(),
        }
    }

    /// The hour of a clock with 12 hours.
    fn half(&self) -> i64 {
        (self.hour + 11) % 12 + 1
    }
}

/// Formats a time. A directive that C does not know is written as it stands.
pub(super) fn strftime(format: &str, time: SystemTime) -> String {
    let date = Date::new(time);
    let mut text = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        let mut directive = chars.next();
        let unpadded = directive == Some('-');
        if unpadded {
            directive = chars.next();
        }
        let Some(directive) = directive else {
            text.push_str(if unpadded { "%-" } else { "%" });
            break;
        };
        write(&mut text, &date, directive, unpadded, time);
    }
    text
}

fn write(text: &mut String, date: &Date, directive: char, unpadded: bool, time: SystemTime) {
    let month = MONTHS[date.month - 1];
    let weekday = DAYS[date.weekday];
    let again = |format: &str| strftime(format, time);
    let padded = |number: i64, width: usize, fill: char| {
        let digits = number.to_string();
        let missing = if unpadded { 0 } else { width.saturating_sub(digits.len()) };
        std::iter::repeat_n(fill, missing).collect::<String>() + &digits
    };
    let piece = match directive {
        'Y' => date.year.to_string(),
        'y' => padded(date.year % 100, 2, '0'),
        'm' => padded(i64::try_from(date.month).unwrap_or_default(), 2, '0'),
        'd' => padded(date.day, 2, '0'),
        'e' => padded(date.day, 2, ' '),
        'j' => padded(date.of_year, 3, '0'),
        'H' => padded(date.hour, 2, '0'),
        'I' => padded(date.half(), 2, '0'),
        'M' => padded(date.minute, 2, '0'),
        'S' => padded(date.second, 2, '0'),
        'f' => format!("{:06}", date.microsecond),
        'p' => if date.hour < 12 { "AM" } else { "PM" }.to_owned(),
        'B' => month.to_owned(),
        'b' | 'h' => month[..3].to_owned(),
        'A' => weekday.to_owned(),
        'a' => weekday[..3].to_owned(),
        'w' => date.weekday.to_string(),
        'u' => ((date.weekday + 6) % 7 + 1).to_string(),
        's' => date.seconds.to_string(),
        'F' => again("%Y-%m-%d"),
        'D' | 'x' => again("%m/%d/%y"),
        'T' | 'X' => again("%H:%M:%S"),
        'R' => again("%H:%M"),
        'r' => again("%I:%M:%S %p"),
        'c' => again("%a %b %e %H:%M:%S %Y"),
        'n' => "\n".to_owned(),
        't' => "\t".to_owned(),
        // A time without a zone, as Python's `datetime.now()` is.
        'Z' | 'z' => String::new(),
        '%' => "%".to_owned(),
        other => format!("%{}{other}", if unpadded { "-" } else { "" }),
    };
    let _ = text.write_str(&piece);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// ```python
    /// datetime.datetime.fromtimestamp(seconds, datetime.UTC).replace(tzinfo=None).strftime(format)
    /// ```
    #[test]
    fn directives_equal_pythons() {
        let all = "%Y %y %m %d %e %j %H %I %M %S %f %p %B %b %A %a %w %u %F %D %T %R %r %c %x %X %% [%Z%z] %-d/%-m %-I";
        for (seconds, expected) in [
            (
                0,
                "1970 70 01 01  1 001 00 12 00 00 000000 AM January Jan Thursday Thu 4 4 1970-01-01 01/01/70 00:00:00 00:00 \
                 12:00:00 AM Thu Jan  1 00:00:00 1970 01/01/70 00:00:00 % [] 1/1 12",
            ),
            (
                1_709_251_199, // the last second of a leap day
                "2024 24 02 29 29 060 23 11 59 59 000000 PM February Feb Thursday Thu 4 4 2024-02-29 02/29/24 23:59:59 23:59 \
                 11:59:59 PM Thu Feb 29 23:59:59 2024 02/29/24 23:59:59 % [] 29/2 11",
            ),
            (
                4_107_542_400, // after February 2100, which has no leap day
                "2100 00 03 01  1 060 00 12 00 00 000000 AM March Mar Monday Mon 1 1 2100-03-01 03/01/00 00:00:00 00:00 \
                 12:00:00 AM Mon Mar  1 00:00:00 2100 03/01/00 00:00:00 % [] 1/3 12",
            ),
            (
                1_798_675_200, // the last day of a year
                "2026 26 12 31 31 365 00 12 00 00 000000 AM December Dec Thursday Thu 4 4 2026-12-31 12/31/26 00:00:00 00:00 \
                 12:00:00 AM Thu Dec 31 00:00:00 2026 12/31/26 00:00:00 % [] 31/12 12",
            ),
        ] {
            assert_eq!(strftime(all, UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        }
        assert_eq!(strftime("100% %-Q %", UNIX_EPOCH), "100% %-Q %");
    }
}
