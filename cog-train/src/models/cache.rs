//! The keys and values of the tokens that a decoder has seen.

use candle_core::{DType, Device, Error, Tensor};

/// The keys and values of one text, of every layer. Memory is allocated once, for `capacity` tokens.
#[derive(Debug)]
pub(crate) struct KvCache {
    layers: Vec<LayerCache>,
    length: usize,
}

/// The keys and values of one layer, `[1, capacity, KV, hd]` each.
#[derive(Debug)]
pub(crate) struct LayerCache {
    keys: Tensor,
    values: Tensor,
    /// The tokens before those that are being computed.
    length: usize,
}

/// The sizes of a cache.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CacheShape {
    pub(crate) layers: usize,
    pub(crate) kv_heads: usize,
    /// Elements of a head.
    pub(crate) width: usize,
}

impl KvCache {
    /// Allocates a cache for `capacity` tokens.
    ///
    /// # Errors
    ///
    /// candle's error when there is no room.
    pub(crate) fn new(
        shape: CacheShape,
        capacity: usize,
        dtype: DType,
        device: &Device,
    ) -> Result<Self, Error> {
        let CacheShape { layers, kv_heads, width } = shape;
        let zeros = || Tensor::zeros((1, capacity, kv_heads, width), dtype, device);
        let layer = || Ok(LayerCache { keys: zeros()?, values: zeros()?, length: 0 });
        let layers = (0..layers).map(|_| layer()).collect::<Result<_, Error>>()?;
        Ok(Self { layers, length: 0 })
    }

    /// The number of tokens in it.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.length = 0;
    }

    /// The part of a layer, for the tokens that come next.
    pub(crate) fn layer(&mut self, index: usize) -> &mut LayerCache {
        let layer = &mut self.layers[index];
        layer.length = self.length;
        layer
    }

    /// Counts the tokens that every layer has appended.
    pub(crate) fn advance(&mut self, tokens: usize) {
        self.length += tokens;
    }
}

impl LayerCache {
    /// Appends the keys and values `[1, T, KV, hd]` of the next tokens, and returns those of all tokens.
    ///
    /// # Errors
    ///
    /// candle's error when they do not fit.
    pub(crate) fn append(&mut self, keys: &Tensor, values: &Tensor) -> Result<[Tensor; 2], Error> {
        let (start, count) = (self.length, keys.dim(1)?);
        let put = |all: &Tensor, next: &Tensor| {
            all.slice_set(&next.contiguous()?, 1, start)?;
            all.narrow(1, 0, start + count)
        };
        Ok([put(&self.keys, keys)?, put(&self.values, values)?])
    }
}
