// The sum of rows in two passes, in an order that only the sizes decide.

// partials[block, column] = the sum of the block's rows: `rows_each` of them.
extern "C" __global__ void column_partials(const T* rows, float* partials, Size count, Size columns, Size rows_each) {
  Size column = (Size)blockIdx.x * blockDim.x + threadIdx.x;
  if (column >= columns) return;
  Size from = blockIdx.y * rows_each, to = from + rows_each < count ? from + rows_each : count;
  float sum = 0.f;
  for (Size row = from; row < to; row++) sum += widened(rows[row * columns + column]);
  partials[blockIdx.y * columns + column] = sum;
}

// y[column] = the sum of the partials: each of 8 warps adds up every eighth one, and the first adds up the warps, in order.
extern "C" __global__ void sum_partials(const float* partials, float* y, Size count, Size columns) {
  __shared__ float sums[8][32];
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  Size column = (Size)blockIdx.x * 32 + lane;
  float sum = 0.f;
  if (column < columns) {
#pragma unroll 8
    for (Size at = warp; at < count; at += 8) sum += partials[at * columns + column];
  }
  sums[warp][lane] = sum;
  __syncthreads();
  if (warp > 0 || column >= columns) return;
  for (int other = 1; other < 8; other++) sum += sums[other][lane];
  y[column] = sum;
}
