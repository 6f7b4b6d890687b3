// What every source begins with: the float type T of the operands (KIND 0: 32 bits, 1: bfloat16, 2: 16 bits), which is
// computed with in 32 bits and rounded to the nearest, and sums over a block. NVRTC has no headers; this has none.

typedef long long Size;
typedef unsigned int Word;

#if KIND == 0
typedef float T;
__device__ inline float widened(T x) { return x; }
__device__ inline T rounded(float x) { return x; }
#elif KIND == 1
typedef unsigned short T;
__device__ inline float widened(T x) { return __uint_as_float((Word)x << 16); }
__device__ inline T rounded(float x) {
  Word bits = __float_as_uint(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
  return (T)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}
#else
typedef unsigned short T;
__device__ inline float widened(T x) {
  float wide;
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(x));
  return wide;
}
__device__ inline T rounded(float x) {
  T narrow;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(narrow) : "f"(x));
  return narrow;
}
#endif

// Four numbers that lie side by side, read and written at once where their address allows.
struct Four {
  float at[4];
};

struct alignas(4 * sizeof(T)) Packed {
  T at[4];
};

__device__ inline bool is_aligned(const T* p) { return (unsigned long long)p % sizeof(Packed) == 0; }

__device__ inline Four read(const T* p, Size from, Size count) {
  Four four;
  if (from + 4 <= count && is_aligned(p + from)) {
    Packed packed = *(const Packed*)(p + from);
    for (int i = 0; i < 4; i++) four.at[i] = widened(packed.at[i]);
  } else {
    for (int i = 0; i < 4; i++) four.at[i] = from + i < count ? widened(p[from + i]) : 0.f;
  }
  return four;
}

__device__ inline void write(T* p, Size from, Size count, const Four& four) {
  if (from + 4 <= count && is_aligned(p + from)) {
    Packed packed;
    for (int i = 0; i < 4; i++) packed.at[i] = rounded(four.at[i]);
    *(Packed*)(p + from) = packed;
  } else {
    for (int i = 0; i < 4; i++)
      if (from + i < count) p[from + i] = rounded(four.at[i]);
  }
}

// The places of four numbers each that a thread of `Grid::numbers` takes: eight numbers, a block's threads side by side.
#define EACH_FOUR(from, count)                                                                    \
  for (Size from = ((Size)blockIdx.x * 2 * blockDim.x + threadIdx.x) * 4, part = 0;               \
       part < 2 && from < (count); part++, from += (Size)blockDim.x * 4)

// The sum of a number of each thread of a block, the same bits in each thread. At most 1024 threads.
__device__ inline float block_sum(float x) {
  __shared__ float of_warp[32];
  for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
  __syncthreads();  // of a sum before
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = x;
  __syncthreads();
  x = threadIdx.x % 32 < blockDim.x / 32 ? of_warp[threadIdx.x % 32] : 0.f;
  for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
  return x;
}
