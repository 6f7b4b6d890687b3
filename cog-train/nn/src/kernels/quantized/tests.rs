//! Blocks and their values, beside those of gguf-py and bitsandbytes.

use super::*;

/// The bytes of 5-bit blocks and of their values.
const FIVE_BITS: usize = 32 * (22 + 24) + 4 * 176 + 3 * 4096;

/// Made by `golden.py` in this folder.
struct Golden(&'static [u8]);

impl Golden {
    fn open() -> Self {
        Self(include_bytes!("golden.bin"))
    }

    /// Those of 5 bits, at the end.
    fn of_five_bits() -> Self {
        let all = Self::open().0;
        Self(&all[all.len() - FIVE_BITS..])
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let (first, rest) = self.0.split_at(count);
        self.0 = rest;
        first.to_vec()
    }

    fn floats(&mut self, count: usize) -> Vec<f32> {
        let bytes = self.bytes(4 * count);
        bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }
}

/// `weight` of `golden.py`.
fn weight(outputs: usize, inputs: usize) -> Tensor {
    #[expect(clippy::cast_precision_loss, reason = "small")]
    let wave = (0..outputs * inputs).map(|at| ((at * 7919 + 13) % 1009) as f32 - 504.0);
    let elements: Vec<f32> = wave.map(|x| x / 256.0).map(|x| x * x * x).collect();
    Tensor::from_vec(elements, (outputs, inputs), &Device::Cpu).unwrap()
}

fn values(quantized: &Quantized) -> Vec<f32> {
    quantized.dequantize().unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn blocks_of_ggml_equal_those_of_gguf_py() {
    let mut golden = Golden::open();
    for layout in [BlockLayout::Q4_0, BlockLayout::Q4_1, BlockLayout::Q8_0] {
        let quantized = Quantized::quantize(&weight(2, 512), layout).unwrap();
        assert_eq!(quantized.to_bytes().unwrap(), golden.bytes(quantized.byte_count()), "{layout}");
        assert_eq!(values(&quantized), golden.floats(1024), "{layout}");
    }
    let mut five_bits = Golden::of_five_bits();
    for layout in [BlockLayout::Q5_0, BlockLayout::Q5_1] {
        let golden = &mut five_bits;
        let quantized = Quantized::quantize(&weight(2, 512), layout).unwrap();
        assert_eq!(quantized.to_bytes().unwrap(), golden.bytes(quantized.byte_count()), "{layout}");
        assert_eq!(values(&quantized), golden.floats(1024), "{layout}");
    }
    for layout in [BlockLayout::Q4K, BlockLayout::Q6K, BlockLayout::Q5K] {
        let of_five_bits = layout == BlockLayout::Q5K;
        let golden = if of_five_bits { &mut five_bits } else { &mut golden };
        let bytes = golden.bytes(4 * layout.block_bytes());
        let quantized =
            Quantized::from_blocks(layout, (2, 512), bytes.clone(), &Device::Cpu).unwrap();
        assert_eq!(values(&quantized), golden.floats(1024), "{layout}");
        assert_eq!(quantized.to_bytes().unwrap(), bytes);
    }
    assert!(five_bits.0.is_empty());
}

#[test]
fn blocks_of_nf4_equal_those_of_bitsandbytes() {
    let mut golden = Golden::open();
    golden.bytes([18, 20, 34].map(|bytes| 32 * bytes + 4096).iter().sum::<usize>());
    golden.bytes([144, 210].map(|bytes| 4 * bytes + 4096).iter().sum::<usize>());
    let quantized = Quantized::quantize(&weight(33, 580), BlockLayout::Nf4).unwrap();
    assert_eq!(quantized.to_bytes().unwrap(), golden.bytes(33 * 580 / 2));
    let Some((Scales::Nested { codes, map, scales, of: 256, offset }, 64)) = quantized.scales()
    else {
        panic!("{quantized:?}")
    };
    assert_eq!(codes.to_vec1::<u8>().unwrap(), golden.bytes(300));
    assert_eq!(map.to_vec1::<f32>().unwrap(), golden.floats(256));
    // The mean of the scales has other last bits, and with it what is left of them.
    let close = |found: &[f32], expected: &[f32]| {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() <= 1e-6 * offset, "{found} {expected}");
        }
    };
    close(&scales.to_vec1::<f32>().unwrap(), &golden.floats(2));
    close(&[*offset], &golden.floats(1));
    let decoded = values(&quantized);
    let every = decoded.iter().step_by(29).copied().collect::<Vec<_>>();
    close(&every, &golden.floats(33 * 20));
    assert_eq!(golden.0.len(), FIVE_BITS);
}

/// A part of a row is that part of the whole, wherever it begins and ends.
#[test]
fn parts_of_rows_equal_the_whole() {
    for (layout, inputs) in [
        (BlockLayout::Nf4, 75),
        (BlockLayout::Nf4, 128),
        (BlockLayout::Q4_0, 64),
        (BlockLayout::Q4_1, 96),
        (BlockLayout::Q5_0, 64),
        (BlockLayout::Q5_1, 96),
        (BlockLayout::Q8_0, 64),
        (BlockLayout::Q4K, 512),
        (BlockLayout::Q5K, 512),
        (BlockLayout::Q6K, 512),
    ] {
        let quantized = Quantized::quantize(&weight(3, inputs), layout).unwrap();
        let whole = values(&quantized);
        for row in 0..3 {
            let expected = &whole[row * inputs..][..inputs];
            assert_eq!(quantized.row(row).unwrap(), expected);
            for (start, end) in [(0, 1), (1, 2), (31, 33), (7, inputs), (32, 64), (33, inputs - 1)]
            {
                let mut part = vec![0.0; end - start];
                quantized.read(|blocks| blocks.decode(row, start, &mut part)).unwrap();
                assert_eq!(part, expected[start..end], "{layout} {row} {start}..{end}");
            }
        }
    }
}

/// The error of each element is within half a step of its block, and the largest has the most.
#[test]
fn quantization_is_as_precise_as_its_bits() {
    let weight = weight(4, 512);
    let largest = weight.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
    for (layout, steps) in [
        (BlockLayout::Nf4, 6.0),
        (BlockLayout::Q4_0, 7.0),
        (BlockLayout::Q4_1, 15.0),
        (BlockLayout::Q4K, 12.0),
        (BlockLayout::Q5_0, 14.0),
        (BlockLayout::Q5_1, 30.0),
        (BlockLayout::Q5K, 25.0),
        (BlockLayout::Q6K, 60.0),
        (BlockLayout::Q8_0, 250.0),
    ] {
        let quantized = Quantized::quantize(&weight, layout).unwrap();
        let error = (quantized.dequantize().unwrap() - &weight).unwrap().abs().unwrap();
        let error = error.max_all().unwrap().to_scalar::<f32>().unwrap();
        assert!(error < largest / steps && error > largest / 4000.0, "{layout}: {error}");
    }
}

#[test]
fn zeros_stay_zeros() {
    for layout in [
        BlockLayout::Nf4,
        BlockLayout::Q4_0,
        BlockLayout::Q5_0,
        BlockLayout::Q4K,
        BlockLayout::Q5K,
        BlockLayout::Q6K,
    ] {
        let zeros = Tensor::zeros((2, 256), DType::BF16, &Device::Cpu).unwrap();
        let quantized = Quantized::quantize(&zeros, layout).unwrap();
        assert_eq!(quantized.dtype(), DType::BF16);
        let values = quantized.dequantize().unwrap().to_dtype(DType::F32).unwrap();
        assert_eq!(values.to_vec2::<f32>().unwrap(), [[0.0; 256]; 2]);
    }
}

#[test]
fn matrices_that_do_not_fit_are_errors() {
    let cpu = &Device::Cpu;
    let error = |found: Result<Quantized, Error>| {
        let error = found.unwrap_err().to_string();
        error.lines().next().unwrap_or_default().to_owned()
    };
    assert_eq!(
        error(Quantized::from_blocks(BlockLayout::Q4K, (2, 300), Vec::new(), cpu)),
        "quantized: a row of [2, 300] is no multiple of a block of Q4_K, 256 elements"
    );
    assert_eq!(
        error(Quantized::from_blocks(BlockLayout::Q8_0, (2, 32), vec![0; 67], cpu)),
        "quantized: [2, 32] in Q8_0 is 68 bytes, not 67"
    );
    let ones = Tensor::ones((2, 64), DType::F32, cpu).unwrap();
    let infinite = (&ones / 0.0).unwrap();
    assert_eq!(
        error(Quantized::quantize(&infinite, BlockLayout::Nf4)),
        "quantized: an element of the matrix [2, 64] is not finite"
    );
    let scales = Scales::Float(Tensor::ones(3, DType::F32, cpu).unwrap());
    let codes = Tensor::zeros(64, DType::U8, cpu).unwrap();
    assert_eq!(
        error(Quantized::from_nf4(&codes, scales.clone(), 64, (2, 64))),
        "quantized: the scales of [2, 64] in NF4 are 2 of F32, not 3 of F32"
    );
    assert_eq!(
        error(Quantized::from_nf4(&codes, scales, 48, (2, 64))),
        "quantized: a block of NF4 has 48 elements, no multiple of 32"
    );
    assert!(Quantized::quantize(&ones, BlockLayout::Q4_0).unwrap().row(2).is_err());
}
