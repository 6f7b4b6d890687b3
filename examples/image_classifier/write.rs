//! The data set as files: IDX under gzip, and PGM.

use std::io::Write;

use cog_train::prelude::*;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::idx::{IMAGES, Images, LABELS, SIDE};

/// Two IDX files: the images and their labels.
pub fn idx(images: &Images) -> Result<[Vec<u8>; 2]> {
    let count = images.len();
    Ok([
        packed(IMAGES, &[count, SIDE, SIDE], &images.pixels)?,
        packed(LABELS, &[count], &images.labels)?,
    ])
}

/// One image.
pub fn pgm(pixels: &[u8]) -> Vec<u8> {
    [format!("P5 {SIDE} {SIDE} 255\n").as_bytes(), pixels].concat()
}

fn packed(magic: [u8; 4], sizes: &[usize], bytes: &[u8]) -> Result<Vec<u8>> {
    let mut file = GzEncoder::new(Vec::new(), Compression::best());
    file.write_all(&magic)?;
    for size in sizes {
        file.write_all(&u32::try_from(*size)?.to_be_bytes())?;
    }
    file.write_all(bytes)?;
    Ok(file.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let pixels: Vec<u8> = (0..=255).cycle().take(25 * SIDE * SIDE).collect();
        let images = Images { pixels, labels: (0..25).map(|at| at % 10).collect() };
        let [pixels, labels] = idx(&images).unwrap();
        assert_eq!(Images::parse(&pixels, &labels).unwrap(), images);
        assert_eq!(crate::pgm::parse(&pgm(images.image(24))).unwrap(), images.image(24));
    }
}
