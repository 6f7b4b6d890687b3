// y = softmax(scale q k^T) v, and lse, the log of each softmax denominator.
// One block for each tile of ROWS queries (x), query head (y) and batch entry (z).
extern "C" __global__ void __launch_bounds__(THREADS)
attention_forward(const Element* q, const Element* k, const Element* v, Element* y, float* lse,
                  const unsigned* lengths, const unsigned* segments, int T, int S, int H, int KV, int width,
                  int causal, int window, float scale, long long q_row, long long kv_row) {
    Element* q_tile = (Element*)shared_memory;
    Element* kv_tiles = q_tile + ROWS * STRIDE;

    // The last queries see the most keys, so they start first.
    int first_query = (gridDim.x - 1 - blockIdx.x) * ROWS;
    int head = blockIdx.y, batch = blockIdx.z, lane = threadIdx.x % 32;
    int warp_row = threadIdx.x / 32 * 16;
    int own_query = first_query + warp_row + lane / 4;  // and own_query + 8
    Mask mask(lengths, segments, batch, T, S, causal, window);
    long long kv_start = offset(batch, S, 0, kv_row, head / (H / KV), width);
    int first_tile = mask.key_start(first_query) / TILE;
    int tiles = (mask.key_end(first_query + ROWS) + TILE - 1) / TILE;

    auto load_keys = [&](int tile) {
        load_keys_and_values(kv_tiles, tile, k + kv_start, v + kv_start, kv_row, mask.keys, width);
    };
    load_tile<ROWS>(q_tile, q + offset(batch, T, first_query, q_row, head, width), q_row, T - first_query, width);
    if (tiles > first_tile) load_keys(first_tile);

    float sums[HD / 8][4] = {};
    float row_max[2] = {NEGATIVE_INFINITY, NEGATIVE_INFINITY}, denominator[2] = {};
    bool sees_any[2] = {};
    for (int tile = first_tile; tile < tiles; tile++) {
        wait_for_copies();
        __syncthreads();
        if (tile + 1 < tiles) load_keys(tile + 1);
        const Element* k_tile = kv_tiles + tile % 2 * 2 * TILE * STRIDE;
        int first_key = tile * TILE;

        float scores[TILE / 8][4];
        multiply_rows(scores, q_tile + warp_row * STRIDE, k_tile);
        bool all_seen = mask.all_see(first_query, ROWS, first_key, TILE);
        if (all_seen) {
            sees_any[0] = sees_any[1] = true;
        } else {
#pragma unroll
            for (int n = 0; n < TILE / 8; n++)
                for (int i = 0; i < 4; i++) {
                    bool seen = mask.sees(own_query + i / 2 * 8, first_key + n * 8 + lane % 4 * 2 + i % 2);
                    if (!seen) scores[n][i] = NEGATIVE_INFINITY;
                    sees_any[i / 2] |= seen;
                }
        }

#pragma unroll
        for (int r = 0; r < 2; r++) {
            float old_max = row_max[r];
#pragma unroll
            for (int n = 0; n < TILE / 8; n++)
                row_max[r] = fmaxf(row_max[r], fmaxf(scores[n][2 * r], scores[n][2 * r + 1]));
            row_max[r] = fmaxf(row_max[r], __shfl_xor_sync(~0u, row_max[r], 1));
            row_max[r] = fmaxf(row_max[r], __shfl_xor_sync(~0u, row_max[r], 2));
            // fmaxf drops NaN, but a NaN score still makes its own exponential NaN.
            // With no score above -inf so far, any finite maximum makes every exponential zero.
            float base = row_max[r] == NEGATIVE_INFINITY ? 0.0f : row_max[r];
            float correction = power_of_two((old_max - base) * (scale * LOG2E));
            denominator[r] *= correction;
#pragma unroll
            for (int n = 0; n < TILE / 8; n++)
                for (int i = 2 * r; i < 2 * r + 2; i++) {
                    scores[n][i] = power_of_two((scores[n][i] - base) * (scale * LOG2E));
                    denominator[r] += scores[n][i];
                }
#pragma unroll
            for (int n = 0; n < HD / 8; n++)
                for (int i = 2 * r; i < 2 * r + 2; i++) sums[n][i] *= correction;
        }
        const Element* v_tile = k_tile + TILE * STRIDE;
        if (all_seen || !holds_non_finite<TILE>(v_tile))
            add_weighted_rows(sums, scores, v_tile);
        else
            add_seen_rows(sums, scores, v_tile,
                          [&](int row, int key) { return mask.sees(own_query + row, first_key + key); });
    }

    float inverse[2];
#pragma unroll
    for (int r = 0; r < 2; r++) {
        denominator[r] += __shfl_xor_sync(~0u, denominator[r], 1);
        denominator[r] += __shfl_xor_sync(~0u, denominator[r], 2);
        int any = sees_any[r];
        any |= __shfl_xor_sync(~0u, any, 1);
        any |= __shfl_xor_sync(~0u, any, 2);
        inverse[r] = any ? 1.0f / denominator[r] : 0.0f;
        int query = own_query + 8 * r;
        if (lane % 4 == 0 && query < T)
            lse[((long long)batch * H + head) * T + query] = row_max[r] * scale + logf(denominator[r]);
    }
    wait_for_copies();
    __syncthreads();
    put_in_tile(q_tile, sums, inverse[0], inverse[1]);
    __syncthreads();
    long long y_row = (long long)H * width;
    store_tile(y + offset(batch, T, first_query, y_row, head, width), q_tile, y_row, T - first_query, width);
}
