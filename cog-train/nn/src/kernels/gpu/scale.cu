// x *= factor[0], in place. Multiplying by one would change nothing, so that nothing is read.
extern "C" __global__ void scale(T* x, const float* factor, Size count) {
  float by = *factor;
  if (by == 1.f) return;
  EACH_PACK(i, count) {
    Pack a = read(x, i, count);
    for (int j = 0; j < WIDTH; j++) a.at[j] *= by;
    write(x, i, count, a);
  }
}
