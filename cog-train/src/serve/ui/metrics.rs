//! The curves of a run, from one pass over `metrics.jsonl`.
//!
//! An answer has for each name the buckets of its points between the steps `from` and `to`, and the `first` and `last` step of
//! the file. With `after` it has the points that are new.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};

use super::buckets::Buckets;
use super::query::Query;
use super::tail::Tail;

const FILE: &str = "metrics.jsonl";
/// The most names of one run. Each has its buckets in memory.
const NAMES: usize = 200;
const BUFFER: usize = 1 << 18;

/// Reads the curves of a run.
pub(super) fn read(dir: &Path, query: &Query) -> io::Result<Value> {
    let Some(tail) = Tail::open(&dir.join(FILE), query.after.as_deref())? else {
        let restarted = query.after.is_some();
        return Ok(json!({"cursor": null, "restarted": restarted, "lines": 0, "series": {}}));
    };
    let restarted = tail.restarted;
    let mut curves =
        Curves { query, series: BTreeMap::new(), left_out: 0, first: None, last: None };
    let (mut end, mut lines) = (tail.start, 0_u64);
    let mut reader = BufReader::with_capacity(BUFFER, &tail.file);
    let mut line = Vec::new();
    loop {
        line.clear();
        // A line that is being written is read once it is whole.
        if reader.read_until(b'\n', &mut line)? == 0 || line.last() != Some(&b'\n') {
            break;
        }
        end += line.len() as u64;
        lines += 1;
        if let Ok(line) = serde_json::from_slice::<Line<'_>>(&line) {
            curves.add(&line);
        }
    }
    let Curves { series, left_out, first, last, .. } = curves;
    let series: BTreeMap<&str, Value> =
        series.iter().map(|(name, buckets)| (name.as_str(), buckets.json())).collect();
    Ok(json!({
        "cursor": tail.cursor(end)?,
        "restarted": restarted,
        "lines": lines,
        "first": first,
        "last": last,
        "series": series,
        "left_out": left_out,
    }))
}

struct Curves<'q> {
    query: &'q Query,
    series: BTreeMap<String, Buckets>,
    /// The values of names beyond the most.
    left_out: u64,
    first: Option<f64>,
    last: Option<f64>,
}

impl Curves<'_> {
    fn add(&mut self, line: &Line<'_>) {
        let Some(step) = line.step else { return };
        self.first = Some(self.first.map_or(step, |first| first.min(step)));
        self.last = Some(self.last.map_or(step, |last| last.max(step)));
        if step < self.query.from || step > self.query.to {
            return;
        }
        for (name, value) in &line.values {
            if let Some(buckets) = self.series.get_mut(name.as_ref()) {
                buckets.add(step, *value);
            } else if self.series.len() < NAMES {
                let mut buckets = Buckets::new(self.query.width);
                buckets.add(step, *value);
                self.series.insert(name.clone().into_owned(), buckets);
            } else {
                self.left_out += 1;
            }
        }
    }
}

/// The numbers of a line.
pub(super) struct Line<'a> {
    pub(super) step: Option<f64>,
    pub(super) values: Vec<(Cow<'a, str>, f64)>,
}

impl<'de> Deserialize<'de> for Line<'de> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Line<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Line<'de>, A::Error> {
                let mut line = Line { step: None, values: Vec::with_capacity(8) };
                while let Some(Name(name)) = map.next_key()? {
                    let Reading(Some(value)) = map.next_value()? else { continue };
                    if name == "step" {
                        line.step = Some(value);
                    } else {
                        line.values.push((name, value));
                    }
                }
                Ok(line)
            }
        }
        source.deserialize_map(Fields)
    }
}

/// A name, borrowed from the line where it has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        source.deserialize_str(Text)
    }
}

/// The number of a value; `None` for one that is no number. The texts of numbers that are not finite are numbers.
struct Reading(Option<f64>);

impl<'de> Deserialize<'de> for Reading {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Any;
        #[expect(clippy::cast_precision_loss, reason = "it is drawn")]
        impl<'de> Visitor<'de> for Any {
            type Value = Reading;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_f64<E>(self, value: f64) -> Result<Reading, E> {
                Ok(Reading(Some(value)))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Reading, E> {
                Ok(Reading(Some(value as f64)))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Reading, E> {
                Ok(Reading(Some(value as f64)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Reading, E> {
                Ok(Reading(matches!(text, "NaN" | "Infinity" | "-Infinity").then_some(f64::NAN)))
            }
            fn visit_bool<E>(self, _: bool) -> Result<Reading, E> {
                Ok(Reading(None))
            }
            fn visit_unit<E>(self) -> Result<Reading, E> {
                Ok(Reading(None))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Reading, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Reading(None))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Reading, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Reading(None))
            }
        }
        source.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curves(text: &str, query: &str) -> Value {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), text).unwrap();
        read(dir.path(), &Query::parse(query).unwrap()).unwrap()
    }

    #[test]
    fn numbers_are_curves_and_nothing_else_is() {
        let text = concat!(
            "{\"step\":1,\"loss\":0.5,\"skipped\":\"no targets\",\"ok\":true}\n",
            "{\"step\":1,\"time/x\":[1,{\"a\":2}],\"none\":null,\"e\\u0301\":-3}\n",
            "not JSON\n",
            "{\"loss\":9}\n",
            "{\"loss\":0.25,\"step\":2}\n",
            "{\"step\":3,\"loss\":\"NaN\"}\n",
            "{\"step\":4,\"loss\":0.1"
        );
        let found = curves(text, "");
        assert_eq!(
            (&found["lines"], &found["first"], &found["last"]),
            (&6.into(), &1.0.into(), &3.0.into())
        );
        let names: Vec<&String> = found["series"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["e\u{301}", "loss"]);
        let loss = json!({"count": 2, "not_finite": 1, "x": [1, 2], "mean": [0.5, 0.25]});
        assert_eq!(found["series"]["loss"], loss);
    }

    #[test]
    fn a_range_has_its_own_points_and_the_whole_files_ends() {
        let line = |step: u32| format!("{{\"step\":{step},\"a\":{step}}}\n");
        let text = (1..=100).map(line).collect::<Vec<_>>().concat();
        let found = curves(&text, "from=11&to=13&width=1");
        assert_eq!(found["series"]["a"]["count"], 3);
        assert_eq!(found["series"]["a"]["mean"], json!([11.5, 13]));
        assert_eq!((&found["first"], &found["last"]), (&1.0.into(), &100.0.into()));
    }

    #[test]
    fn a_run_of_endless_names_has_a_bounded_answer() {
        let line = |at: u32| format!("{{\"step\":1,\"name{at}\":1}}\n");
        let text = (0..1000).map(line).collect::<Vec<_>>().concat();
        let found = curves(&text, "");
        assert_eq!(found["series"].as_object().unwrap().len(), NAMES);
        assert_eq!(found["left_out"], 800);
    }
}
