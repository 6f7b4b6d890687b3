// A block of 256 threads for 256 elements. The maps are sorted; `signed_map` has its zero at 127.

typedef unsigned char Byte;

// The largest of the values of all 256 threads.
__device__ inline float block_largest(float x) {
  __shared__ float of_warp[8];
  for (int step = 16; step > 0; step /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, step));
  __syncthreads();  // of a maximum before
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = x;
  __syncthreads();
  float largest = of_warp[0];
  for (int warp = 1; warp < 8; warp++) largest = fmaxf(largest, of_warp[warp]);
  return largest;
}

// How many of the values from `zero` on, without it, a magnitude is nearer to than to the one before.
__device__ inline int above_zero(const float* map, int zero, float magnitude) {
  int low = 0, high = 255 - zero;
  while (low < high) {
    int at = (low + high) / 2;
    float bound = .5f * (map[zero + at] + map[zero + at + 1]);
    if (magnitude > bound) low = at + 1;
    else high = at;
  }
  return low;
}

extern "C" __global__ void adamw_8bit(float* weight, const float* gradient, Byte* first, float* first_scales,
                                      Byte* second, float* second_scales, const float* signed_map,
                                      const float* unsigned_map, Size count, float scale, float shrink, float coupled,
                                      float share1, float beta2, float share2, float correction, float epsilon,
                                      float rate) {
  __shared__ float of_first[256], of_second[256];
  of_first[threadIdx.x] = signed_map[threadIdx.x];
  of_second[threadIdx.x] = unsigned_map[threadIdx.x];
  __syncthreads();
  Size i = (Size)blockIdx.x * 256 + threadIdx.x;
  bool inside = i < count;
  float m = 0.f, v = 0.f;
  if (inside) {
    float w = weight[i];
    float g = gradient[i] * scale + w * coupled;
    m = of_first[first[i]] * first_scales[blockIdx.x];
    v = of_second[second[i]] * second_scales[blockIdx.x];
    m += (g - m) * share1;
    v = v * beta2 + g * share2 * g;
    weight[i] = w * shrink - m / (sqrtf(v) * correction + epsilon) * rate;
  }
  // All have read the scales behind the barriers in here.
  float largest_first = block_largest(fabsf(m)), largest_second = block_largest(v);
  if (threadIdx.x == 0) {
    first_scales[blockIdx.x] = largest_first;
    second_scales[blockIdx.x] = largest_second;
  }
  if (!inside) return;
  m /= largest_first > 0.f ? largest_first : 1.f;
  v /= largest_second > 0.f ? largest_second : 1.f;
  int above = above_zero(of_first, 127, fabsf(m));
  first[i] = m < 0.f ? max(127 - above, 0) : 127 + above;
  above = above_zero(of_second, 0, v);
  second[i] = above > 0 ? above : v > 0.f;
}
