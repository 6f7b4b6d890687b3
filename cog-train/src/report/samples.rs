//! The texts and images that a trainer has logged, the first and the last of each name.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::html::{Page, escaped};
use super::text::shortened;
use crate::error::Error;

/// The most names, and the most bytes of an image.
const NAMES: usize = 24;
const IMAGE_BYTES: u64 = 1 << 20;

pub(super) fn all(page: &mut Page, dir: &Path) -> Result<(), Error> {
    let path = dir.join("samples.jsonl");
    let Ok(file) = File::open(&path) else { return Ok(()) };
    let mut samples: BTreeMap<String, (Value, Option<Value>)> = BTreeMap::new();
    for line in BufReader::new(file).split(b'\n') {
        let line = line.map_err(Error::file("read", &path))?;
        let Ok(sample) = serde_json::from_slice::<Value>(&line) else { continue };
        let Some(name) = sample["name"].as_str().map(str::to_owned) else { continue };
        let is_full = samples.len() == NAMES;
        match samples.get_mut(&name) {
            Some((_, last)) => *last = Some(sample),
            None if is_full => {}
            None => drop(samples.insert(name, (sample, None))),
        }
    }
    if samples.is_empty() {
        return Ok(());
    }
    page.section("Samples");
    for (name, (first, last)) in &samples {
        page.raw(&format!("<h3><bdi>{}</bdi></h3>\n", escaped(name)));
        page.raw("<div class=\"pair\">\n");
        for sample in [Some(first), last.as_ref()].into_iter().flatten() {
            one(page, dir, sample);
        }
        page.raw("</div>\n");
    }
    Ok(())
}

fn one(page: &mut Page, dir: &Path, sample: &Value) {
    let step = sample["step"].as_u64().unwrap_or(0);
    page.raw(&format!("<figure><figcaption class=\"soft\">step {step}</figcaption>\n"));
    if let Some(text) = sample["text"].as_str() {
        page.element("pre", "", &shortened(text, 4000));
    } else if let Some(name) = sample["image"].as_str().filter(|name| is_plain(name)) {
        let path = dir.join("samples").join(name);
        let is_small = path.metadata().is_ok_and(|it| it.len() <= IMAGE_BYTES);
        if let Some(png) = is_small.then(|| fs::read(&path).ok()).flatten() {
            let data = STANDARD.encode(png);
            let alt = escaped(sample["name"].as_str().unwrap_or_default());
            page.raw(&format!("<img src=\"data:image/png;base64,{data}\" alt=\"{alt}\">\n"));
        }
    } else if let (Some(counts), Some(from), Some(to)) =
        (sample["histogram"].as_array(), sample["from"].as_f64(), sample["to"].as_f64())
    {
        page.raw(&super::chart::bars(counts, from, to));
    }
    page.raw("</figure>\n");
}

/// Whether a name is that of a file in the folder of images, and leads nowhere else.
fn is_plain(name: &str) -> bool {
    name.strip_suffix(".png").is_some_and(|stem| stem.chars().all(|c| c.is_ascii_hexdigit()))
}
