//! The sizes of a convolution, and the partition of the fast path.

use crate::kernels::matmul::Threads;
use crate::kernels::window::Window;
use candle_core::Error;

/// The settings that the shapes of the operands do not determine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) stride: usize,
    pub(crate) padding: usize,
    pub(crate) dilation: usize,
    pub(crate) groups: usize,
    pub(crate) relu: bool,
}

/// Elements that are moved at once: a register of AVX-512.
pub(super) const BLOCK: usize = 16;

/// All sizes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Geometry {
    pub(super) images: usize,
    pub(super) groups: usize,
    /// In one group.
    pub(super) channels: usize,
    /// In one group.
    pub(super) outputs: usize,
    /// Height and width of an input plane.
    pub(super) plane: [usize; 2],
    /// Height and width of an output plane.
    pub(super) positions: [usize; 2],
    pub(super) window: Window,
    pub(super) relu: bool,
}

/// Rows of the result that are computed together: of each image, `rows` from `first` on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Band {
    pub(super) images: usize,
    pub(super) first: usize,
    pub(super) rows: usize,
}

impl Geometry {
    pub(super) fn new(
        x: &[usize],
        weight: &[usize],
        bias: Option<&[usize]>,
        settings: Settings,
    ) -> Result<Self, Error> {
        let Settings { stride, padding, dilation, groups, relu } = settings;
        let fail = |reason: String| Err(candle_core::Error::msg(reason));
        let (&[images, all, height, width], &[outputs, channels, kh, kw]) = (x, weight) else {
            return fail(format!(
                "conv2d: an input {x:?} and a weight {weight:?}, not 4 sizes each"
            ));
        };
        let fits = groups > 0 && channels.checked_mul(groups) == Some(all) && outputs % groups == 0;
        if !fits || channels == 0 || outputs == 0 {
            return fail(format!(
                "conv2d: an input {x:?} and a weight {weight:?}, with `groups` {groups}"
            ));
        }
        if let Some(bias) = bias.filter(|bias| *bias != [outputs]) {
            return fail(format!("conv2d: a weight {weight:?} and a bias {bias:?}"));
        }
        let window = Window { kernel: [kh, kw], stride, padding, dilation };
        let plane = [height, width];
        let Some(positions) = window.positions(plane).filter(|_| !plane.contains(&0)) else {
            return fail(format!(
                "conv2d: a kernel {:?} with stride {stride}, padding {padding} and dilation {dilation} does not fit on \
                 {plane:?}",
                window.kernel
            ));
        };
        let outputs = outputs / groups;
        Ok(Self { images, groups, channels, outputs, plane, positions, window, relu })
    }

    /// Returns the number of terms of each element of the result.
    pub(super) fn inner(&self) -> usize {
        self.channels * self.window.taps()
    }

    /// Returns the elements of an input image.
    pub(super) fn image_in(&self) -> usize {
        self.groups * self.channels * self.plane[0] * self.plane[1]
    }

    /// Returns the elements of an output image.
    pub(super) fn image_out(&self) -> usize {
        self.groups * self.outputs * self.positions[0] * self.positions[1]
    }

    /// Height with the padding, and how far apart rows are: with stride 1 a row of blocks that begins anywhere in a row
    /// does not reach into the next, which it would have to wait for.
    pub(super) fn padded(&self) -> [usize; 2] {
        let Window { kernel, stride, padding, dilation } = self.window;
        let [tall, wide] = self.plane.map(|size| size + 2 * padding);
        let blocks = (kernel[1] - 1) * dilation + self.positions[1].next_multiple_of(BLOCK);
        [tall, if stride == 1 { blocks } else { wide }]
    }

    /// Returns the strides in the padded planes of images, and of the windows of two rows of the result.
    pub(super) fn strides(&self) -> [usize; 2] {
        let [tall, wide] = self.padded();
        [self.groups * self.channels * tall * wide, self.window.stride * wide]
    }

    /// Whether every element of the result depends on one position of each channel, the same: then nothing is unfolded.
    pub(super) fn is_pointwise(&self) -> bool {
        self.window.kernel == [1, 1] && self.window.stride == 1 && self.window.padding == 0
    }

    /// Returns the columns of a product: enough for full speed, and few enough for the cache of a core.
    fn columns(&self) -> usize {
        (256 * 1024 / self.inner().max(1)).clamp(128, 800)
    }

    /// Returns the images of one task.
    pub(super) fn together(&self) -> usize {
        (self.columns() / (self.positions[0] * self.positions[1]).max(1)).max(1)
    }

    /// The bands of `images` images.
    pub(super) fn bands(&self, images: usize) -> impl Iterator<Item = Band> {
        let [height, width] = self.positions;
        let most = (self.columns() / (width * images).max(1)).clamp(1, height);
        // Bands of about one size.
        let rows = height.div_ceil(height.div_ceil(most));
        (0..height).step_by(rows).map(move |first| Band {
            images,
            first,
            rows: rows.min(height - first),
        })
    }

    /// Whether a product has the threads of the pool, or one of them: with one task only, the others are idle.
    pub(super) fn threads(&self) -> Threads {
        if self.images <= self.together() { Threads::All } else { Threads::One }
    }

    /// Returns the scratch memory of the largest task: padded images, unfolded matrix, results.
    pub(super) fn lengths(&self) -> [usize; 3] {
        let [tall, wide] = self.padded();
        let together = self.together().min(self.images.max(1));
        let columns = self.bands(together).map(|band| band.columns(self)).max().unwrap_or(0);
        [
            together * self.groups * self.channels * tall * wide + BLOCK,
            self.inner() * columns + BLOCK,
            self.outputs * columns,
        ]
    }
}

impl Band {
    /// Returns the positions of one image.
    pub(super) fn of_image(&self, geometry: &Geometry) -> usize {
        self.rows * geometry.positions[1]
    }

    /// Iterates over the output channels of a group and the images: the channel, and where its elements begin in the matrix of
    /// the band and in the output images.
    pub(super) fn rows_of(
        self,
        geometry: &Geometry,
        group: usize,
    ) -> impl Iterator<Item = (usize, usize, usize)> {
        let Geometry { groups, outputs, positions: [height, width], .. } = *geometry;
        let size = self.rows * width;
        (0..outputs).flat_map(move |output| {
            let of_all = group * outputs + output;
            (0..self.images).map(move |image| {
                let in_matrix = (output * self.images + image) * size;
                let row = (image * groups * outputs + of_all) * height + self.first;
                (of_all, in_matrix, row * width)
            })
        })
    }

    /// Returns the positions of all images.
    pub(super) fn columns(&self, geometry: &Geometry) -> usize {
        self.images * self.of_image(geometry)
    }
}
