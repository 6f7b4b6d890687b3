// A block for each row. moments[row] = its mean and one over its standard deviation, which the way back needs.
extern "C" __global__ void layer_norm_forward(const T* x, const T* weight, const T* bias, T* y, float2* moments, Size n,
                                              float epsilon) {
  x += blockIdx.x * n;
  float sum = 0.f;
  EACH_OF_ROW(i, n) {
    Pack a = read(x, i, n);
    for (int j = 0; j < WIDTH; j++) sum += a.at[j];
  }
  float mean = block_sum(sum) / n, squares = 0.f;
  EACH_OF_ROW(i, n) {
    Pack a = read(x, i, n);
    for (int j = 0; j < WIDTH; j++)
      if (i + j < n) squares += (a.at[j] - mean) * (a.at[j] - mean);
  }
  float scale = 1.f / sqrtf(block_sum(squares) / n + epsilon);
  if (threadIdx.x == 0) moments[blockIdx.x] = make_float2(mean, scale);
  EACH_OF_ROW(i, n) {
    Pack a = read(x, i, n), w = read(weight, i, n), b = read(bias, i, n);
    for (int j = 0; j < WIDTH; j++) a.at[j] = (a.at[j] - mean) * scale * w.at[j] + b.at[j];
    write(y + blockIdx.x * n, i, n, a);
  }
}

// A block for `rows_each` rows. partials[block, 2, n]: what they add to the gradients of weight and bias, unless it is null. A
// thread has the same columns in each row, so that what it gathers is its own.
extern "C" __global__ void layer_norm_backward(const T* x, const T* weight, const T* dy, const float2* moments, T* dx,
                                               float* partials, Size rows, Size n, Size rows_each) {
  extern __shared__ float of_weight[];
  float* of_bias = of_weight + n;
  EACH_OF_ROW(i, n)
    for (int j = 0; j < WIDTH && i + j < n; j++) of_weight[i + j] = of_bias[i + j] = 0.f;
  Size from = blockIdx.x * rows_each, to = from + rows_each < rows ? from + rows_each : rows;
  for (Size row = from; row < to; row++) {
    const T *x_row = x + row * n, *dy_row = dy + row * n;
    float mean = moments[row].x, scale = moments[row].y, sum = 0.f, along = 0.f;
    EACH_OF_ROW(i, n) {
      Pack a = read(x_row, i, n), g = read(dy_row, i, n), w = read(weight, i, n);
      for (int j = 0; j < WIDTH; j++) {
        if (i + j >= n) break;
        float normal = (a.at[j] - mean) * scale, slope = __fmul_rn(g.at[j], w.at[j]);
        of_weight[i + j] += g.at[j] * normal;
        of_bias[i + j] += g.at[j];
        sum += slope;
        along += slope * normal;
      }
    }
    float2 sums = block_sums(sum, along);
    sum = sums.x / n;
    along = sums.y / n;
    EACH_OF_ROW(i, n) {
      Pack a = read(x_row, i, n), g = read(dy_row, i, n), w = read(weight, i, n), d;
      for (int j = 0; j < WIDTH; j++) {
        // The same product as above, rounded as there: in a row of one number it is the mean.
        float slope = __fmul_rn(g.at[j], w.at[j]);
        d.at[j] = (slope - sum - (a.at[j] - mean) * scale * along) * scale;
      }
      write(dx + row * n, i, n, d);
    }
  }
  if (!partials) return;
  EACH_OF_ROW(i, n)
    for (int j = 0; j < WIDTH && i + j < n; j++) {
      partials[(blockIdx.x * 2) * n + i + j] = of_weight[i + j];
      partials[(blockIdx.x * 2 + 1) * n + i + j] = of_bias[i + j];
    }
}
