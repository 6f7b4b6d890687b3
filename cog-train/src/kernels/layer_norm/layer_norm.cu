// The mean of a row and one over its standard deviation, in all threads of its block.
__device__ inline void moments(const T* x, Size n, float epsilon, float& mean, float& scale) {
  float sum = 0.f;
  for (Size i = threadIdx.x * 4; i < n; i += blockDim.x * 4) {
    Four a = read(x, i, n);
    for (int j = 0; j < 4; j++) sum += a.at[j];
  }
  mean = block_sum(sum) / n;
  float squares = 0.f;
  for (Size i = threadIdx.x * 4; i < n; i += blockDim.x * 4) {
    Four a = read(x, i, n);
    for (int j = 0; j < 4; j++)
      if (i + j < n) squares += (a.at[j] - mean) * (a.at[j] - mean);
  }
  scale = 1.f / sqrtf(block_sum(squares) / n + epsilon);
}

// A block for each row.
extern "C" __global__ void layer_norm_forward(const T* x, const T* weight, const T* bias, T* y, Size n,
                                              float epsilon) {
  x += blockIdx.x * n;
  float mean, scale;
  moments(x, n, epsilon, mean, scale);
  for (Size i = threadIdx.x * 4; i < n; i += blockDim.x * 4) {
    Four a = read(x, i, n), w = read(weight, i, n), b = read(bias, i, n);
    for (int j = 0; j < 4; j++) a.at[j] = (a.at[j] - mean) * scale * w.at[j] + b.at[j];
    write(y + blockIdx.x * n, i, n, a);
  }
}

// A block for `rows_each` rows. parts[block, 2, n]: what they add to the gradients of weight and bias. A thread has the
// same columns in each row, so that what it gathers is its own.
extern "C" __global__ void layer_norm_backward(const T* x, const T* weight, const T* dy, T* dx, float* parts,
                                               Size rows, Size n, Size rows_each, float epsilon) {
  extern __shared__ float of_weight[];
  float* of_bias = of_weight + n;
  for (Size i = threadIdx.x * 4; i < n; i += blockDim.x * 4)
    for (int j = 0; j < 4 && i + j < n; j++) of_weight[i + j] = of_bias[i + j] = 0.f;
  Size from = blockIdx.x * rows_each, to = from + rows_each < rows ? from + rows_each : rows;
  for (Size row = from; row < to; row++) {
    const T *x_row = x + row * n, *dy_row = dy + row * n;
    float mean, scale, sum = 0.f, along = 0.f;
    moments(x_row, n, epsilon, mean, scale);
    for (Size i = threadIdx.x * 4; i < n; i += blockDim.x * 4) {
      Four a = read(x_row, i, n), g = read(dy_row, i, n), w = read(weight, i, n);
      for (int j = 0; j < 4; j++) {
        if (i + j >= n) break;
        float normal = (a.at[j] - mean) * scale, slope = __fmul_rn(g.at[j], w.at[j]);
        of_weight[i + j] += g.at[j] * normal;
        of_bias[i + j] += g.at[j];
        sum += slope;
        along += slope * normal;
      }
    }
    // The same product as above, rounded as there: in a row of one number it is the mean.
    sum = block_sum(sum) / n;
    along = block_sum(along) / n;
    for (Size i = threadIdx.x * 4; i < n; i += blockDim.x * 4) {
      Four a = read(x_row, i, n), g = read(dy_row, i, n), w = read(weight, i, n), d;
      for (int j = 0; j < 4; j++)
        d.at[j] = (__fmul_rn(g.at[j], w.at[j]) - sum - (a.at[j] - mean) * scale * along) * scale;
      write(dx + row * n, i, n, d);
    }
  }
  for (Size i = threadIdx.x * 4; i < n; i += blockDim.x * 4)
    for (int j = 0; j < 4 && i + j < n; j++) {
      parts[(blockIdx.x * 2) * n + i + j] = of_weight[i + j];
      parts[(blockIdx.x * 2 + 1) * n + i + j] = of_bias[i + j];
    }
}
