//! Draws the digits that `image_classifier` reads. The same program draws the same bytes.
//!
//! ```console
//! cargo run --example image_digits -- examples/image_classifier/data
//! ```
#![expect(unreachable_pub, reason = "the modules of a program")]

#[allow(dead_code, reason = "shared with main.rs, which uses the rest")]
mod idx;
#[cfg(test)]
mod pgm;
mod strokes;
mod write;

use cog_train::prelude::{Context, Result};
use cog_train::rng::Rng;

use idx::Images;

/// 1500 digits to train on, 300 to measure on, and one each of two kinds.
fn data_set() -> Result<Vec<(&'static str, Vec<u8>)>> {
    let digits = Rng::new(1, "digits");
    let [train, train_labels] = write::idx(&strokes::draw(1500, &mut digits.at(0)))?;
    let test = strokes::draw(300, &mut digits.at(1));
    let [test_images, test_labels] = write::idx(&test)?;
    Ok(vec![
        ("train-images.gz", train),
        ("train-labels.gz", train_labels),
        ("test-images.gz", test_images),
        ("test-labels.gz", test_labels),
        ("three.pgm", example(&test, 3)?),
        ("seven.pgm", example(&test, 7)?),
    ])
}

fn example(images: &Images, digit: u8) -> Result<Vec<u8>> {
    let at =
        images.labels.iter().position(|label| *label == digit).context("every digit is drawn")?;
    Ok(write::pgm(images.image(at)))
}

fn main() -> Result<()> {
    let folder = std::env::args().nth(1).context("write the folder to draw into")?;
    for (name, bytes) in data_set()? {
        std::fs::write(std::path::Path::new(&folder).join(name), bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    /// Two versions of a packer may pack the same bytes differently.
    fn unpacked(file: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let gzip = file.starts_with(&[0x1f, 0x8b]);
        if gzip {
            flate2::read::GzDecoder::new(file).read_to_end(&mut bytes)
        } else {
            (&file[..]).read_to_end(&mut bytes)
        }
        .unwrap();
        bytes
    }

    #[test]
    fn the_data_set_is_what_this_program_draws() {
        let folder = std::path::Path::new(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../examples/image_classifier/data"
        ));
        for (name, bytes) in data_set().unwrap() {
            let file = std::fs::read(folder.join(name)).unwrap();
            assert!(unpacked(&file) == unpacked(&bytes), "run `image_digits` for `{name}`");
        }
    }

    #[test]
    fn digits_are_even_in_number_and_neither_empty_nor_full() {
        let images = strokes::draw(200, &mut Rng::new(2, "test").at(0));
        let mut labels = images.labels.clone();
        labels.sort_unstable();
        assert_eq!(labels, (0..10).flat_map(|digit| [digit; 20]).collect::<Vec<u8>>());
        for at in 0..images.len() {
            let inked = images.image(at).iter().filter(|pixel| **pixel > 60).count();
            assert!((15..350).contains(&inked), "{inked}");
        }
    }
}
