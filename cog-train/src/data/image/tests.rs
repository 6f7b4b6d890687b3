use std::io::Write as _;

use ::image::{DynamicImage, ImageBuffer, Luma, LumaA, Rgb, RgbImage, Rgba};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::*;

// Pillow 13, of the 24 x 17 pixels of `gradient`:
// image.save(name, "JPEG", quality=30, progressive=True)
// image.save(name, "JPEG", quality=30, restart_marker_blocks=1)
// Image.new("CMYK", (8, 8), (0, 200, 100, 20)).save(name, "JPEG", quality=50)
// Image.new("RGB", (2, 1), (255, 0, 0)).save(name, "PNG", save_all=True, append_images=[blue])
const PROGRESSIVE: &str = "\
    /9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABsSFBcUERsXFhceHBsgKEIrKCUlKFE6PTBCYFVlZF9VXVtqeJmBanGQc1tdhbWGkJ6jq62rZ4C8yb\
    qmx5moq6T/2wBDARweHigjKE4rK06kbl1upKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKT/wgARCAAR\
    ABgDASIAAhEBAxEB/8QAGAABAQEBAQAAAAAAAAAAAAAAAAMEAQL/xAAXAQADAQAAAAAAAAAAAAAAAAAAAQME/9oADAMBAAIQAxAAAAHPS1IkXV\
    CuIcvIer//xAAbEAADAAIDAAAAAAAAAAAAAAAAAQIDERIxM//aAAgBAQABBQJQcUJCg1MjzJD7v0R//8QAGREAAwADAAAAAAAAAAAAAAAAAAEC\
    ECIz/9oACAEDAQE/AXRsT0eP/8QAGBEBAQADAAAAAAAAAAAAAAAAAAEEEiH/2gAIAQIBAT8BnWjGR//EABsQAAIBBQAAAAAAAAAAAAAAAAEQAA\
    IRISIx/9oACAEBAAY/AlxZM1puiv/EABwQAAICAgMAAAAAAAAAAAAAAAABESEQQTFhcf/aAAgBAQABPyEUgRobWQJQkVTOzo4/Mz//2gAMAwEA\
    AgADAAAAEM/H/P/EAB4RAQABAgcAAAAAAAAAAAAAAAEAEBEhMXGBoeHw/9oACAEDAQE/EFMgNYLxvx1PLan/xAAaEQEAAQUAAAAAAAAAAAAAAA\
    AAMQERQXGB/9oACAECAQE/EK91uU+Iv//EACAQAQACAAUFAAAAAAAAAAAAAAEAETFRYaGxEEFx0fD/2gAIAQEAAT8QALaDNnerTIuWC1NWojuL\
    PK+YxO01iUPe0+jWcDg6f//Z";
const RESTART: &str = "\
    /9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABsSFBcUERsXFhceHBsgKEIrKCUlKFE6PTBCYFVlZF9VXVtqeJmBanGQc1tdhbWGkJ6jq62rZ4C8yb\
    qmx5moq6T/2wBDARweHigjKE4rK06kbl1upKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKT/wAARCAAR\
    ABgDASIAAhEBAxEB/8QAHwAAAQUBAQEBAQEAAAAAAAAAAAECAwQFBgcICQoL/8QAtRAAAgEDAwIEAwUFBAQAAAF9AQIDAAQRBRIhMUEGE1FhBy\
    JxFDKBkaEII0KxwRVS0fAkM2JyggkKFhcYGRolJicoKSo0NTY3ODk6Q0RFRkdISUpTVFVWV1hZWmNkZWZnaGlqc3R1dnd4eXqDhIWGh4iJipKT\
    lJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5usLDxMXGx8jJytLT1NXW19jZ2uHi4+Tl5ufo6erx8vP09fb3+Pn6/8QAHwEAAwEBAQEBAQEBAQAAAA\
    AAAAECAwQFBgcICQoL/8QAtREAAgECBAQDBAcFBAQAAQJ3AAECAxEEBSExBhJBUQdhcRMiMoEIFEKRobHBCSMzUvAVYnLRChYkNOEl8RcYGRom\
    JygpKjU2Nzg5OkNERUZHSElKU1RVVldYWVpjZGVmZ2hpanN0dXZ3eHl6goOEhYaHiImKkpOUlZaXmJmaoqOkpaanqKmqsrO0tba3uLm6wsPExc\
    bHyMnK0tPU1dbX2Nna4uPk5ebn6Onq8vP09fb3+Pn6/90ABAAB/9oADAMBAAIRAxEAPwChHYgDJwB6mrCW8S98kegzVuOxJ+ZvxJqx5dtbpvll\
    RV9etckHz+Y5VWtkl6n/0FjjXI2xEj3OKKdNrEER221u0px95jtA/wAf0orP2C6gnVet/wAP+Af/0bk/+uX/AHf61jX3/IQk/D+QoopZZv8AI5\
    qf+8y/rsf/0s6CiiiiGx1H/9k=";
const CMYK: &str = "\
    /9j/7gAOQWRvYmUAZAAAAAAA/9sAQwAQCwwODAoQDg0OEhEQExgoGhgWFhgxIyUdKDozPTw5Mzg3QEhcTkBEV0U3OFBtUVdfYmdoZz5NcXlwZH\
    hcZWdj/8AAFAgACAAIBEMRAE0RAFkRAEsRAP/EAB8AAAEFAQEBAQEBAAAAAAAAAAABAgMEBQYHCAkKC//EALUQAAIBAwMCBAMFBQQEAAABfQEC\
    AwAEEQUSITFBBhNRYQcicRQygZGhCCNCscEVUtHwJDNicoIJChYXGBkaJSYnKCkqNDU2Nzg5OkNERUZHSElKU1RVVldYWVpjZGVmZ2hpanN0dX\
    Z3eHl6g4SFhoeIiYqSk5SVlpeYmZqio6Slpqeoqaqys7S1tre4ubrCw8TFxsfIycrS09TV1tfY2drh4uPk5ebn6Onq8fLz9PX29/j5+v/aAA4E\
    QwBNAFkASwAAPwD0Cuaq9XbV/9k=";
const ANIMATED: &str = "\
    iVBORw0KGgoAAAANSUhEUgAAAAIAAAABCAIAAAB7QOjdAAAACGFjVEwAAAACAAAAAPONk3AAAAAaZmNUTAAAAAAAAAACAAAAAQAAAAAAAAAAAA\
    AAAQAAyBxwKAAAAA9JREFUeJxj/M/AwMDAAAAGCAEBy0d2dQAAABpmY1RMAAAAAQAAAAIAAAABAAAAAAAAAAAAAAABAABTb5r8AAAAE2ZkQVQA\
    AAACeJxjZGD4z8DAAAAECgEBAZKCvQAAAABJRU5ErkJggg==";

fn fixture(text: &str) -> Vec<u8> {
    BASE64_STANDARD.decode(text).unwrap()
}

fn gradient() -> RgbImage {
    let byte = |value: u32| u8::try_from(value % 256).unwrap();
    ImageBuffer::from_fn(24, 17, |x, y| {
        Rgb([byte(7 * x + 31 * y), byte(13 * y + 5 * x), byte(x * y)])
    })
}

fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn jpegs() -> [Vec<u8>; 3] {
    [encoded(gradient(), ImageFormat::Jpeg), fixture(PROGRESSIVE), fixture(RESTART)]
}

#[test]
fn a_jpeg_that_ends_early_is_refused_at_every_byte() {
    for bytes in jpegs() {
        let whole = Image::decode(&bytes).unwrap();
        assert_eq!((whole.width, whole.height, whole.pixels.len()), (24, 17, 24 * 17 * 3));
        for cut in 2..bytes.len() {
            let reason = Image::decode(&bytes[..cut]).unwrap_err();
            let expected = format!("it ends early: {cut} bytes and no end of the image");
            assert_eq!(reason, expected);
            // As a download leaves it that reserved its bytes first.
            let mut zeros = bytes.clone();
            zeros[cut..].fill(0);
            assert!(Image::decode(&zeros).is_err(), "{cut}");
        }
    }
}

/// As a program leaves it that ends broken files by a marker. libjpeg and Pillow decode what is missing as grey.
#[test]
fn a_jpeg_that_ends_early_is_refused_with_an_end_marker_behind_it() {
    let noise = ImageBuffer::from_fn(40, 33, |x, y| {
        Rgb([0u32, 1, 2].map(|c| (x * x * 31 + y * y * 17 + x * y * 7 + c * 101).to_le_bytes()[0]))
    });
    for bytes in jpegs().into_iter().chain([encoded(noise, ImageFormat::Jpeg)]) {
        let scans: Vec<usize> =
            (0..bytes.len()).filter(|at| bytes[*at..].starts_with(&[0xff, 0xda])).collect();
        // The last byte may hold no more than a part of the last value.
        for cut in scans[0]..bytes.len() - 3 {
            let ended = [&bytes[..cut], &[0xff, 0xd9]].concat();
            let reason = Image::decode(&ended).err();
            let reason = reason.unwrap_or_else(|| panic!("{cut} of {}", bytes.len()));
            let expected = ["end early", "ends early", "it has no pixels"];
            assert!(expected.iter().any(|part| reason.contains(part)), "{cut}: {reason}");
        }
        for scan in &scans[1..] {
            let ended = [&bytes[..*scan], &[0xff, 0xd9]].concat();
            assert_eq!(Image::decode(&ended).unwrap_err(), "it ends early: a scan is missing");
        }
    }
}

#[test]
fn a_scan_of_other_bytes_is_refused_or_decoded_and_never_panics() {
    for bytes in jpegs() {
        for at in (0..bytes.len()).step_by(3) {
            for flip in [0x01, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= flip;
                let _any = Image::decode(&damaged);
            }
        }
    }
    // Code words that no table has: libjpeg and Pillow give grey.
    let mut bytes = fixture(RESTART);
    let scan = bytes.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap() + 14;
    let end = bytes.len() - 2;
    for at in (scan..end).step_by(2) {
        bytes[at] = 0xff;
        bytes[at + 1] = 0x00;
    }
    assert!(Image::decode(&bytes).unwrap_err().contains("cannot be decoded as JPEG"));
}

/// The pixels of Pillow, but for rounding in the transforms.
#[test]
fn jpegs_of_each_kind_have_the_pixels_of_pillow() {
    let near = |image: &Image, at: usize, expected: [u8; 3]| {
        let pixel = &image.pixels[at * 3..at * 3 + 3];
        let close = pixel.iter().zip(expected).all(|(one, other)| one.abs_diff(other) <= 6);
        assert!(close, "{pixel:?} and {expected:?}");
    };
    for bytes in [fixture(PROGRESSIVE), fixture(RESTART)] {
        let image = Image::decode(&bytes).unwrap();
        near(&image, 0, [16, 12, 11]);
    }
    let cmyk = Image::decode(&fixture(CMYK)).unwrap();
    near(&cmyk, 0, [236, 50, 144]);
    near(&cmyk, 63, [236, 50, 144]);
    let grey = ImageBuffer::from_pixel(9, 5, Luma([77u8]));
    near(&Image::decode(&encoded(grey, ImageFormat::Jpeg)).unwrap(), 44, [77; 3]);
}

#[test]
fn bytes_beside_the_image_change_nothing() {
    let bytes = fixture(PROGRESSIVE);
    let whole = Image::decode(&bytes).unwrap();
    // Behind the end: a second image, as of phones.
    assert_eq!(Image::decode(&[&bytes[..], &bytes[..100]].concat()).unwrap(), whole);
    // Between segments: stray bytes and filling.
    let stray = [&bytes[..2], &[1, 2, 3, 0xff, 0xff], &bytes[2..]].concat();
    assert_eq!(Image::decode(&stray).unwrap(), whole);
    // In metadata: a thumbnail with an end of its own, which does not end the image.
    let length = u16::try_from(bytes.len() + 2).unwrap().to_be_bytes();
    let thumbnail = [&bytes[..2], &[0xff, 0xe5], &length, &bytes, &bytes[2..]].concat();
    assert_eq!(Image::decode(&thumbnail).unwrap(), whole);
    assert!(Image::decode(&thumbnail[..thumbnail.len() - 2]).is_err());
}

#[test]
fn a_png_that_ends_early_is_refused_at_every_byte_of_its_pixels() {
    let bytes = encoded(gradient(), ImageFormat::Png);
    let whole = Image::decode(&bytes).unwrap();
    assert_eq!(whole.pixels, gradient().into_raw());
    let pixels_end = bytes.len() - 12;
    for cut in 0..bytes.len() {
        match Image::decode(&bytes[..cut]) {
            Ok(image) => assert!(image == whole && cut >= pixels_end - 8, "{cut}"),
            Err(reason) => assert!(!reason.is_empty()),
        }
        // With its last chunk behind the cut.
        let ended = [&bytes[..cut], &bytes[pixels_end..]].concat();
        assert!(Image::decode(&ended).is_err() || cut >= pixels_end - 8, "{cut}");
    }
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        let _any = Image::decode(&damaged);
    }
}

#[test]
fn pngs_of_each_kind_become_three_channels_of_8_bits() {
    let first = |bytes: &[u8]| Image::decode(bytes).unwrap().pixels[..3].to_vec();
    let png = ImageFormat::Png;
    let deep = ImageBuffer::from_pixel(2, 2, Rgb([0xffffu16, 0x8000, 0x00ff]));
    assert_eq!(first(&encoded(DynamicImage::ImageRgb16(deep), png)), [255, 128, 1]);
    let deep = ImageBuffer::from_pixel(2, 2, Luma([0x1234u16]));
    assert_eq!(first(&encoded(DynamicImage::ImageLuma16(deep), png)), [0x12; 3]);
    let clear = ImageBuffer::from_pixel(2, 2, Rgba([9u8, 8, 7, 0]));
    assert_eq!(first(&encoded(clear, png)), [9, 8, 7]);
    let clear = ImageBuffer::from_pixel(2, 2, LumaA([5u8, 0]));
    assert_eq!(first(&encoded(clear, png)), [5, 5, 5]);
    let animated = Image::decode(&fixture(ANIMATED)).unwrap();
    assert_eq!((animated.width, animated.pixels), (2, vec![255, 0, 0, 255, 0, 0]));
}

#[test]
fn impossible_sizes_are_refused() {
    let png = encoded(gradient(), ImageFormat::Png);
    let sized = |width: u32, height: u32| {
        let mut header = b"IHDR".to_vec();
        header.extend([width.to_be_bytes(), height.to_be_bytes()].concat());
        header.extend(&png[24..29]);
        let mut sum = flate2::Crc::new();
        sum.update(&header);
        let mut bytes = png[..12].to_vec();
        bytes.write_all(&header).unwrap();
        bytes.write_all(&sum.sum().to_be_bytes()).unwrap();
        bytes.extend(&png[33..]);
        bytes
    };
    assert_eq!(Image::decode(&sized(24, 17)).unwrap().pixels, gradient().into_raw());
    for (width, height) in [(0, 17), (24, 0), (24, 18), (60_000, 60_000), (u32::MAX, u32::MAX)] {
        assert!(Image::decode(&sized(width, height)).is_err(), "{width} x {height}");
    }
    let jpeg = fixture(PROGRESSIVE);
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc2]).unwrap();
    for (height, width) in [(0u16, 24u16), (17, 0), (u16::MAX, u16::MAX)] {
        let mut bytes = jpeg.clone();
        bytes[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
        bytes[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
        assert!(Image::decode(&bytes).is_err(), "{width} x {height}");
    }
    assert_eq!(Image::decode(b"").unwrap_err(), "it is empty");
    assert_eq!(Image::decode(b"GIF89a").unwrap_err(), "it is neither PNG nor JPEG");
}
