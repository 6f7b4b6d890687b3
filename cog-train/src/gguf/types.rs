//! The types of tensors.

use std::fmt;

macro_rules! types {
    ($($id:literal $name:ident $shown:literal $elements:literal in $bytes:literal),* $(,)?) => {
        /// The type of a tensor: floats, whole numbers, or blocks of quantised values.
        ///
        /// ```
        /// use cog_train::gguf::TensorType;
        ///
        /// assert_eq!(TensorType::Q4K.to_string(), "Q4_K");
        /// assert_eq!((TensorType::Q4K.block_elements(), TensorType::Q4K.block_bytes()), (256, 144));
        /// ```
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum TensorType {
            $(#[doc = concat!("`", $shown, "`: ", $elements, " elements in ", $bytes, " bytes.")] $name,)*
        }

        impl TensorType {
            /// The type of a number in a file.
            pub(super) fn of_id(id: u32) -> Option<Self> {
                match id {
                    $($id => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// Its number in a file.
            pub(super) fn id(self) -> u32 {
                match self {
                    $(Self::$name => $id,)*
                }
            }

            /// Returns the elements of a block; 1 of numbers.
            #[must_use]
            pub fn block_elements(self) -> usize {
                match self {
                    $(Self::$name => $elements,)*
                }
            }

            /// Returns the bytes of a block.
            #[must_use]
            pub fn block_bytes(self) -> usize {
                match self {
                    $(Self::$name => $bytes,)*
                }
            }
        }

        impl fmt::Display for TensorType {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self {
                    $(Self::$name => $shown,)*
                })
            }
        }
    };
}

types! {
    0 F32 "F32" 1 in 4,
    1 F16 "F16" 1 in 2,
    2 Q4_0 "Q4_0" 32 in 18,
    3 Q4_1 "Q4_1" 32 in 20,
    6 Q5_0 "Q5_0" 32 in 22,
    7 Q5_1 "Q5_1" 32 in 24,
    8 Q8_0 "Q8_0" 32 in 34,
    9 Q8_1 "Q8_1" 32 in 40,
    10 Q2K "Q2_K" 256 in 84,
    11 Q3K "Q3_K" 256 in 110,
    12 Q4K "Q4_K" 256 in 144,
    13 Q5K "Q5_K" 256 in 176,
    14 Q6K "Q6_K" 256 in 210,
    15 Q8K "Q8_K" 256 in 292,
    16 Iq2Xxs "IQ2_XXS" 256 in 66,
    17 Iq2Xs "IQ2_XS" 256 in 74,
    18 Iq3Xxs "IQ3_XXS" 256 in 98,
    19 Iq1S "IQ1_S" 256 in 50,
    20 Iq4Nl "IQ4_NL" 32 in 18,
    21 Iq3S "IQ3_S" 256 in 110,
    22 Iq2S "IQ2_S" 256 in 82,
    23 Iq4Xs "IQ4_XS" 256 in 136,
    24 I8 "I8" 1 in 1,
    25 I16 "I16" 1 in 2,
    26 I32 "I32" 1 in 4,
    27 I64 "I64" 1 in 8,
    28 F64 "F64" 1 in 8,
    29 Iq1M "IQ1_M" 256 in 56,
    30 Bf16 "BF16" 1 in 2,
    34 Tq1_0 "TQ1_0" 256 in 54,
    35 Tq2_0 "TQ2_0" 256 in 66,
    39 Mxfp4 "MXFP4" 32 in 17,
    40 Nvfp4 "NVFP4" 64 in 36,
    41 Q1_0 "Q1_0" 128 in 18,
}

impl TensorType {
    /// Returns the bytes of a tensor.
    ///
    /// # Errors
    ///
    /// The reason for which there is no tensor of this shape.
    pub(super) fn bytes_of(self, shape: &[usize]) -> Result<usize, String> {
        let (elements, bytes) = (self.block_elements(), self.block_bytes());
        let row = shape.last().copied().unwrap_or(1);
        if !row.is_multiple_of(elements) {
            return Err(format!(
                "is {self} and has rows of {row} elements, which blocks of {elements} do not fill"
            ));
        }
        // A dimension of 0 counts as 1: strides must not overflow either.
        let blocks = shape.iter().try_fold(1_usize, |count, &size| count.checked_mul(size.max(1)));
        let total = blocks.and_then(|count| (count / elements).max(1).checked_mul(bytes));
        // Memory is addressed by half of what a pointer holds.
        match total.filter(|total| isize::try_from(*total).is_ok()) {
            Some(_) if shape.contains(&0) => Ok(0),
            Some(total) => Ok(total),
            None => Err(format!("of shape {shape:?} is too large to address")),
        }
    }
}
