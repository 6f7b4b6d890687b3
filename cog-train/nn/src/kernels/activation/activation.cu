// CURVE: the number of the activation; the formulas are those of curves.rs.
#define GELU 1.595769f
#define CUBE 0.044715f

__device__ inline float sigmoid(float x) { return quotient(1.f, 1.f + power(-x)); }
__device__ inline float gelu_inner(float x) { return x * (x * x * (GELU * CUBE) + GELU); }

__device__ inline float value(float x) {
#if CURVE == 0
  return quotient(x, 1.f + power(-gelu_inner(x)));
#elif CURVE == 1
  return x * normcdff(x);
#elif CURVE == 2
  return quotient(x, 1.f + power(-x));
#elif CURVE == 3
  return x <= 0.f ? 0.f : x;
#elif CURVE == 4
  return tanhf(x);
#else
  return sigmoid(x);
#endif
}

__device__ inline float slope(float x) {
#if CURVE == 0
  float s = sigmoid(gelu_inner(x));
  return x * s * (1.f - s) * (x * x * (3.f * GELU * CUBE) + GELU) + s;
#elif CURVE == 1
  return x * expf(-0.5f * x * x) * 0.3989423f + normcdff(x);
#elif CURVE == 2
  float s = sigmoid(x);
  return s * (x * (1.f - s) + 1.f);
#elif CURVE == 3
  return x <= 0.f ? 0.f : 1.f;
#elif CURVE == 4
  float y = tanhf(x);
  return 1.f - y * y;
#else
  float s = sigmoid(x);
  return s * (1.f - s);
#endif
}

extern "C" __global__ void activation_forward(const T* x, T* y, Size count) {
  EACH_PACK(i, count) {
    Pack a = read(x, i, count);
    for (int j = 0; j < WIDTH; j++) a.at[j] = value(a.at[j]);
    write(y, i, count, a);
  }
}

extern "C" __global__ void activation_backward(const T* x, const T* dy, T* dx, Size count) {
  EACH_PACK(i, count) {
    Pack a = read(x, i, count), g = read(dy, i, count);
    for (int j = 0; j < WIDTH; j++) a.at[j] = g.at[j] * slope(a.at[j]);
    write(dx, i, count, a);
  }
}
