// The sum of rows in two passes, in an order that only the sizes decide.

// parts[block, column] = the sum of the block's rows: `rows_each` of them.
extern "C" __global__ void column_parts(const T* rows, float* parts, Size count, Size columns, Size rows_each) {
  Size column = (Size)blockIdx.x * blockDim.x + threadIdx.x;
  if (column >= columns) return;
  Size from = blockIdx.y * rows_each, to = from + rows_each < count ? from + rows_each : count;
  float sum = 0.f;
  for (Size row = from; row < to; row++) sum += widened(rows[row * columns + column]);
  parts[blockIdx.y * columns + column] = sum;
}

// y[column] = the sum of the parts, in order. A row of `parts` is `stride` long.
extern "C" __global__ void sum_parts(const float* parts, T* y, Size count, Size columns, Size stride) {
  Size column = (Size)blockIdx.x * blockDim.x + threadIdx.x;
  if (column >= columns) return;
  float sum = 0.f;
  for (Size part = 0; part < count; part++) sum += parts[part * stride + column];
  y[column] = rounded(sum);
}
