// Philox4x32-10 as in rng.rs. A thread draws one block: four words, those of elements sixteen apart.
__device__ inline void draw(Word counter[4], Word key0, Word key1) {
  for (int round = 0; round < 10; round++) {
    Word low_a = counter[0] * 0xD2511F53u, high_a = __umulhi(counter[0], 0xD2511F53u);
    Word low_b = counter[2] * 0xCD9E8D57u, high_b = __umulhi(counter[2], 0xCD9E8D57u);
    Word one = counter[1], three = counter[3];
    counter[0] = high_b ^ one ^ key0;
    counter[1] = low_b;
    counter[2] = high_a ^ three ^ key1;
    counter[3] = low_a;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
}

// Words under `least` are of elements that are dropped; the others are multiplied by `scale`.
extern "C" __global__ void dropout(const T* x, T* y, Size count, Word block, Word low, Word high, Word purpose,
                                   Word key0, Word key1, Word least, float scale) {
  Size at = (Size)blockIdx.x * blockDim.x + threadIdx.x;
  Word counter[4] = {block + (Word)at, low, high, purpose};
  draw(counter, key0, key1);
  Size first = at / 16 * 64 + at % 16;
  for (int word = 0; word < 4; word++) {
    Size i = first + word * 16;
    // A product, as PyTorch's: what is not finite stays undefined where it is dropped.
    if (i < count) y[i] = rounded(widened(x[i]) * (counter[word] < least ? 0.f : scale));
  }
}
