//! Random numbers by name: a stream is a pure function of (seed, purpose, index).
//!
//! Bits, integers, uniform values and shuffles are the same on every machine. Normally distributed values go through the
//! platform's `ln` and `cos`, whose last bit may differ between systems; on one machine they are always the same. Tensors
//! are drawn on the CPU and copied, so that every device has the same values.
//!
//! There is no generator to save or to share between threads: the 7th shuffle of seed 42 is
//! `Rng::new(42, "shuffle").at(7)`, on every thread and at any time. The bits come from Philox4x32-10 (Salmon et al.,
//! "Parallel random numbers: as easy as 1, 2, 3", SC 2011), the generator that PyTorch uses on GPUs.

use candle_core::{DType, Device, Error, Shape, Tensor};

/// The streams of one seed and one purpose.
///
/// ```
/// use cog_train_nn::Rng;
///
/// let shuffle = Rng::new(42, "shuffle");
/// let mut order: Vec<u32> = (0..5).collect();
/// shuffle.at(0).shuffle(&mut order);
/// let mut again: Vec<u32> = (0..5).collect();
/// Rng::new(42, "shuffle").at(0).shuffle(&mut again);
/// assert_eq!(order, again);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Rng {
    seed: u64,
    purpose: u32,
}

impl Rng {
    /// Returns the streams of `seed` for `purpose`, a name such as `"init"` or `"shuffle"`.
    #[must_use]
    pub fn new(seed: u64, purpose: &str) -> Self {
        // FNV-1a: short, and stable across versions.
        let purpose = purpose
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        Self { seed, purpose }
    }

    /// Returns the stream with index `index`: an epoch, a step, a layer.
    #[must_use]
    pub fn at(&self, index: u64) -> Stream {
        Stream { seed: self.seed, purpose: self.purpose, index, block: 0, left: 0, words: [0; 4] }
    }
}

/// One sequence of random numbers; 2^34 words long.
#[derive(Debug, Clone)]
pub struct Stream {
    seed: u64,
    purpose: u32,
    index: u64,
    block: u32,
    left: usize,
    words: [u32; 4],
}

impl Stream {
    /// Returns 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.left == 0 {
            let [low, high] = halves(self.index);
            self.words = philox([self.block, low, high, self.purpose], halves(self.seed));
            self.block = self.block.wrapping_add(1);
            self.left = 4;
        }
        self.left -= 1;
        self.words[3 - self.left]
    }

    /// Returns the words of `N` blocks of four, beginning `skip` blocks after the present one: the first words of all blocks,
    /// then the second ones, and so on. [`next_u32`](Self::next_u32) returns the same words, block after block.
    #[expect(clippy::inline_always, reason = "it must take the width of the loop around it")]
    #[inline(always)]
    pub(crate) fn blocks<const N: usize>(&self, skip: u32) -> [[u32; N]; 4] {
        let [low, high] = halves(self.index);
        let mut counter = [[0; N], [low; N], [high; N], [self.purpose; N]];
        for (block, lane) in counter[0].iter_mut().zip(0u32..) {
            *block = self.block.wrapping_add(skip).wrapping_add(lane);
        }
        let mut key = halves(self.seed);
        for _ in 0..10 {
            let [a, b, c, d] = &mut counter;
            for lane in 0..N {
                [a[lane], b[lane], c[lane], d[lane]] =
                    round([a[lane], b[lane], c[lane], d[lane]], key);
            }
            key = next_key(key);
        }
        counter
    }

    /// Returns the counter and the key of the present block, from which a GPU draws the same words.
    pub(crate) fn counter_and_key(&self) -> ([u32; 4], [u32; 2]) {
        let [low, high] = halves(self.index);
        ([self.block, low, high, self.purpose], halves(self.seed))
    }

    /// Returns 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let low = self.next_u32();
        u64::from(self.next_u32()) << 32 | u64::from(low)
    }

    /// Draws uniformly from [0, 1), with 53 random bits.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * 2f64.powi(-53)
    }

    /// Draws uniformly from `0..n`, without bias.
    ///
    /// # Panics
    ///
    /// When `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        // Lemire's multiplication; the few low products that would bias the result are rejected.
        let threshold = n.wrapping_neg() % n;
        loop {
            let product = u128::from(self.next_u64()) * u128::from(n);
            #[expect(clippy::cast_possible_truncation, reason = "the two halves of the product")]
            let (high, low) = ((product >> 64) as u64, product as u64);
            if low >= threshold {
                return high;
            }
        }
    }

    /// Draws from the normal distribution with mean 0 and standard deviation 1 (Box-Muller, the cosine branch).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Shuffles `items` uniformly (Fisher-Yates).
    #[expect(clippy::cast_possible_truncation, reason = "an index of a slice")]
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }

    /// Draws a tensor of normally distributed values, in 64 bits and rounded to `dtype`.
    ///
    /// # Errors
    ///
    /// candle's error when memory cannot be allocated or the device does not support the type.
    pub fn normal_tensor(
        &mut self,
        shape: impl Into<Shape>,
        mean: f64,
        std: f64,
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor, Error> {
        self.tensor(shape.into(), dtype, device, |stream| mean + std * stream.normal())
    }

    /// Draws a tensor of values uniform in `[low, high)`, in 64 bits and rounded to `dtype`.
    ///
    /// # Errors
    ///
    /// candle's error when memory cannot be allocated or the device does not support the type.
    pub fn uniform_tensor(
        &mut self,
        shape: impl Into<Shape>,
        low: f64,
        high: f64,
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor, Error> {
        self.tensor(shape.into(), dtype, device, |stream| low + (high - low) * stream.uniform())
    }

    fn tensor(
        &mut self,
        shape: Shape,
        dtype: DType,
        device: &Device,
        mut draw: impl FnMut(&mut Self) -> f64,
    ) -> Result<Tensor, Error> {
        let values: Vec<f64> = (0..shape.elem_count()).map(|_| draw(self)).collect();
        Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(dtype)?.to_device(device)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the two halves")]
fn halves(word: u64) -> [u32; 2] {
    [word as u32, (word >> 32) as u32]
}

fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        counter = round(counter, key);
        key = next_key(key);
    }
    counter
}

#[expect(clippy::inline_always, reason = "it must take the width of the loop around it")]
#[inline(always)]
fn round(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [low_a, high_a] = halves(u64::from(counter[0]) * 0xD251_1F53);
    let [low_b, high_b] = halves(u64::from(counter[2]) * 0xCD9E_8D57);
    [high_b ^ counter[1] ^ key[0], low_b, high_a ^ counter[3] ^ key[1], low_a]
}

#[inline]
fn next_key(key: [u32; 2]) -> [u32; 2] {
    [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers of the Random123 library (`kat_vectors`, philox4x32 with 10 rounds).
    #[test]
    fn philox_known_answers() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox(
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0]
            ),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn blocks_are_the_words_of_the_stream() {
        let stream = Rng::new(3, "test").at(1 << 40);
        let mut words = stream.clone();
        for skip in [0, 5, 10] {
            let blocks = stream.blocks::<5>(skip);
            for block in 0..5 {
                assert_eq!(blocks.map(|words| words[block]), [(); 4].map(|()| words.next_u32()));
            }
        }
    }

    #[test]
    fn streams_differ_by_seed_purpose_and_index() {
        let first = |seed, purpose, index| Rng::new(seed, purpose).at(index).next_u64();
        let base = first(1, "init", 0);
        assert_ne!(base, first(2, "init", 0));
        assert_ne!(base, first(1, "shuffle", 0));
        assert_ne!(base, first(1, "init", 1));
        assert_eq!(base, first(1, "init", 0));
    }

    #[test]
    fn below_is_uniform_and_shuffle_is_a_permutation() {
        let mut stream = Rng::new(7, "test").at(0);
        let mut counts = [0u32; 6];
        for _ in 0..60_000 {
            counts[usize::try_from(stream.below(6)).unwrap()] += 1;
        }
        // Five standard deviations of a binomial with n = 60000, p = 1/6 are 456.
        assert!(counts.iter().all(|count| count.abs_diff(10_000) < 456), "{counts:?}");
        let mut items: Vec<u32> = (0..1000).collect();
        stream.shuffle(&mut items);
        assert_ne!(items, (0..1000).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn normal_has_its_moments() {
        let mut stream = Rng::new(7, "test").at(1);
        let values: Vec<f64> = (0..100_000).map(|_| stream.normal()).collect();
        let mean = values.iter().sum::<f64>() / 1e5;
        let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.016, "{mean}");
        assert!((variance - 1.0).abs() < 0.023, "{variance}");
    }
}
