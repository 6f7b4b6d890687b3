// One pass: each number is read once and written once.
extern "C" __global__ void adamw(T* weight, const T* gradient, T* first, T* second, Size count,
                                 float scale, float shrink, float coupled, float share1, float beta2, float share2,
                                 float correction, float epsilon, float rate) {
  EACH_PACK(i, count) {
    Pack w = read(weight, i, count), g = read(gradient, i, count), m = read(first, i, count),
         v = read(second, i, count);
    for (int j = 0; j < WIDTH; j++) {
      float slope = g.at[j] * scale + w.at[j] * coupled;
      m.at[j] += (slope - m.at[j]) * share1;
      v.at[j] = v.at[j] * beta2 + slope * share2 * slope;
      w.at[j] = w.at[j] * shrink - m.at[j] / (sqrtf(v.at[j]) * correction + epsilon) * rate;
    }
    write(weight, i, count, w);
    write(first, i, count, m);
    write(second, i, count, v);
  }
}
