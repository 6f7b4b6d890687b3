//! The summaries of `TensorBoard`'s events: scalars, texts, images and histograms.
//!
//! | message | field | type | meaning |
//! |---|---|---|---|
//! | `Summary` | 1 | message, repeated | `value` |
//! | `Summary.Value` | 1 | string | `tag` |
//! | | 2 | float | `simple_value` |
//! | | 4 | message | `image`: height 1, width 2, colorspace 3 (the number of channels), file 4 |
//! | | 5 | message | `histo`: min 1, max 2, num 3, sum 4, `sum_squares` 5, limits 6, counts 7 |
//! | | 8 | message | `tensor`: dtype 1 (7 is a string), shape 2, values 8 |
//! | | 9 | message | `metadata`: the plugin's name, 1 in 1 |

use super::histogram::Histogram;
use super::protobuf::{FIXED32, VARINT, bytes_field, fixed64, key, varint};
use super::samples::Picture;

/// Encodes scalars by name. They are stored as 32-bit floats, as `TensorBoard` does.
pub(super) fn scalars(scalars: &[(&str, f64)]) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, number) in scalars {
        let mut value = Vec::new();
        bytes_field(&mut value, 1, tag.as_bytes());
        key(&mut value, 2, FIXED32);
        #[expect(clippy::cast_possible_truncation, reason = "`simple_value` is a 32-bit float")]
        value.extend((*number as f32).to_bits().to_le_bytes());
        bytes_field(&mut summary, 1, &value);
    }
    summary
}

/// Encodes a text, for the plugin of texts.
pub(super) fn text(tag: &str, text: &str) -> Vec<u8> {
    const STRING: u64 = 7;
    let (mut dimension, mut shape, mut tensor) = (Vec::new(), Vec::new(), Vec::new());
    number(&mut dimension, 1, 1);
    bytes_field(&mut shape, 2, &dimension);
    number(&mut tensor, 1, STRING);
    bytes_field(&mut tensor, 2, &shape);
    bytes_field(&mut tensor, 8, text.as_bytes());
    let (mut plugin, mut metadata) = (Vec::new(), Vec::new());
    bytes_field(&mut plugin, 1, b"text");
    bytes_field(&mut metadata, 1, &plugin);
    let mut value = Vec::new();
    bytes_field(&mut value, 1, tag.as_bytes());
    bytes_field(&mut value, 8, &tensor);
    bytes_field(&mut value, 9, &metadata);
    one(&value)
}

/// Encodes an image.
pub(super) fn image(tag: &str, picture: &Picture) -> Vec<u8> {
    let mut image = Vec::new();
    number(&mut image, 1, picture.height as u64);
    number(&mut image, 2, picture.width as u64);
    number(&mut image, 3, picture.channels as u64);
    bytes_field(&mut image, 4, &picture.png);
    let mut value = Vec::new();
    bytes_field(&mut value, 1, tag.as_bytes());
    bytes_field(&mut value, 4, &image);
    one(&value)
}

/// Encodes a histogram.
pub(super) fn histogram(tag: &str, histogram: &Histogram) -> Vec<u8> {
    let mut message = Vec::new();
    let count: u64 = histogram.counts.iter().sum();
    #[expect(clippy::cast_precision_loss, reason = "elements are far fewer than 2^53")]
    let float = |count: u64| count as f64;
    let values =
        [histogram.from, histogram.to, float(count), histogram.sum, histogram.sum_of_squares];
    for (field, value) in (1..).zip(values) {
        fixed64(&mut message, field, value.to_bits());
    }
    let packed =
        |values: Vec<f64>| values.iter().flat_map(|it| it.to_le_bytes()).collect::<Vec<_>>();
    bytes_field(&mut message, 6, &packed(histogram.limits()));
    bytes_field(&mut message, 7, &packed(histogram.counts.iter().map(|it| float(*it)).collect()));
    let mut value = Vec::new();
    bytes_field(&mut value, 1, tag.as_bytes());
    bytes_field(&mut value, 5, &message);
    one(&value)
}

fn number(into: &mut Vec<u8>, field: u64, number: u64) {
    key(into, field, VARINT);
    varint(into, number);
}

fn one(value: &[u8]) -> Vec<u8> {
    let mut summary = Vec::new();
    bytes_field(&mut summary, 1, value);
    summary
}
