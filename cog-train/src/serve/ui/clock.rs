//! The time of each step, from the event file that `TensorBoard` reads: `metrics.jsonl` has no clock in it, so that equal runs
//! have equal files.
//!
//! An answer has pairs of a step and a time in seconds since 1970, few enough to draw: between two of them a step's time is on
//! the line. Each record of the file is a length of 8 bytes, its checksum of 4, an `Event` of that length, and its checksum.

use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::query::Query;
use super::tail::Tail;

const PREFIX: &str = "events.out.tfevents.";
const BUFFER: usize = 1 << 18;
/// The bytes of an event that hold its time and its step.
const HEAD: usize = 20;

/// Reads the times of a run's steps.
pub(super) fn read(dir: &Path, query: &Query) -> io::Result<Value> {
    let nothing =
        json!({"cursor": null, "restarted": query.after.is_some(), "step": [], "time": []});
    let Some(path) = event_file(dir)? else { return Ok(nothing) };
    let Some(tail) = Tail::open(&path, query.after.as_deref())? else { return Ok(nothing) };
    let restarted = tail.restarted;
    let mut knots = Knots::new(query.width);
    let mut end = tail.start;
    let mut reader = BufReader::with_capacity(BUFFER, &tail.file);
    while let Some((event, length)) = record(&mut reader, tail.length - end)? {
        end += length;
        if let Some((step, time)) = step_of(&event) {
            knots.add(step, time);
        }
    }
    let (step, time): (Vec<u64>, Vec<f64>) = knots.finish().into_iter().unzip();
    Ok(json!({"cursor": tail.cursor(end)?, "restarted": restarted, "step": step, "time": time}))
}

/// Returns the newest event file.
fn event_file(dir: &Path) -> io::Result<Option<PathBuf>> {
    let names = std::fs::read_dir(dir)?.flatten().map(|entry| entry.file_name());
    let newest = names.filter(|name| name.to_string_lossy().starts_with(PREFIX)).max();
    Ok(newest.map(|name| dir.join(name)))
}

/// Reads the head of the next event and passes the rest of its record; the bytes of the record. `None` when the file has no
/// whole record there: its last one may be being written.
fn record(reader: &mut impl io::BufRead, left: u64) -> io::Result<Option<([u8; HEAD], u64)>> {
    if left < 12 {
        return Ok(None);
    }
    let mut frame = [0; 12];
    reader.read_exact(&mut frame)?;
    let length = u64::from_le_bytes(frame[..8].try_into().expect("8 bytes"));
    let Some(total) = length.checked_add(16).filter(|total| *total <= left) else {
        return Ok(None);
    };
    let mut event = [0; HEAD];
    let known = usize::try_from(length).map_or(HEAD, |length| length.min(HEAD));
    reader.read_exact(&mut event[..known])?;
    io::copy(&mut reader.take(length - known as u64 + 4), &mut io::sink())?;
    Ok(Some((event, total)))
}

/// Returns the step and the time of an event that has them first: `wall_time` is field 1, a double, and `step` field 2.
fn step_of(event: &[u8; HEAD]) -> Option<(u64, f64)> {
    let (9, 16) = (event[0], event[9]) else { return None };
    let time = f64::from_le_bytes(event[1..9].try_into().expect("8 bytes"));
    let mut step = 0;
    for (at, byte) in event[10..].iter().enumerate() {
        step |= u64::from(byte & 0x7f).checked_shl(7 * u32::try_from(at).ok()?)?;
        if byte & 0x80 == 0 {
            return time.is_finite().then_some((step, time));
        }
    }
    None
}

/// A function of steps by some of its points: the first of each `stride`, and the last.
struct Knots {
    most: usize,
    stride: usize,
    count: usize,
    kept: Vec<(u64, f64)>,
    last: Option<(u64, f64)>,
}

impl Knots {
    fn new(width: usize) -> Self {
        Self { most: 2 * width, stride: 1, count: 0, kept: Vec::new(), last: None }
    }

    /// Adds a point. Of a step's several events the first counts.
    fn add(&mut self, step: u64, time: f64) {
        if self.last.is_some_and(|(last, _)| last == step) {
            return;
        }
        self.last = Some((step, time));
        if self.count.is_multiple_of(self.stride) {
            if self.kept.len() == self.most {
                self.kept = self.kept.iter().step_by(2).copied().collect();
                self.stride *= 2;
            }
            self.kept.push((step, time));
        }
        self.count += 1;
    }

    fn finish(mut self) -> Vec<(u64, f64)> {
        let last = self.last.filter(|last| self.kept.last() != Some(last));
        self.kept.extend(last);
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knots_are_points_in_their_order_with_both_ends() {
        for count in [1_u32, 19, 20, 21, 39, 1000, 1001] {
            let mut knots = Knots::new(10);
            for step in 0..count {
                knots.add(step.into(), f64::from(step) * 0.5);
                knots.add(step.into(), f64::MAX);
            }
            let kept = knots.finish();
            assert!(kept.len() <= 21, "{count} points make {}", kept.len());
            assert_eq!((kept[0].0, kept[kept.len() - 1].0), (0, u64::from(count - 1)));
            assert!(kept.iter().all(|(step, time)| (*time * 2.0).to_string() == step.to_string()));
            assert!(kept.is_sorted_by(|a, b| a.0 < b.0));
        }
    }

    #[test]
    fn half_a_record_and_one_of_an_endless_length_are_the_end() {
        let mut event = vec![9];
        event.extend(1.5_f64.to_le_bytes());
        event.extend([16, 0x85, 0x02, 0x2a]);
        let frame = |length: u64| [&length.to_le_bytes()[..], &[0; 4]].concat();
        let whole = [&frame(event.len() as u64)[..], &event, &[0; 4]].concat();
        let dir = tempfile::tempdir().unwrap();
        let endless = frame(u64::MAX - 3);
        for rest in [&whole[..whole.len() - 1], &whole[..11], &endless[..], b""] {
            std::fs::write(dir.path().join("events.out.tfevents.1.host"), [&whole, rest].concat())
                .unwrap();
            let found = read(dir.path(), &Query::parse("").unwrap()).unwrap();
            assert_eq!((&found["step"], &found["time"]), (&json!([261]), &json!([1.5])));
            assert!(found["cursor"].as_str().unwrap().starts_with(&format!("{}-", whole.len())));
        }
    }
}
