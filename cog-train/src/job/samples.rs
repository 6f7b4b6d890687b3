//! The samples that a trainer logs, for a person to look at: `samples.jsonl`, and the images in `samples/`.
//!
//! A line is `{"step":N,"name":NAME,"text":TEXT}` or `{"step":N,"name":NAME,"image":FILE,"width":W,"height":H}`. An image's
//! file is named by its content, so that one written again by a resumed run is the same file.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Job;
use super::lines::Lines;
use super::png;
use crate::error::Error;

pub(super) const SAMPLES: &str = "samples.jsonl";
const IMAGES: &str = "samples";

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

    fn add(&mut self, sample: &Value) -> Result<(), Error> {
        let lines = match &mut self.lines {
            Some(lines) => lines,
            none => none.insert(Lines::open(&self.dir, SAMPLES)?),
        };
        lines.add(&format!("{sample}\n")).map_err(Error::file("write", &self.dir.join(SAMPLES)))
    }

    pub(super) fn text(&mut self, name: &str, step: u64, text: &str) -> Result<(), Error> {
        self.add(&json!({"step": step, "name": name, "text": text}))
    }

    fn image(&mut self, name: &str, step: u64, image: &Picture) -> Result<(), Error> {
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
struct Picture {
    png: Vec<u8>,
    width: usize,
    height: usize,
}

impl Job {
    /// A text at a step for a person to read, such as what the model generates: to `samples.jsonl`, which the page of `ui`
    /// and of the server shows. The texts of secret inputs are masked.
    ///
    /// ```
    /// use cog_train::Job;
    ///
    /// let dir = tempfile::tempdir()?;
    /// let mut job = Job::for_test(dir.path());
    /// job.text("story", 100, "Once upon a time");
    /// let samples = std::fs::read_to_string(dir.path().join("samples.jsonl"))?;
    /// assert_eq!(samples, r#"{"step":100,"name":"story","text":"Once upon a time"}"#.to_owned() + "\n");
    /// # Ok::<(), cog_train::anyhow::Error>(())
    /// ```
    pub fn text(&mut self, name: &str, step: u64, text: &str) {
        if self.is_dry_run() {
            return;
        }
        let (name, text) = (self.mask.text(name), self.mask.text(text));
        if let Some(files) = &mut self.files {
            files.sample(|samples| samples.text(&name, step, &text));
        }
    }

    /// An image at a step for a person to look at: to `samples.jsonl` and, as a PNG file, to `samples/`. `pixels` are 8 bits
    /// a channel, row by row from the top: `height * width` values of grey, or three or four times as many for RGB or RGBA.
    ///
    /// Pixels of another number are named in a line of the log and left out.
    ///
    /// ```
    /// use cog_train::Job;
    ///
    /// let dir = tempfile::tempdir()?;
    /// let mut job = Job::for_test(dir.path());
    /// let ramp: Vec<u8> = (0..64).map(|at| at * 4).collect();
    /// job.image("ramp", 100, 8, 8, &ramp);
    /// let samples = std::fs::read_to_string(dir.path().join("samples.jsonl"))?;
    /// assert!(samples.starts_with(r#"{"step":100,"name":"ramp","image":""#));
    /// assert_eq!(std::fs::read_dir(dir.path().join("samples"))?.count(), 1);
    /// # Ok::<(), cog_train::anyhow::Error>(())
    /// ```
    pub fn image(&mut self, name: &str, step: u64, width: usize, height: usize, pixels: &[u8]) {
        if self.is_dry_run() {
            return;
        }
        let name = self.mask.text(name).into_owned();
        match png::encode(width, height, pixels) {
            Ok(png) => {
                if let Some(files) = &mut self.files {
                    let picture = Picture { png, width, height };
                    files.sample(|samples| samples.image(&name, step, &picture));
                }
            }
            Err(problem) => {
                self.line(format_args!("warning: the image `{name}` {problem}, and is left out"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::input::Mask;

    fn log(job: &mut Job, steps: std::ops::RangeInclusive<u8>, shade: u8) {
        for step in steps {
            job.text("story", step.into(), &format!("step {step}"));
            job.image("square", step.into(), 2, 2, &[shade.wrapping_add(step); 4]);
        }
    }

    fn kept(dir: &Path) -> BTreeMap<String, Vec<u8>> {
        let images = fs::read_dir(dir.join(IMAGES)).unwrap().map(|entry| entry.unwrap().path());
        let files = images.chain([dir.join(SAMPLES)]);
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        files.map(|path| (name(&path), fs::read(&path).unwrap())).collect()
    }

    #[test]
    fn a_resumed_run_leaves_the_samples_of_a_straight_one() {
        let (straight, resumed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        log(&mut Job::for_test(straight.path()), 1..=4, 0);

        let mut job = Job::for_test(resumed.path());
        log(&mut job, 1..=2, 0);
        let marks = job.mark().unwrap();
        log(&mut job, 3..=3, 90);
        drop(job);
        let mut job = Job::for_test_resumed(resumed.path());
        job.rewind(&marks).unwrap();
        assert_eq!(job.mark().unwrap(), marks);
        log(&mut job, 3..=4, 0);
        assert_eq!(kept(straight.path()), kept(resumed.path()));
    }

    #[test]
    fn a_run_that_starts_over_keeps_its_own_samples_alone() {
        let (straight, resumed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        log(&mut Job::for_test(straight.path()), 1..=2, 0);
        log(&mut Job::for_test(resumed.path()), 1..=3, 50);
        let mut job = Job::for_test_resumed(resumed.path());
        log(&mut job, 1..=1, 0);
        job.forget_earlier().unwrap();
        log(&mut job, 2..=2, 0);
        assert_eq!(kept(straight.path()), kept(resumed.path()));
    }

    #[test]
    fn samples_of_other_content_than_the_checkpoints_are_refused_and_missing_ones_accepted() {
        let dir = tempfile::tempdir().unwrap();
        let mut job = Job::for_test(dir.path());
        log(&mut job, 1..=2, 0);
        let marks = job.mark().unwrap();
        drop(job);
        fs::write(dir.path().join(SAMPLES), "").unwrap();
        let error = Job::for_test_resumed(dir.path()).rewind(&marks).unwrap_err().to_string();
        assert!(error.contains("samples.jsonl` has 0 bytes, fewer than"), "{error}");
        fs::remove_file(dir.path().join(SAMPLES)).unwrap();
        Job::for_test_resumed(dir.path()).rewind(&marks).unwrap();
    }

    #[test]
    fn names_and_texts_of_samples_are_masked() {
        let dir = tempfile::tempdir().unwrap();
        let mut job = Job::for_test(dir.path());
        job.mask = Mask::new(["hunter2".to_owned()]);
        job.text("for hunter2", 1, "the password is hunter2");
        job.image("hunter2", 1, 1, 1, &[0]);
        job.image("hunter2", 1, 2, 2, &[0]);
        for file in [SAMPLES, "log.txt"] {
            let text = fs::read_to_string(dir.path().join(file)).unwrap();
            assert!(text.contains("*****") && !text.contains("hunter2"), "{text}");
        }
    }
}
