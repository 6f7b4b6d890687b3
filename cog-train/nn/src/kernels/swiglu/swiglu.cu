// A block for each row. Rows of `gate` and `up` begin `stride` elements apart: n, or 2 n where both are in one.
extern "C" __global__ void swiglu_forward(const T* gate, const T* up, T* y, Size n, Size stride) {
  gate += blockIdx.x * stride;
  up += blockIdx.x * stride;
  EACH_OF_ROW(i, n) {
    Pack a = read(gate, i, n), b = read(up, i, n);
    for (int j = 0; j < WIDTH; j++) a.at[j] = quotient(a.at[j], 1.f + power(-a.at[j])) * b.at[j];
    write(y + blockIdx.x * n, i, n, a);
  }
}

extern "C" __global__ void swiglu_backward(const T* gate, const T* up, const T* dy, T* of_gate, T* of_up, Size n,
                                           Size stride) {
  Size row = blockIdx.x * stride;
  EACH_OF_ROW(i, n) {
    Pack a = read(gate + row, i, n), b = read(up + row, i, n), g = read(dy + blockIdx.x * n, i, n), da, db;
    for (int j = 0; j < WIDTH; j++) {
      float sigmoid = quotient(1.f, 1.f + power(-a.at[j]));
      db.at[j] = g.at[j] * (a.at[j] * sigmoid);
      da.at[j] = g.at[j] * b.at[j] * (sigmoid * (a.at[j] * (1.f - sigmoid) + 1.f));
    }
    write(of_gate + row, i, n, da);
    write(of_up + row, i, n, db);
  }
}
