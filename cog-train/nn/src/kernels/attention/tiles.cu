// What flash attention with grouped queries is made of, forward and backward: y = softmax(scale q k^T) v.
// Shapes are q, y [B, T, H, width] and k, v [B, S, KV, width]; query head h uses key head h / (H / KV).
//
// The prelude has T, the element type. Macros: HD is the width rounded up to a multiple of 32, TILE the rows of
// the tiles that a block walks over.
// Needs sm_80 or later.

// Below T is the number of queries.
typedef T Element;

constexpr int WARPS = 4;
constexpr int THREADS = 32 * WARPS;
// Each block owns ROWS queries or keys, 16 for each warp, and walks over the other in tiles of TILE rows.
constexpr int ROWS = 16 * WARPS;
constexpr int VECTOR = 16 / sizeof(Element);
// One mma sums over DEPTH elements, 32 bytes of a row.
constexpr int DEPTH = 2 * VECTOR;
// The 16 bytes of padding keep ldmatrix free of bank conflicts.
constexpr int STRIDE = HD + VECTOR;
constexpr float LOG2E = 1.4426950408889634f;
#define NEGATIVE_INFINITY __int_as_float(0xff800000)
static_assert(HD % 32 == 0 && HD <= 128, "HD is 32, 64, 96 or 128");

__device__ unsigned shared_address(const void* pointer) {
    return (unsigned)__cvta_generic_to_shared(pointer);
}

__device__ void load_matrices(unsigned (&out)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(shared_address(row)) : "memory");
}

__device__ void load_matrices_transposed(unsigned (&out)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(shared_address(row)) : "memory");
}

__device__ void mma(float (&sum)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
#if KIND == 0
#define MMA "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32"
#elif KIND == 1
#define MMA "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32"
#else
#define MMA "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32"
#endif
    asm volatile(MMA " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Copies BYTES to shared memory, or zeros if the source is not present.
template <int BYTES>
__device__ void copy_async(void* to, const void* from, bool present) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;"
                 :: "r"(shared_address(to)), "l"(from), "n"(BYTES), "r"(present ? BYTES : 0) : "memory");
}

__device__ void wait_for_copies() {
    asm volatile("cp.async.wait_all;" ::: "memory");
}

__device__ float power_of_two(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

#if KIND == 0
__device__ unsigned round_to_tf32(float x) {
    unsigned y;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
    return y;
}
#else
__device__ unsigned pack(float low, float high) {
    unsigned y;
#if KIND == 1
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
#else
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
#endif
    return y;
}
#endif

extern __shared__ uint4 shared_memory[];

__device__ void store_pair(Element* to, float first, float second) {
#if KIND == 0
    *(float2*)to = make_float2(first, second);
#else
    *(unsigned*)to = pack(first, second);
#endif
}

// Where an element [batch, position, head, 0] lies, with `length` positions in each batch entry.
__device__ long long offset(int batch, int length, int position, long long row_stride, int head, int width) {
    return ((long long)batch * length + position) * row_stride + (long long)head * width;
}

// Rows of 16 bytes at a time need every row to start at a multiple of 16 bytes and to end at one.
__device__ bool vectors_fit(const Element* rows, long long row_stride, int width) {
    return (unsigned long long)rows % 16 == 0 && row_stride % VECTOR == 0 && width % VECTOR == 0;
}

// Fills a tile of COUNT rows; rows from `present` on and columns from `width` on become zero.
// The copies may be under way until wait_for_copies and a barrier.
template <int COUNT>
__device__ void load_tile(Element* tile, const Element* rows, long long row_stride, int present, int width) {
    if (vectors_fit(rows, row_stride, width)) {
        for (int i = threadIdx.x; i < COUNT * (HD / VECTOR); i += THREADS) {
            int row = i / (HD / VECTOR), column = i % (HD / VECTOR) * VECTOR;
            bool inside = row < present && column < width;
            copy_async<16>(tile + row * STRIDE + column, inside ? rows + row * row_stride + column : rows, inside);
        }
    } else {
#pragma unroll 2  // more loads at once would spill the accumulators
        for (int i = threadIdx.x; i < COUNT * HD; i += THREADS) {
            int row = i / HD, column = i % HD;
            bool inside = row < present && column < width;
            tile[row * STRIDE + column] = inside ? rows[row * row_stride + column] : (Element)0;
        }
    }
}

// Fills one of two places, in turn, with a tile of keys and one of values.
__device__ void load_keys_and_values(Element* places, int tile, const Element* k, const Element* v, long long row_stride,
                                     int keys, int width) {
    Element* to = places + tile % 2 * 2 * TILE * STRIDE;
    long long start = (long long)tile * TILE * row_stride;
    load_tile<TILE>(to, k + start, row_stride, keys - tile * TILE, width);
    load_tile<TILE>(to + TILE * STRIDE, v + start, row_stride, keys - tile * TILE, width);
}

// Writes the first `present` of the block's ROWS rows.
__device__ void store_tile(Element* rows, const Element* tile, long long row_stride, int present, int width) {
    if (vectors_fit(rows, row_stride, width)) {
        for (int i = threadIdx.x; i < ROWS * (HD / VECTOR); i += THREADS) {
            int row = i / (HD / VECTOR), column = i % (HD / VECTOR) * VECTOR;
            if (row < present && column < width)
                *(uint4*)(rows + row * row_stride + column) = *(const uint4*)(tile + row * STRIDE + column);
        }
    } else {
        for (int i = threadIdx.x; i < ROWS * HD; i += THREADS) {
            int row = i / HD, column = i % HD;
            if (row < present && column < width) rows[row * row_stride + column] = tile[row * STRIDE + column];
        }
    }
}

// A 16-row operand of an mma. For f32 it is kept as a sum of two tf32 numbers.
struct LeftOperand {
    unsigned high[4];
#if KIND == 0
    unsigned low[4];

    __device__ void split(int i, float x) {
        high[i] = round_to_tf32(x);
        low[i] = round_to_tf32(x - __uint_as_float(high[i]));
    }
#endif
};

// sum += left * right. For f32, the product of the two low parts is below f32 rounding and is left out.
__device__ void multiply(float (&sum)[4], const LeftOperand& left, unsigned right0, unsigned right1) {
#if KIND == 0
    float x0 = __uint_as_float(right0), x1 = __uint_as_float(right1);
    unsigned high0 = round_to_tf32(x0), high1 = round_to_tf32(x1);
    unsigned low0 = round_to_tf32(x0 - __uint_as_float(high0));
    unsigned low1 = round_to_tf32(x1 - __uint_as_float(high1));
    mma(sum, left.low, high0, high1);
    mma(sum, left.high, low0, low1);
    mma(sum, left.high, high0, high1);
#else
    mma(sum, left.high, right0, right1);
#endif
}

// products = left * right^T for 16 rows of left and TILE rows of right.
__device__ void multiply_rows(float (&products)[TILE / 8][4], const Element* left, const Element* right) {
    // Tensor cores truncate as they add to a long sum, so f32 joins short sums with rounded additions.
    constexpr int CHUNK = KIND == 0 ? 32 : HD;
    int lane = threadIdx.x % 32;
    const Element* left_row = left + lane % 16 * STRIDE + lane / 16 * VECTOR;
    const Element* right_row = right + (lane / 16 * 8 + lane % 8) * STRIDE + lane / 8 % 2 * VECTOR;
#pragma unroll 1
    for (int chunk = 0; chunk < HD; chunk += CHUNK) {
        float sums[TILE / 8][4] = {};
#pragma unroll
        for (int depth = chunk; depth < chunk + CHUNK; depth += DEPTH) {
            LeftOperand a;
            load_matrices(a.high, left_row + depth);
#if KIND == 0
            for (int i = 0; i < 4; i++) a.split(i, __uint_as_float(a.high[i]));
#endif
#pragma unroll
            for (int n = 0; n < TILE; n += 16) {
                unsigned b[4];
                load_matrices(b, right_row + n * STRIDE + depth);
                multiply(sums[n / 8], a, b[0], b[1]);
                multiply(sums[n / 8 + 1], a, b[2], b[3]);
            }
        }
#pragma unroll
        for (int n = 0; n < TILE / 8; n++)
            for (int i = 0; i < 4; i++) products[n][i] = chunk == 0 ? sums[n][i] : products[n][i] + sums[n][i];
    }
}

// sums += weights * rows for 16 rows of weights and TILE rows of the tile.
__device__ void add_weighted_rows(float (&sums)[HD / 8][4], const float (&weights)[TILE / 8][4], const Element* rows) {
    int lane = threadIdx.x % 32;
#if KIND == 0
    // An accumulator holds columns 2i and 2i + 1 where a left operand wants i and i + 4.
    // The order of a sum is free, so the rows are taken in the accumulator's order.
    LeftOperand a[TILE / 8];
#pragma unroll
    for (int k = 0; k < TILE / 8; k++) {
        a[k].split(0, weights[k][0]);
        a[k].split(1, weights[k][2]);
        a[k].split(2, weights[k][1]);
        a[k].split(3, weights[k][3]);
    }
    const Element* row = rows + lane % 4 * 2 * STRIDE + lane / 4;
#pragma unroll
    for (int n = 0; n < HD / 8; n++) {
        float part[4] = {};
#pragma unroll
        for (int k = 0; k < TILE / 8; k++) {
            const Element* b = row + k * 8 * STRIDE + n * 8;
            multiply(part, a[k], __float_as_uint(b[0]), __float_as_uint(b[STRIDE]));
        }
        for (int i = 0; i < 4; i++) sums[n][i] += part[i];
    }
#else
    const Element* row = rows + lane % 16 * STRIDE + lane / 16 * 8;
#pragma unroll
    for (int k = 0; k < TILE / 16; k++) {
        LeftOperand a;
        for (int i = 0; i < 4; i++)
            a.high[i] = pack(weights[2 * k + i / 2][i % 2 * 2], weights[2 * k + i / 2][i % 2 * 2 + 1]);
#pragma unroll
        for (int n = 0; n < HD; n += 16) {
            unsigned b[4];
            load_matrices_transposed(b, row + k * 16 * STRIDE + n);
            multiply(sums[n / 8], a, b[0], b[1]);
            multiply(sums[n / 8 + 1], a, b[2], b[3]);
        }
    }
#endif
}

// Whether a tile holds a NaN or an infinity. All threads of the block call it together.
template <int COUNT>
__device__ bool holds_non_finite(const Element* tile) {
#if KIND == 0
    constexpr unsigned EXPONENT = 0x7f800000, UPPER_EXPONENT = EXPONENT;
#else
    constexpr unsigned EXPONENT = KIND == 1 ? 0x7f80 : 0x7c00, UPPER_EXPONENT = EXPONENT << 16;
#endif
    bool found = false;
    for (int i = threadIdx.x; i < COUNT * (HD / VECTOR); i += THREADS) {
        uint4 x = *(const uint4*)(tile + i / (HD / VECTOR) * STRIDE + i % (HD / VECTOR) * VECTOR);
        unsigned words[] = {x.x, x.y, x.z, x.w};
        for (int j = 0; j < 4; j++)
            found |= (words[j] & EXPONENT) == EXPONENT || (words[j] & UPPER_EXPONENT) == UPPER_EXPONENT;
    }
    return __syncthreads_or(found);
}

// add_weighted_rows for a tile with a NaN or an infinity that some rows must not see: a weight of zero
// would not hide it. The slow copy of the weights is there because registers cannot be indexed.
template <class Sees>
__device__ void add_seen_rows(float (&sums)[HD / 8][4], const float (&weights)[TILE / 8][4], const Element* rows,
                              Sees sees) {
    int lane = threadIdx.x % 32;
    float copy[TILE / 8][4];
#pragma unroll
    for (int n = 0; n < TILE / 8; n++)
        for (int i = 0; i < 4; i++) copy[n][i] = weights[n][i];
#pragma unroll 1
    for (int row = 0; row < TILE; row++) {
        int source = lane / 4 * 4 + row % 8 / 2;
        float upper = __shfl_sync(~0u, copy[row / 8][row % 2], source);
        float lower = __shfl_sync(~0u, copy[row / 8][row % 2 + 2], source);
        bool upper_sees = sees(0, row), lower_sees = sees(8, row);
#pragma unroll
        for (int n = 0; n < HD / 8; n++)
            for (int i = 0; i < 2; i++) {
                float x = widened(rows[row * STRIDE + n * 8 + lane % 4 * 2 + i]);
                if (upper_sees) sums[n][i] += upper * x;
                if (lower_sees) sums[n][i + 2] += lower * x;
            }
    }
}

// Writes this warp's accumulators, scaled by row, to its 16 rows of a tile.
__device__ void put_in_tile(Element* tile, const float (&sums)[HD / 8][4], float upper_scale, float lower_scale) {
    int lane = threadIdx.x % 32;
    Element* upper = tile + (threadIdx.x / 32 * 16 + lane / 4) * STRIDE + lane % 4 * 2;
#pragma unroll
    for (int n = 0; n < HD / 8; n++) {
        store_pair(upper + n * 8, sums[n][0] * upper_scale, sums[n][1] * upper_scale);
        store_pair(upper + 8 * STRIDE + n * 8, sums[n][2] * lower_scale, sums[n][3] * lower_scale);
    }
}

// Which keys each query of one batch entry sees.
struct Mask {
    int queries;
    int keys;
    int reach;  // query t sees keys up to t + reach
    int start;  // query t sees keys from t + start
    const unsigned* segments;

    // A window of INT_MAX is none.
    __device__ Mask(const unsigned* lengths, const unsigned* all_segments, int batch, int T, int S, int causal,
                    int window)
        : queries(T), keys(S), reach(S), start(-T),
          segments(all_segments ? all_segments + (long long)batch * T : nullptr) {
        int earlier = max(0, S - T);
        if (window < max(S, T)) {
            reach = earlier + window;
            start = earlier - window;
        }
        if (causal) reach = S - T;
        if (lengths && lengths[batch] < (unsigned)S) keys = lengths[batch];
    }

    __device__ bool sees(int query, int key) const {
        return query < queries && key < keys && key <= query + reach && key >= query + start &&
               (!segments || segments[query] == segments[key]);
    }

    // Whether each query of a tile sees each key of another tile.
    __device__ bool all_see(int query, int query_count, int key, int key_count) const {
        return !segments && query + query_count <= queries && key + key_count <= keys &&
               key + key_count - 1 <= query + reach && key >= query + query_count - 1 + start;
    }

    // The first key that queries from `query` on may see.
    __device__ int key_start(int query) const { return max(0, query + start); }

    // One past the last query that may see keys below `key_end`.
    __device__ int query_end(int key_end) const { return min(queries, max(0, key_end - start)); }

    // One past the last key that queries below `query_end` may see.
    __device__ int key_end(int query_end) const {
        return min(keys, min(query_end, queries) + reach);
    }
};
