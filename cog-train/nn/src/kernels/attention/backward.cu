// delta = the sum of y * dy over the width. One warp for each of the B * T * H rows of y.
extern "C" __global__ void __launch_bounds__(THREADS)
attention_delta(const Element* y, const Element* dy, float* delta, long long rows, int T, int H, int width) {
    long long row = (long long)blockIdx.x * WARPS + threadIdx.x / 32;
    if (row >= rows) return;
    int lane = threadIdx.x % 32;
    float sum = 0.0f;
    for (int i = lane; i < width; i += 32) sum += widened(y[row * width + i]) * widened(dy[row * width + i]);
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_xor_sync(~0u, sum, distance);
    long long position = row / H, head = row % H;
    if (lane == 0) delta[(position / T * H + head) * T + position % T] = sum;
}

// dq = scale * dS k, where dS = P * (dy v^T - delta) and P is the softmax.
// One block for each tile of ROWS queries (x), query head (y) and batch entry (z).
extern "C" __global__ void __launch_bounds__(THREADS)
attention_backward_q(const Element* q, const Element* k, const Element* v, const Element* dy, const float* lse,
                     const float* delta, Element* dq, const unsigned* lengths, const unsigned* segments, int T,
                     int S, int H, int KV, int width, int causal, int window, float scale, long long q_row,
                     long long kv_row) {
    Element* q_tile = (Element*)shared_memory;
    Element* dy_tile = q_tile + ROWS * STRIDE;
    Element* kv_tiles = dy_tile + ROWS * STRIDE;

    // The last queries see the most keys, so they start first.
    int first_query = (gridDim.x - 1 - blockIdx.x) * ROWS;
    int head = blockIdx.y, batch = blockIdx.z, lane = threadIdx.x % 32;
    int warp_row = threadIdx.x / 32 * 16;
    int own_query = first_query + warp_row + lane / 4;  // and own_query + 8
    Mask mask(lengths, segments, batch, T, S, causal, window);
    long long y_row = (long long)H * width;
    long long q_start = offset(batch, T, first_query, q_row, head, width);
    long long kv_start = offset(batch, S, 0, kv_row, head / (H / KV), width);
    int first_tile = mask.key_start(first_query) / TILE;
    int tiles = (mask.key_end(first_query + ROWS) + TILE - 1) / TILE;

    auto load_keys = [&](int tile) {
        load_keys_and_values(kv_tiles, tile, k + kv_start, v + kv_start, kv_row, mask.keys, width);
    };
    load_tile<ROWS>(q_tile, q + q_start, q_row, T - first_query, width);
    load_tile<ROWS>(dy_tile, dy + offset(batch, T, first_query, y_row, head, width), y_row, T - first_query, width);
    if (tiles > first_tile) load_keys(first_tile);

    float own_lse[2] = {}, own_delta[2] = {};
#pragma unroll
    for (int r = 0; r < 2; r++) {
        int query = own_query + 8 * r;
        if (query >= T) continue;
        own_lse[r] = lse[((long long)batch * H + head) * T + query];
        own_delta[r] = delta[((long long)batch * H + head) * T + query];
    }
    float sums[HD / 8][4] = {};
    for (int tile = first_tile; tile < tiles; tile++) {
        wait_for_copies();
        __syncthreads();
        if (tile + 1 < tiles) load_keys(tile + 1);
        const Element* k_tile = kv_tiles + tile % 2 * 2 * TILE * STRIDE;
        int first_key = tile * TILE;

        float scores[TILE / 8][4], dp[TILE / 8][4];
        multiply_rows(scores, q_tile + warp_row * STRIDE, k_tile);
        multiply_rows(dp, dy_tile + warp_row * STRIDE, k_tile + TILE * STRIDE);
        bool all_seen = mask.all_see(first_query, ROWS, first_key, TILE);
#pragma unroll
        for (int n = 0; n < TILE / 8; n++)
            for (int i = 0; i < 4; i++) {
                float p = power_of_two((scores[n][i] * scale - own_lse[i / 2]) * LOG2E);
                float ds = p * (dp[n][i] - own_delta[i / 2]);
                int key = first_key + n * 8 + lane % 4 * 2 + i % 2;
                scores[n][i] = all_seen || mask.sees(own_query + i / 2 * 8, key) ? ds : 0.0f;
            }
        if (all_seen || !holds_non_finite<TILE>(k_tile))
            add_weighted_rows(sums, scores, k_tile);
        else
            add_seen_rows(sums, scores, k_tile,
                          [&](int row, int key) { return mask.sees(own_query + row, first_key + key); });
    }
    wait_for_copies();
    __syncthreads();
    put_in_tile(q_tile, sums, scale, scale);
    __syncthreads();
    store_tile(dq + q_start, q_tile, q_row, T - first_query, width);
}

// dk = scale * dS^T q and dv = P^T dy, summed over the query heads of a group.
// One block for each tile of ROWS keys (x), key head (y) and batch entry (z).
// The bound of two blocks keeps the compiler from spilling to fit a third.
extern "C" __global__ void __launch_bounds__(THREADS, 2)
attention_backward_kv(const Element* q, const Element* k, const Element* v, const Element* dy, const float* lse,
                      const float* delta, Element* dk, Element* dv, const unsigned* lengths,
                      const unsigned* segments, int T, int S, int H, int KV, int width, int causal, int window,
                      float scale, long long q_row, long long kv_row) {
    Element* k_tile = (Element*)shared_memory;
    Element* v_tile = k_tile + ROWS * STRIDE;
    Element* q_tiles = v_tile + ROWS * STRIDE;

    int first_key = blockIdx.x * ROWS, batch = blockIdx.z, lane = threadIdx.x % 32;
    int warp_row = threadIdx.x / 32 * 16;
    int own_key = first_key + warp_row + lane / 4;  // and own_key + 8
    int group = H / KV;
    Mask mask(lengths, segments, batch, T, S, causal, window);
    long long y_row = (long long)H * width;
    long long kv_start = offset(batch, S, first_key, kv_row, blockIdx.y, width);
    int first_tile = max(0, first_key - mask.reach) / TILE;
    int last_tile = (mask.query_end(first_key + ROWS) + TILE - 1) / TILE;
    int tiles_per_head = first_key < mask.keys ? max(0, last_tile - first_tile) : 0;
    int tiles = group * tiles_per_head;

    auto load_queries = [&](int tile) {
        Element* to = q_tiles + tile % 2 * 2 * TILE * STRIDE;
        int head = blockIdx.y * group + tile / tiles_per_head;
        int query = (first_tile + tile % tiles_per_head) * TILE;
        load_tile<TILE>(to, q + offset(batch, T, query, q_row, head, width), q_row, T - query, width);
        load_tile<TILE>(to + TILE * STRIDE, dy + offset(batch, T, query, y_row, head, width), y_row, T - query, width);
        // The padding of each q row holds the row's lse and delta.
        int i = threadIdx.x;
        if (i < TILE) {
            bool inside = query + i < T;
            long long index = ((long long)batch * H + head) * T + (inside ? query + i : 0);
            float* pad = (float*)(to + i * STRIDE + HD);
            copy_async<4>(pad, lse + index, inside);
            copy_async<4>(pad + 1, delta + index, inside);
        }
    };
    load_tile<ROWS>(k_tile, k + kv_start, kv_row, mask.keys - first_key, width);
    load_tile<ROWS>(v_tile, v + kv_start, kv_row, mask.keys - first_key, width);
    if (tiles > 0) load_queries(0);

    float dk_sums[HD / 8][4] = {}, dv_sums[HD / 8][4] = {};
    for (int tile = 0; tile < tiles; tile++) {
        wait_for_copies();
        __syncthreads();
        if (tile + 1 < tiles) load_queries(tile + 1);
        const Element* q_tile = q_tiles + tile % 2 * 2 * TILE * STRIDE;
        const Element* dy_tile = q_tile + TILE * STRIDE;
        int first_query = (first_tile + tile % tiles_per_head) * TILE;

        // Keys are the rows here, so that p and ds are left operands for dv and dk.
        float p[TILE / 8][4], ds[TILE / 8][4];
        multiply_rows(p, k_tile + warp_row * STRIDE, q_tile);
        multiply_rows(ds, v_tile + warp_row * STRIDE, dy_tile);
        bool all_seen = mask.all_see(first_query, TILE, first_key, ROWS);
#pragma unroll
        for (int n = 0; n < TILE / 8; n++)
            for (int i = 0; i < 4; i++) {
                int column = n * 8 + lane % 4 * 2 + i % 2;
                float2 row = *(const float2*)(q_tile + column * STRIDE + HD);  // lse and delta
                bool seen = all_seen || mask.sees(first_query + column, own_key + i / 2 * 8);
                p[n][i] = seen ? power_of_two((p[n][i] * scale - row.x) * LOG2E) : 0.0f;
                ds[n][i] = seen ? p[n][i] * (ds[n][i] - row.y) : 0.0f;
            }
        if (all_seen || !holds_non_finite<2 * TILE>(q_tile)) {  // dy_tile too
            add_weighted_rows(dv_sums, p, dy_tile);
            add_weighted_rows(dk_sums, ds, q_tile);
        } else {
            auto sees = [&](int row, int query) { return mask.sees(first_query + query, own_key + row); };
            add_seen_rows(dv_sums, p, dy_tile, sees);
            add_seen_rows(dk_sums, ds, q_tile, sees);
        }
    }
    wait_for_copies();
    __syncthreads();
    put_in_tile(k_tile, dk_sums, scale, scale);
    put_in_tile(v_tile, dv_sums, 1.0f, 1.0f);
    __syncthreads();
    store_tile(dk + kv_start, k_tile, kv_row, S - first_key, width);
    store_tile(dv + kv_start, v_tile, kv_row, S - first_key, width);
}
