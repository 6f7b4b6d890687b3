//! Texts, images and histograms at a step, for a person to look at.

use candle_core::{DType, Tensor};

use super::histogram::Histogram;
use super::samples::Picture;
use super::{Job, png};

impl Job {
    /// A text at a step for a person to read, such as what the model generates: to `samples.jsonl`, which the page of `ui`
    /// and of the server shows, and to the events that `TensorBoard` reads. The texts of secret inputs are masked.
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
            files.text(&name, step, &text);
        }
    }

    /// An image at a step for a person to look at: to `samples.jsonl` and, as a PNG file, to `samples/`, and to the events that `TensorBoard`
    /// reads. `pixels` are 8 bits a channel, row by row from the top: `height * width` values of grey, or three or four times as many for
    /// RGB or RGBA.
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
                    let channels = pixels.len() / (width * height);
                    files.image(&name, step, &Picture { png, width, height, channels });
                }
            }
            Err(problem) => {
                self.line(format_args!("warning: the image `{name}` {problem}, and is left out"));
            }
        }
    }

    /// The distribution of a tensor's elements at a step, such as weights, gradients or activations: to `samples.jsonl`, which the page
    /// of `ui` shows, to the events that `TensorBoard` reads, and to the run's report. Elements that are not finite are counted apart.
    ///
    /// The tensor may have any shape, any type of float or integer, and be on any device. One that cannot be read is named in a line of
    /// the log and left out.
    ///
    /// ```
    /// use cog_train::Job;
    /// use cog_train::candle_core::{Device, Tensor};
    ///
    /// let dir = tempfile::tempdir()?;
    /// let mut job = Job::for_test(dir.path());
    /// job.histogram("weights", 100, &Tensor::new(&[[0f32, 1.0], [1.0, 1.0]], &Device::Cpu)?);
    /// let samples = std::fs::read_to_string(dir.path().join("samples.jsonl"))?;
    /// assert!(samples.starts_with(r#"{"step":100,"name":"weights","histogram":[1,0,"#), "{samples}");
    /// # Ok::<(), cog_train::anyhow::Error>(())
    /// ```
    pub fn histogram(&mut self, name: &str, step: u64, tensor: &Tensor) {
        if self.is_dry_run() {
            return;
        }
        let name = self.mask.text(name).into_owned();
        let values = tensor.to_dtype(DType::F32).and_then(|it| it.flatten_all()?.to_vec1::<f32>());
        match values {
            Ok(values) => {
                if let Some(files) = &mut self.files {
                    files.histogram(&name, step, &Histogram::of(&values));
                }
            }
            Err(error) => {
                self.line(format_args!("warning: the histogram `{name}` is left out: {error}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::input::Mask;
    use crate::job::samples::{IMAGES, SAMPLES};

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
