// A block for each position of each row of the batch: the first `turned` heads of `heads` are turned, the others copied.
// positions[count], or null for 0, 1, ..; direction 1, or -1 for the way back.
extern "C" __global__ void rope(const T* x, const float* cos, const float* sin, const Word* positions, T* y, Size count,
                                Size heads, Size turned, Size half, float direction) {
  Size at = blockIdx.x % count, position = positions ? positions[at] : at;
  x += blockIdx.x * heads * half * 2;
  y += blockIdx.x * heads * half * 2;
  cos += position * half;
  sin += position * half;
  // A row is short enough for 32 bits, which divide in a fraction of the time.
  Word pairs = heads * half, width = half, last = turned * half;
  for (Word pair = threadIdx.x; pair < pairs; pair += blockDim.x) {
    Word i = pair % width, low = (pair - i) * 2 + i, high = low + width;
    if (pair < last) {
      float a = widened(x[low]), b = widened(x[high]), c = cos[i], s = direction * sin[i];
      y[low] = rounded(a * c - b * s);
      y[high] = rounded(b * c + a * s);
    } else {
      y[low] = x[low];
      y[high] = x[high];
    }
  }
}
