//! Images in the format of MNIST: IDX files, plain or under gzip. So MNIST's own files can be trained on.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use cog_train::CancelToken;
use cog_train::anyhow;
use cog_train::prelude::*;
use flate2::read::MultiGzDecoder;

/// Images are so many pixels wide and high.
pub const SIDE: usize = 28;
/// The first bytes of an IDX file: unsigned bytes, in three dimensions or in one.
pub const IMAGES: [u8; 4] = [0, 0, 8, 3];
pub const LABELS: [u8; 4] = [0, 0, 8, 1];

/// Pixels from 0 to 255, [`SIDE`] by [`SIDE`] for each image, and what each image shows, from 0 to 9.
#[derive(Debug, Clone, PartialEq)]
pub struct Images {
    pub pixels: Vec<u8>,
    pub labels: Vec<u8>,
}

impl Images {
    /// Reads two files, and ends on the way when the token is cancelled.
    pub fn read(images: &Path, labels: &Path, cancel: &CancelToken) -> Result<Self> {
        let read = |path: &Path| {
            let file = File::open(path).map_err(anyhow::Error::from);
            let bytes = file.and_then(|file| read_all(file, cancel));
            bytes.with_context(|| format!("cannot read `{}`", path.display()))
        };
        Self::parsed(&read(images)?, &read(labels)?, cancel).with_context(|| {
            format!("`{}` and `{}` are no data set", images.display(), labels.display())
        })
    }

    /// From the bytes of two IDX files.
    pub fn parse(images: &[u8], labels: &[u8]) -> Result<Self> {
        Self::parsed(images, labels, &CancelToken::new())
    }

    fn parsed(images: &[u8], labels: &[u8], cancel: &CancelToken) -> Result<Self> {
        let (sizes, pixels) = unpack(images, IMAGES, cancel).context("images")?;
        let (_, labels) = unpack(labels, LABELS, cancel).context("labels")?;
        ensure!(
            sizes[1..] == [SIDE, SIDE],
            "images are {} by {}, not {SIDE} by {SIDE}",
            sizes[2],
            sizes[1]
        );
        ensure!(
            sizes[0] == labels.len(),
            "the number of images is {}, and that of labels {}",
            sizes[0],
            labels.len()
        );
        if let Some(at) = labels.iter().position(|label| *label > 9) {
            bail!("label {at} is {}, and the greatest is 9", labels[at]);
        }
        Ok(Self { pixels, labels })
    }

    pub fn len(&self) -> usize {
        self.labels.len()
    }

    pub fn image(&self, at: usize) -> &[u8] {
        &self.pixels[at * SIDE * SIDE..][..SIDE * SIDE]
    }

    /// Every tenth image apart, to measure on.
    pub fn hold_out(&self) -> Result<(Self, Self)> {
        ensure!(self.len() >= 10, "10 images are needed, and it has {}", self.len());
        let select = |eval: bool| {
            let chosen = (0..self.len()).filter(|at| (at % 10 == 9) == eval);
            let (pixels, labels): (Vec<_>, Vec<_>) =
                chosen.map(|at| (self.image(at).to_vec(), self.labels[at])).unzip();
            Self { pixels: pixels.concat(), labels }
        };
        Ok((select(false), select(true)))
    }
}

/// Reads to the end, and checks for cancellation between two pieces: a disk may be slow, and an archive large.
fn read_all(mut from: impl Read, cancel: &CancelToken) -> Result<Vec<u8>> {
    const PIECE: u64 = 1 << 20;
    let mut bytes = Vec::new();
    loop {
        cancel.check()?;
        if from.by_ref().take(PIECE).read_to_end(&mut bytes)? == 0 {
            return Ok(bytes);
        }
    }
}

/// The sizes of the dimensions and the bytes after them.
fn unpack(file: &[u8], magic: [u8; 4], cancel: &CancelToken) -> Result<(Vec<usize>, Vec<u8>)> {
    let mut bytes = if file.starts_with(&[0x1f, 0x8b]) {
        read_all(MultiGzDecoder::new(file), cancel).context("the gzip is broken")?
    } else {
        file.to_vec()
    };
    ensure!(
        bytes.starts_with(&magic),
        "it does not begin as an IDX file of {}-dimensional bytes",
        magic[3]
    );
    let header = 4 + 4 * usize::from(magic[3]);
    let sizes = bytes.get(4..header).context("it ends within its sizes")?;
    let sizes: Vec<usize> = sizes
        .chunks_exact(4)
        .map(|size| u32::from_be_bytes([size[0], size[1], size[2], size[3]]) as usize)
        .collect();
    let expected = sizes.iter().try_fold(1usize, |product, size| product.checked_mul(*size));
    let found = bytes.len() - header;
    ensure!(expected == Some(found), "its sizes are {sizes:?}, but {found} bytes follow");
    Ok((sizes, bytes.split_off(header)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(count: u8) -> Images {
        Images {
            pixels: (0..=255).cycle().take(usize::from(count) * SIDE * SIDE).collect(),
            labels: (0..count).map(|at| at % 10).collect(),
        }
    }

    #[test]
    fn eval_images_are_a_tenth_and_none_is_lost() {
        let all = images(25);
        let (train, eval) = all.hold_out().unwrap();
        assert_eq!((train.len(), eval.len()), (23, 2));
        assert_eq!(eval.labels, [9, 9]);
        assert_eq!(eval.image(1), all.image(19));
        assert_eq!(train.image(9), all.image(10));
        assert!(images(9).hold_out().is_err());
    }

    fn file(magic: [u8; 4], sizes: &[u32], bytes: usize) -> Vec<u8> {
        let sizes = sizes.iter().flat_map(|size| size.to_be_bytes());
        magic.into_iter().chain(sizes).chain(std::iter::repeat_n(7, bytes)).collect()
    }

    #[test]
    fn plain_files_are_read() {
        let read = Images::parse(&file(IMAGES, &[2, 28, 28], 1568), &file(LABELS, &[2], 2));
        assert_eq!(read.unwrap(), Images { pixels: vec![7; 1568], labels: vec![7, 7] });
    }

    #[test]
    fn reading_can_be_cancelled() {
        let dir = tempfile::tempdir().unwrap();
        let (images, labels) = (dir.path().join("images"), dir.path().join("labels"));
        std::fs::write(&images, file(IMAGES, &[2, 28, 28], 1568)).unwrap();
        std::fs::write(&labels, file(LABELS, &[2], 2)).unwrap();
        let cancel = CancelToken::new();
        assert_eq!(Images::read(&images, &labels, &cancel).unwrap().len(), 2);
        cancel.cancel();
        let error = Images::read(&images, &labels, &cancel).unwrap_err();
        let found = error
            .chain()
            .any(|cause| matches!(cause.downcast_ref(), Some(cog_train::Error::Cancelled)));
        assert!(found, "{error:#}");
    }

    #[test]
    fn broken_files_are_refused_with_the_numbers() {
        let (images, labels) = (file(IMAGES, &[2, 28, 28], 1568), file(LABELS, &[2], 2));
        let mut label_ten = labels.clone();
        label_ten[9] = 10;
        for (images, labels, words) in [
            (
                labels.clone(),
                &labels,
                "images: it does not begin as an IDX file of 3-dimensional bytes",
            ),
            (
                file(IMAGES, &[3, 28, 28], 2352),
                &labels,
                "the number of images is 3, and that of labels 2",
            ),
            (
                file(IMAGES, &[2, 28, 28], 84),
                &labels,
                "its sizes are [2, 28, 28], but 84 bytes follow",
            ),
            (file(IMAGES, &[u32::MAX; 3], 84), &labels, "but 84 bytes follow"),
            (file(IMAGES, &[2, 32, 28], 1792), &labels, "images are 28 by 32, not 28 by 28"),
            (images[..9].to_vec(), &labels, "it ends within its sizes"),
            (b"\x1f\x8b\x08\0".to_vec(), &labels, "the gzip is broken"),
            (images, &label_ten, "label 1 is 10"),
        ] {
            let error = format!("{:#}", Images::parse(&images, labels).unwrap_err());
            assert!(error.contains(words), "{error}");
        }
    }
}
