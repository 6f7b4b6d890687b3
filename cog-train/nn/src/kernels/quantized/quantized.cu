// Blocks of few bits to floats: a thread for each element. Products and sums are rounded one by one, as on the CPU.

typedef unsigned char Byte;

__device__ const float BOOK[16] = {
    -1.f,       -0.6961928f, -0.52507305f, -0.3949175f, -0.28444138f, -0.18477343f, -0.091050036f, 0.f,
    0.0795803f, 0.1609302f,  0.2461123f,   0.33791524f, 0.44070983f,  0.562617f,    0.72295684f,   1.f};

__device__ inline float half_at(const Byte* p) {
  unsigned short bits = (unsigned short)(p[0] | p[1] << 8);
  float wide;
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(bits));
  return wide;
}

// 4 bits of a block of 32 elements: the first 16 are the low halves of the bytes.
__device__ inline float nibble(const Byte* bytes, int at) { return at < 16 ? bytes[at] & 15 : bytes[at - 16] >> 4; }

// The fifth bits of a block of 32 elements.
__device__ inline int fifth(const Byte* bytes, int at) { return (bytes[at / 8] >> at % 8 & 1) << 4; }

// Q4_K, and Q5_K, whose fifth bits are in `high`: those of a group are one bit of each byte.
__device__ inline float k_quant(const Byte* block, const Byte* high, const Byte* values, int at) {
  const Byte* packed = block + 4;
  int group = at / 32, scale, minimum;
  if (group < 4) {
    scale = packed[group] & 63, minimum = packed[group + 4] & 63;
  } else {
    scale = (packed[group + 4] & 15) | packed[group - 4] >> 6 << 4;
    minimum = packed[group + 4] >> 4 | packed[group] >> 6 << 4;
  }
  int value = values[group / 2 * 32 + at % 32] >> group % 2 * 4 & 15;
  if (high) value |= (high[at % 32] >> group & 1) << 4;
  float of_scale = __fmul_rn(half_at(block), scale), of_minimum = __fmul_rn(half_at(block + 2), minimum);
  return __fadd_rn(__fmul_rn(of_scale, value), -of_minimum);
}

__device__ inline float q6_k(const Byte* block, int at) {
  int half = at / 128, quarter = at / 32 % 4;
  int low = block[64 * half + quarter % 2 * 32 + at % 32] >> quarter / 2 * 4 & 15;
  int high = block[128 + 32 * half + at % 32] >> 2 * quarter & 3;
  float scale = __fmul_rn(half_at(block + 208), (signed char)block[192 + at / 16]);
  return __fmul_rn(scale, (low | high << 4) - 32);
}

// y[at] = element `first + at` of a matrix in blocks of LAYOUT: the numbers of `cuda.rs`. `codes` is null where scales are floats.
extern "C" __global__ void quantized_decode(const Byte* blocks, const Byte* codes, const float* map, const float* scales,
                                            T* y, Size first, Size count, Size block, Size of, float offset) {
  for (Size at = (Size)blockIdx.x * 8 * blockDim.x + threadIdx.x, part = 0; part < 8 && at < count;
       part++, at += blockDim.x) {
    Size i = first + at;
    float value;
#if LAYOUT == 0
    Byte pair = blocks[i / 2];
    Size number = i / block;
    float scale = scales[codes ? number / of : number];
    if (codes) scale = __fadd_rn(__fmul_rn(map[codes[number]], scale), offset);
    value = __fmul_rn(BOOK[i % 2 ? pair & 15 : pair >> 4], scale);
#elif LAYOUT == 1
    const Byte* p = blocks + i / 32 * 18;
    value = __fmul_rn(half_at(p), nibble(p + 2, i % 32) - 8.f);
#elif LAYOUT == 2
    const Byte* p = blocks + i / 32 * 20;
    value = __fadd_rn(__fmul_rn(half_at(p), nibble(p + 4, i % 32)), half_at(p + 2));
#elif LAYOUT == 3
    const Byte* p = blocks + i / 256 * 144;
    value = k_quant(p, 0, p + 16, i % 256);
#elif LAYOUT == 4
    value = q6_k(blocks + i / 256 * 210, i % 256);
#elif LAYOUT == 5
    const Byte* p = blocks + i / 32 * 34;
    value = __fmul_rn(half_at(p), (signed char)p[2 + i % 32]);
#elif LAYOUT == 6
    const Byte* p = blocks + i / 32 * 22;
    value = __fmul_rn(half_at(p), nibble(p + 6, i % 32) + fifth(p + 2, i % 32) - 16.f);
#elif LAYOUT == 7
    const Byte* p = blocks + i / 32 * 24;
    value = __fadd_rn(__fmul_rn(half_at(p), nibble(p + 8, i % 32) + fifth(p + 4, i % 32)), half_at(p + 2));
#else
    const Byte* p = blocks + i / 256 * 176;
    value = k_quant(p, p + 16, p + 48, i % 256);
#endif
    y[at] = rounded(value);
  }
}
