// partials[block] = the sum of the squares of the block's elements, in 64 bits: `each` of them.
extern "C" __global__ void sum_of_squares(const T* x, double* partials, Size count, Size each) {
  __shared__ double sums[256];
  Size from = blockIdx.x * each, to = from + each < count ? from + each : count;
  double sum = 0;
  for (Size i = from + threadIdx.x * WIDTH; i < to; i += blockDim.x * WIDTH) {
    Pack a = read(x, i, to);
    for (int j = 0; j < WIDTH; j++) sum += (double)a.at[j] * a.at[j];
  }
  sums[threadIdx.x] = sum;
  for (int half = blockDim.x / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
  }
  if (threadIdx.x == 0) partials[blockIdx.x] = sums[0];
}
