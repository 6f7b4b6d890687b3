// A block for each row.
extern "C" __global__ void rms_norm_forward(const T* x, const T* weight, T* y, Size n, float epsilon) {
  x += blockIdx.x * n;
  y += blockIdx.x * n;
  float squares = 0.f;
  for (Size i = threadIdx.x * 4; i < n; i += blockDim.x * 4) {
    Four a = read(x, i, n);
    for (int j = 0; j < 4; j++) squares += a.at[j] * a.at[j];
  }
  float scale = 1.f / sqrtf(block_sum(squares) / n + epsilon);
  for (Size i = threadIdx.x * 4; i < n; i += blockDim.x * 4) {
    Four a = read(x, i, n), w = read(weight, i, n);
    for (int j = 0; j < 4; j++) a.at[j] *= scale * w.at[j];
    write(y, i, n, a);
  }
}

// A block for `rows_each` rows. parts[block, n]: what they add to the weight's gradient, unless nobody asks. A thread has
// the same columns in each row, so that what it gathers is its own.
extern "C" __global__ void rms_norm_backward(const T* x, const T* weight, const T* dy, T* dx, float* parts, Size rows,
                                             Size n, Size rows_each, float epsilon) {
  extern __shared__ float gathered[];
  for (Size i = threadIdx.x * 4; i < n; i += blockDim.x * 4)
    for (int j = 0; j < 4 && i + j < n; j++) gathered[i + j] = 0.f;
  Size from = blockIdx.x * rows_each, to = from + rows_each < rows ? from + rows_each : rows;
  for (Size row = from; row < to; row++) {
    const T *x_row = x + row * n, *dy_row = dy + row * n;
    float squares = 0.f, along = 0.f;
    for (Size i = threadIdx.x * 4; i < n; i += blockDim.x * 4) {
      Four a = read(x_row, i, n), g = read(dy_row, i, n), w = read(weight, i, n);
      for (int j = 0; j < 4; j++) {
        squares += a.at[j] * a.at[j];
        along += g.at[j] * w.at[j] * a.at[j];
      }
    }
    float scale = 1.f / sqrtf(block_sum(squares) / n + epsilon);
    along = block_sum(along) * scale * scale / n;
    for (Size i = threadIdx.x * 4; i < n; i += blockDim.x * 4) {
      Four a = read(x_row, i, n), g = read(dy_row, i, n), w = read(weight, i, n), d;
      for (int j = 0; j < 4; j++) {
        d.at[j] = (g.at[j] * w.at[j] - a.at[j] * along) * scale;
        if (i + j < n) gathered[i + j] += g.at[j] * (a.at[j] * scale);
      }
      write(dx + row * n, i, n, d);
    }
  }
  if (!parts) return;
  for (Size i = threadIdx.x * 4; i < n; i += blockDim.x * 4)
    for (int j = 0; j < 4 && i + j < n; j++) parts[blockIdx.x * n + i + j] = gathered[i + j];
}
