//! The samples that a trainer logs, for a person to look at: `samples.jsonl`, and the images in `samples/`.
//!
//! A line is `{"step":N,"name":NAME,"text":TEXT}`, `{"step":N,"name":NAME,"image":FILE,"width":W,"height":H}` or
//! `{"step":N,"name":NAME,"histogram":COUNTS,"from":LEAST,"to":GREATEST}`. An image's file is named by its content, so that one
//! written again by a resumed run is the same file.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::lines::Lines;
use crate::error::Error;

pub(super) const SAMPLES: &str = "samples.jsonl";
pub(super) const IMAGES: &str = "samples";

/// The samples of a run. The file is made with the first of them.
pub(super) struct Samples {
    dir: PathBuf,
    pub(super) lines: Option<Lines>,
}

impl Samples {
    /// Opens the folder's samples to append to them, if there are some.
    pub(super) fn open(dir: &Path) -> Result<Self, Error> {
        let is_there = dir.join(SAMPLES).exists();
        let lines = if is_there { Some(Lines::open(dir, SAMPLES)?) } else { None };
        Ok(Self { dir: dir.to_owned(), lines })
    }

    pub(super) fn add(&mut self, sample: &Value) -> Result<(), Error> {
        let lines = match &mut self.lines {
            Some(lines) => lines,
            none => none.insert(Lines::open(&self.dir, SAMPLES)?),
        };
        lines.add(&format!("{sample}\n")).map_err(Error::file("write", &self.dir.join(SAMPLES)))
    }

    pub(super) fn text(&mut self, name: &str, step: u64, text: &str) -> Result<(), Error> {
        self.add(&json!({"step": step, "name": name, "text": text}))
    }

    pub(super) fn image(&mut self, name: &str, step: u64, image: &Picture) -> Result<(), Error> {
        let digest = Sha256::digest(&image.png);
        let digest = u128::from_be_bytes(digest[..16].try_into().expect("16 bytes"));
        let file = format!("{digest:032x}.png");
        write(&self.dir.join(IMAGES), &file, &image.png)
            .map_err(Error::file("write", &self.dir.join(IMAGES).join(&file)))?;
        let (width, height) = (image.width, image.height);
        self.add(
            &json!({"step": step, "name": name, "image": file, "width": width, "height": height}),
        )
    }

    /// Removes what was there when the file was opened.
    pub(super) fn forget_earlier(&mut self) -> Result<(), Error> {
        let Some(lines) = &mut self.lines else { return Ok(()) };
        lines.forget_earlier()?;
        self.prune()
    }

    /// Truncates the file to a length, and removes images that it no longer names.
    pub(super) fn truncate(&mut self, mark: u64) -> Result<(), Error> {
        let Some(lines) = &mut self.lines else { return Ok(()) };
        lines.truncate(mark.min(lines.found))?;
        self.prune()
    }

    fn prune(&self) -> Result<(), Error> {
        let path = self.dir.join(SAMPLES);
        let text = fs::read_to_string(&path).map_err(Error::file("read", &path))?;
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let named: HashSet<String> =
            lines.filter_map(|line| Some(line.get("image")?.as_str()?.to_owned())).collect();
        let dir = self.dir.join(IMAGES);
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.strip_suffix(".png").is_some() && !named.contains(&name) {
                fs::remove_file(entry.path()).map_err(Error::file("remove", &entry.path()))?;
            }
        }
        Ok(())
    }
}

/// Writes a file under a temporary name and renames it. One that is there has the same content.
fn write(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let path = dir.join(name);
    if path.exists() {
        return Ok(());
    }
    fs::create_dir_all(dir)?;
    let mut staged = tempfile::NamedTempFile::new_in(dir)?;
    staged.write_all(bytes)?;
    staged.as_file().sync_all()?;
    staged.persist(path)?;
    Ok(())
}

/// An encoded image.
pub(super) struct Picture {
    pub(super) png: Vec<u8>,
    pub(super) width: usize,
    pub(super) height: usize,
    /// 1 of grey, 3 of colours, 4 of colours with alpha.
    pub(super) channels: usize,
}
