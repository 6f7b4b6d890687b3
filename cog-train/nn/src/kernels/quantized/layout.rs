//! The layouts of blocks.

use std::fmt;

use candle_core::DType;

/// The layout of a [`Quantized`](super::Quantized) matrix: the elements of a block, and their bytes.
///
/// | layout | elements of a block | bytes of a block | bits of an element | source |
/// |---|---|---|---|---|
/// | `Nf4` | 64 | 32, and 8 bits of a scale | 4.127 | bitsandbytes (Dettmers et al., "QLoRA", 2023) |
/// | `Q4_0` | 32 | 18 | 4.5 | ggml |
/// | `Q4_1` | 32 | 20 | 5 | ggml |
/// | `Q4K` | 256 | 144 | 4.5 | ggml |
/// | `Q5_0` | 32 | 22 | 5.5 | ggml |
/// | `Q5_1` | 32 | 24 | 6 | ggml |
/// | `Q5K` | 256 | 176 | 5.5 | ggml |
/// | `Q6K` | 256 | 210 | 6.5625 | ggml |
/// | `Q8_0` | 32 | 34 | 8.5 | ggml |
/// | `F16`, `Bf16` | 1 | 2 | 16 | IEEE 754, bfloat16 |
///
/// The blocks of ggml lie within a row, so that the length of a row is a multiple of a block's. Those of NF4 follow each other
/// through the whole matrix. Floats of 16 bits are their own blocks, and widening them is exact.
///
/// ```
/// use cog_train_nn::BlockLayout;
///
/// let layout = BlockLayout::Q4K;
/// assert_eq!((layout.block_len(), layout.block_bytes(), layout.to_string()), (256, 144, "Q4_K".to_owned()));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BlockLayout {
    /// Quantiles of a normal distribution: 4 bits are an index of 16 values, times a scale. The scales may be [quantized](super::Scales)
    /// too.
    Nf4,
    /// A scale, and 4 bits minus 8.
    Q4_0,
    /// A scale, a minimum, and 4 bits.
    Q4_1,
    /// A scale and a minimum, for each of 8 groups a scale and a minimum of 6 bits, and 4 bits.
    Q4K,
    /// A scale, and 5 bits minus 16.
    Q5_0,
    /// A scale, a minimum, and 5 bits.
    Q5_1,
    /// A scale and a minimum, for each of 8 groups a scale and a minimum of 6 bits, and 5 bits.
    Q5K,
    /// A scale, for each of 16 groups a scale of 8 bits, and 6 bits minus 32.
    Q6K,
    /// A scale, and a signed byte.
    Q8_0,
    /// An IEEE half.
    F16,
    /// A bfloat16.
    Bf16,
}

impl BlockLayout {
    /// The values of the 16 codes of NF4, in units of a block's scale.
    pub const NF4_VALUES: [f32; 16] = super::nf4::CODE;

    /// Returns the number of elements of a block.
    #[must_use]
    pub fn block_len(self) -> usize {
        self.packing().map_or(1, Packing::block_len)
    }

    /// Returns the number of bytes of a block; those of NF4 without their scale.
    #[must_use]
    pub fn block_bytes(self) -> usize {
        self.packing().map_or(2, Packing::block_bytes)
    }

    /// Returns the type of the elements where they are floats.
    pub(crate) fn float(self) -> Option<DType> {
        self.packing().err()
    }

    /// Returns the packing of the elements, or their type where they are floats.
    pub(super) fn packing(self) -> Result<Packing, DType> {
        Ok(match self {
            Self::Nf4 => Packing::Nf4,
            Self::Q4_0 => Packing::Q4_0,
            Self::Q4_1 => Packing::Q4_1,
            Self::Q4K => Packing::Q4K,
            Self::Q5_0 => Packing::Q5_0,
            Self::Q5_1 => Packing::Q5_1,
            Self::Q5K => Packing::Q5K,
            Self::Q6K => Packing::Q6K,
            Self::Q8_0 => Packing::Q8_0,
            Self::F16 => return Err(DType::F16),
            Self::Bf16 => return Err(DType::BF16),
        })
    }
}

/// A layout of blocks of few bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Nf4,
    Q4_0,
    Q4_1,
    Q4K,
    Q5_0,
    Q5_1,
    Q5K,
    Q6K,
    Q8_0,
}

impl Packing {
    pub(super) fn block_len(self) -> usize {
        match self {
            Self::Nf4 => 64,
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 => 32,
            Self::Q4K | Self::Q5K | Self::Q6K => 256,
        }
    }

    pub(super) fn block_bytes(self) -> usize {
        match self {
            Self::Nf4 => 32,
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q4K => 144,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q5K => 176,
            Self::Q6K => 210,
            Self::Q8_0 => 34,
        }
    }
}

impl fmt::Display for BlockLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nf4 => "NF4",
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q4K => "Q4_K",
            Self::Q5_0 => "Q5_0",
            Self::Q5_1 => "Q5_1",
            Self::Q5K => "Q5_K",
            Self::Q6K => "Q6_K",
            Self::Q8_0 => "Q8_0",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
        })
    }
}
