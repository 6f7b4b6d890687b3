// A block for each position of each row of the batch: the first `turned` heads of `heads` are turned, the others copied.
// positions[count], or null for 0, 1, ..; direction 1, or -1 for the way back.
extern "C" __global__ void rope(const T* x, const float* cos, const float* sin, const Word* positions, T* y, Size count,
                                Size heads, Size turned, Size half, float direction) {
  Size at = blockIdx.x % count, full = heads * half * 2, row = blockIdx.x * full;
  Size position = positions ? positions[at] : at;
  cos += position * half;
  sin += position * half;
  for (Size pair = threadIdx.x; pair < heads * half; pair += blockDim.x) {
    Size head = pair / half, i = pair % half, low = row + head * half * 2 + i, high = low + half;
    float a = widened(x[low]), b = widened(x[high]);
    float c = head < turned ? cos[i] : 1.f, s = head < turned ? direction * sin[i] : 0.f;
    y[low] = head < turned ? rounded(a * c - b * s) : x[low];
    y[high] = head < turned ? rounded(b * c + a * s) : x[high];
  }
}
