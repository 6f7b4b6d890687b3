// x *= factor[0], in place. Multiplying by one would change nothing, so that nothing is read.
extern "C" __global__ void scale(T* x, const float* factor, Size count) {
  float by = *factor;
  if (by == 1.f) return;
  EACH_FOUR(i, count) {
    Four a = read(x, i, count);
    for (int j = 0; j < 4; j++) a.at[j] *= by;
    write(x, i, count, a);
  }
}
