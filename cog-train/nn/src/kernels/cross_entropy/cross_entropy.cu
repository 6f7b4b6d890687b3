#define IGNORED 0xffffffffu

// A block for each row of scores. losses[row]: its loss; gradient[row]: what the loss moves by with each score, unless
// it is null. `gradient` may be `scores`. A row is compared with `own` of its class and `spread` of each class, 1 in all.
extern "C" __global__ void cross_entropy(const T* scores, const Word* targets, T* gradient, float* losses, Size classes,
                                         float own, float spread) {
  __shared__ float greatest[32];
  Word target = targets[blockIdx.x];
  scores += blockIdx.x * classes;
  if (gradient) gradient += blockIdx.x * classes;
  if (target == IGNORED) {
    Pack zeros = {};
    if (threadIdx.x == 0) losses[blockIdx.x] = 0.f;
    if (gradient)
      EACH_OF_ROW(i, classes) write(gradient, i, classes, zeros);
    return;
  }
  // The greatest so far and the sum of powers under it, and the sum of the scores, in one pass.
  float most = -__int_as_float(0x7f800000), sum = 0.f, total = 0.f;
  EACH_OF_ROW(i, classes) {
    Pack a = read(scores, i, classes);
    for (int j = 0; j < WIDTH; j++) {
      if (i + j >= classes) break;
      float next = fmaxf(most, a.at[j]);
      // Equal values come first: both may be infinite.
      sum = sum * (most == next ? 1.f : power(most - next)) + (a.at[j] == next ? 1.f : power(a.at[j] - next));
      most = next;
      total += a.at[j];
    }
  }
  float greatest_here = most;
  for (int step = 16; step > 0; step /= 2) most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, step));
  if (threadIdx.x % 32 == 0) greatest[threadIdx.x / 32] = most;
  __syncthreads();
  most = threadIdx.x % 32 < blockDim.x / 32 ? greatest[threadIdx.x % 32] : -__int_as_float(0x7f800000);
  for (int step = 16; step > 0; step /= 2) most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, step));
  float2 sums = block_sums(greatest_here == most ? sum : sum * power(greatest_here - most), total);
  sum = sums.x;
  if (threadIdx.x == 0) {
    float loss = most + logf(sum) - own * widened(scores[target]);
    // A score may be infinite, and nothing times it is no number.
    losses[blockIdx.x] = spread > 0.f ? loss - spread * sums.y : loss;
  }
  __syncthreads();  // the target's score is read before it becomes a gradient
  if (!gradient) return;
  float share = 1.f / sum;
  EACH_OF_ROW(i, classes) {
    Pack a = read(scores, i, classes);
    for (int j = 0; j < WIDTH; j++) a.at[j] = power(a.at[j] - most) * share - spread - (i + j == target ? own : 0.f);
    write(gradient, i, classes, a);
  }
}
