//! The work of one task: some images, by products of matrices. The elements under the window are unfolded into the columns of
//! a matrix, as many at a time as a core's cache holds.

use super::geometry::{Band, Geometry};
use super::unfold::{fold, pad, unfold, unpad};
use crate::kernels::matmul::{Matrix, Target, matmul};
use crate::kernels::output::Output;
use crate::kernels::scratch::scratch;
use crate::kernels::simd::{self, simd};

/// Some images.
pub(super) struct Piece<'a> {
    geometry: &'a Geometry,
    images: usize,
    x: &'a [f32],
    weight: &'a [f32],
}

impl<'a> Piece<'a> {
    pub(super) fn new(geometry: &'a Geometry, x: &'a [f32], weight: &'a [f32]) -> Self {
        Self { geometry, images: x.len() / geometry.image_in(), x, weight }
    }

    /// Writes the results. They are zeroed first, for bands come in an order of their own; the products take far longer.
    pub(super) fn forward(&self, bias: &[f32], y: Output<'_>) {
        let (geometry, y) = (self.geometry, y.zeroed());
        scratch(geometry.lengths(), |[padded, matrix, product]| {
            self.pad(padded);
            for band in geometry.bands(self.images) {
                let columns = band.columns(geometry);
                for group in 0..geometry.groups {
                    let seen = self.seen(band, group, padded, matrix);
                    let target = Target::set(product, columns);
                    matmul(target, self.weight(group), seen, 1.0, geometry.threads());
                    for (output, from, to) in band.rows_of(geometry, group) {
                        let size = band.of_image(geometry);
                        let bias = bias.get(output).copied().unwrap_or(0.0);
                        let from = &product[from..from + size];
                        finish(from, bias, geometry.relu, &mut y[to..to + size]);
                    }
                }
            }
        });
    }

    /// Writes the gradient of the images to `dx`, and adds those of weight and bias to `gathered`: the weight's with rows
    /// and columns exchanged, group after group, which is the faster product. `transposed` is the weight in that layout, `y`
    /// is there with ReLU.
    pub(super) fn backward(
        &self,
        transposed: &[f32],
        y: Option<&[f32]>,
        dy: &[f32],
        dx: Option<Output<'_>>,
        mut gathered: Option<&mut [f32]>,
    ) {
        let geometry = self.geometry;
        let (inner, outputs) = (geometry.inner(), geometry.outputs);
        let [of_padded, of_matrix, of_product] = geometry.lengths();
        let lengths = [of_padded, of_matrix, of_product, of_padded];
        // Of an image that is a matrix the bands are columns: it is zeroed first, which is little beside the products.
        let (mut image, dx) =
            if self.is_in_place() { (dx.map(Output::zeroed), None) } else { (None, dx) };
        scratch(lengths, |[padded, matrix, gradient, sums]| {
            if gathered.is_some() {
                self.pad(padded);
            }
            if dx.is_some() {
                sums.fill(0.0);
            }
            for band in geometry.bands(self.images) {
                let (columns, size) = (band.columns(geometry), band.of_image(geometry));
                for group in 0..geometry.groups {
                    for (output, to, from) in band.rows_of(geometry, group) {
                        let y = y.map_or(&[][..], |y| &y[from..from + size]);
                        let sum = begin(&dy[from..from + size], y, &mut gradient[to..to + size]);
                        if let Some(gathered) = &mut gathered {
                            gathered[self.weight.len() + output] += sum;
                        }
                    }
                    let gradient = Matrix::new(gradient, outputs, columns);
                    if let Some(gathered) = &mut gathered {
                        let seen = self.seen(band, group, padded, matrix);
                        let start = group * outputs * inner;
                        let target = Target::add(&mut gathered[start..], outputs);
                        matmul(target, seen, gradient.t(), 1.0, geometry.threads());
                    }
                    let weight =
                        Matrix::new(&transposed[group * outputs * inner..], inner, outputs);
                    if let Some(image) = &mut image {
                        let (start, stride) = self.in_place(band, group);
                        let target = Target::set(&mut image[start..], stride);
                        matmul(target, weight, gradient, 1.0, geometry.threads());
                    } else if dx.is_some() {
                        let target = Target::set(matrix, columns);
                        matmul(target, weight, gradient, 1.0, geometry.threads());
                        fold(geometry, band, group, matrix, sums);
                    }
                }
            }
            if let Some(dx) = dx {
                unpad(geometry, sums, dx);
            }
        });
    }

    /// The weight of a group.
    fn weight(&self, group: usize) -> Matrix<'a> {
        let (inner, outputs) = (self.geometry.inner(), self.geometry.outputs);
        Matrix::new(&self.weight[group * outputs * inner..], outputs, inner)
    }

    /// Whether the image is the matrix: nothing needs to be moved.
    fn is_in_place(&self) -> bool {
        self.images == 1 && self.geometry.is_pointwise()
    }

    /// Returns the beginning of the matrix in the image then, and the stride of its rows.
    fn in_place(&self, band: Band, group: usize) -> (usize, usize) {
        let Geometry { channels, plane: [height, width], .. } = *self.geometry;
        ((group * channels * height + band.first) * width, height * width)
    }

    fn pad(&self, padded: &mut [f32]) {
        if !self.is_in_place() {
            pad(self.geometry, self.x, padded);
        }
    }

    /// Returns the elements under the window, a column for each position.
    fn seen<'m>(
        &self,
        band: Band,
        group: usize,
        padded: &[f32],
        matrix: &'m mut [f32],
    ) -> Matrix<'m>
    where
        'a: 'm,
    {
        let (inner, columns) = (self.geometry.inner(), band.columns(self.geometry));
        if self.is_in_place() {
            let (start, stride) = self.in_place(band, group);
            return Matrix::strided(&self.x[start..], inner, columns, stride);
        }
        unfold(self.geometry, band, group, padded, matrix);
        Matrix::new(matrix, inner, columns)
    }
}

simd! {
    /// Bias and ReLU.
    fn finish(product: &[f32], bias: f32, relu: bool, y: &mut [f32]) {
        if relu {
            for (y, product) in y.iter_mut().zip(product) {
                let sum = *product + bias;
                // A NaN is not below 0, and stays.
                *y = if sum <= 0.0 { 0.0 } else { sum };
            }
        } else {
            for (y, product) in y.iter_mut().zip(product) {
                *y = *product + bias;
            }
        }
    }

    /// The gradient before ReLU, if there is one, and its sum.
    fn begin(dy: &[f32], y: &[f32], gradient: &mut [f32]) -> f32 {
        if y.is_empty() {
            gradient.copy_from_slice(dy);
        } else {
            for ((gradient, dy), y) in gradient.iter_mut().zip(dy).zip(y) {
                *gradient = if *y <= 0.0 { 0.0 } else { *dy };
            }
        }
        simd::sum(gradient)
    }
}
