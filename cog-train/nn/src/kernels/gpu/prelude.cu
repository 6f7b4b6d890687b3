// What every source begins with: the float type T of the operands (KIND 0: 32 bits, 1: bfloat16, 2: 16 bits), which is
// computed with in 32 bits and rounded to the nearest, and sums over a block. NVRTC has no headers; this has none.

typedef long long Size;
typedef unsigned int Word;

#if KIND == 0
typedef float T;
__device__ inline float widened(T x) { return x; }
__device__ inline T rounded(float x) { return x; }
// What 16 bits hold of a power of e or of a quotient, the fast instructions have right too.
__device__ inline float power(float x) { return expf(x); }
__device__ inline float quotient(float x, float y) { return x / y; }
#else
typedef unsigned short T;
__device__ inline float power(float x) { return __expf(x); }
__device__ inline float quotient(float x, float y) { return __fdividef(x, y); }
#if KIND == 1
__device__ inline float widened(T x) { return __uint_as_float((Word)x << 16); }
__device__ inline T rounded(float x) {
  T narrow;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(narrow) : "f"(x));
  return narrow;
}
#else
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
#endif

// Adjacent elements, 16 bytes of them, read and written at once where their address allows.
#define WIDTH (16 / (int)sizeof(T))

struct Pack {
  float at[WIDTH];
};

struct alignas(16) Stored {
  T at[WIDTH];
};

__device__ inline bool is_aligned(const T* p) { return (unsigned long long)p % 16 == 0; }

__device__ inline Pack read(const T* p, Size from, Size count) {
  Pack pack;
  if (from + WIDTH <= count && is_aligned(p + from)) {
    Stored stored = *(const Stored*)(p + from);
    for (int i = 0; i < WIDTH; i++) pack.at[i] = widened(stored.at[i]);
  } else {
    for (int i = 0; i < WIDTH; i++) pack.at[i] = from + i < count ? widened(p[from + i]) : 0.f;
  }
  return pack;
}

__device__ inline void write(T* p, Size from, Size count, const Pack& pack) {
  if (from + WIDTH <= count && is_aligned(p + from)) {
    Stored stored;
    for (int i = 0; i < WIDTH; i++) stored.at[i] = rounded(pack.at[i]);
    *(Stored*)(p + from) = stored;
  } else {
    for (int i = 0; i < WIDTH; i++)
      if (from + i < count) p[from + i] = rounded(pack.at[i]);
  }
}

// The offsets of the packs that a thread of an elementwise grid takes: eight elements in all, a block's threads side by side.
#define EACH_PACK(from, count)                                                                           \
  for (Size from = ((Size)blockIdx.x * (8 / WIDTH) * blockDim.x + threadIdx.x) * WIDTH, part = 0;        \
       part < 8 / WIDTH && from < (count); part++, from += (Size)blockDim.x * WIDTH)

// Those of a row that a block has for itself.
#define EACH_OF_ROW(from, n) for (Size from = threadIdx.x * WIDTH; from < (n); from += blockDim.x * WIDTH)

// Sums of two values of each thread of a block, the same bits in each thread. At most 1024 threads.
__device__ inline float2 block_sums(float x, float y) {
  __shared__ float2 of_warp[32];
  for (int step = 16; step > 0; step /= 2) {
    x += __shfl_xor_sync(0xffffffffu, x, step);
    y += __shfl_xor_sync(0xffffffffu, y, step);
  }
  __syncthreads();  // of a sum before
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = make_float2(x, y);
  __syncthreads();
  float2 sums = threadIdx.x % 32 < blockDim.x / 32 ? of_warp[threadIdx.x % 32] : make_float2(0.f, 0.f);
  for (int step = 16; step > 0; step /= 2) {
    sums.x += __shfl_xor_sync(0xffffffffu, sums.x, step);
    sums.y += __shfl_xor_sync(0xffffffffu, sums.y, step);
  }
  return sums;
}

__device__ inline float block_sum(float x) { return block_sums(x, 0.f).x; }
