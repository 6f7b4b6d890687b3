// A block for each row. scales[row] = one over its root mean square, which the way back needs.
extern "C" __global__ void rms_norm_forward(const T* x, const T* weight, T* y, float* scales, Size n, float epsilon) {
  x += blockIdx.x * n;
  y += blockIdx.x * n;
  float squares = 0.f;
  EACH_OF_ROW(i, n) {
    Pack a = read(x, i, n);
    for (int j = 0; j < WIDTH; j++) squares += a.at[j] * a.at[j];
  }
  float scale = 1.f / sqrtf(block_sum(squares) / n + epsilon);
  if (threadIdx.x == 0) scales[blockIdx.x] = scale;
  EACH_OF_ROW(i, n) {
    Pack a = read(x, i, n), w = read(weight, i, n);
    for (int j = 0; j < WIDTH; j++) a.at[j] *= scale * w.at[j];
    write(y, i, n, a);
  }
}

// A block for `rows_each` rows. partials[block, n]: what they add to the weight's gradient, unless it is null. A thread has
// the same columns in each row, so that what it gathers is its own.
extern "C" __global__ void rms_norm_backward(const T* x, const T* weight, const T* dy, const float* scales, T* dx,
                                             float* partials, Size rows, Size n, Size rows_each) {
  extern __shared__ float gathered[];
  EACH_OF_ROW(i, n)
    for (int j = 0; j < WIDTH && i + j < n; j++) gathered[i + j] = 0.f;
  Size from = blockIdx.x * rows_each, to = from + rows_each < rows ? from + rows_each : rows;
  for (Size row = from; row < to; row++) {
    const T *x_row = x + row * n, *dy_row = dy + row * n;
    float scale = scales[row], along = 0.f;
    EACH_OF_ROW(i, n) {
      Pack a = read(x_row, i, n), g = read(dy_row, i, n), w = read(weight, i, n);
      for (int j = 0; j < WIDTH; j++) {
        along += g.at[j] * w.at[j] * a.at[j];
        if (i + j < n) gathered[i + j] += g.at[j] * (a.at[j] * scale);
      }
    }
    along = block_sum(along) * scale * scale / n;
    EACH_OF_ROW(i, n) {
      Pack a = read(x_row, i, n), g = read(dy_row, i, n), w = read(weight, i, n), d;
      for (int j = 0; j < WIDTH; j++) d.at[j] = (g.at[j] * w.at[j] - a.at[j] * along) * scale;
      write(dx + row * n, i, n, d);
    }
  }
  if (!partials) return;
  EACH_OF_ROW(i, n)
    for (int j = 0; j < WIDTH && i + j < n; j++) partials[blockIdx.x * n + i + j] = gathered[i + j];
}
