// One row over its length, and its derivatives.
#pragma once

#include <cstdint>

#include "isa.h"

namespace DP_NAMESPACE {

template <class T>
inline T product(const T* a, const T* b, int64_t n) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t k = 0; k < n; ++k) sum += a[k] * b[k];
  return sum;
}

/// y = inverse · x with inverse = 1/√(scale |x|² + shift); scale is 0 where the inverse does not depend on x.
template <class T>
struct Row {
  const T* y;
  int64_t width;
  T inverse;
  T rate;   // dy = inverse · dx − rate (y·dx) y
  T curve;  // of the second derivatives
  T bend;

  Row(const T* y, int64_t width, T inverse, T scale)
      : y(y), width(width), inverse(inverse), rate(inverse * scale), curve(inverse * rate), bend(3 * scale * curve) {}

  /// The derivative along dx, which is also that of y · dx by x.
  void along(const T* dx, T* dy) const {
    const T part = rate * product(y, dx, width);
#pragma omp simd
    for (int64_t k = 0; k < width; ++k) dy[k] = inverse * dx[k] - part * y[k];
  }
  /// Adds the derivative by x of v · along(g).
  void add_second(const T* g, const T* v, T* of_x) const {
    const T yg = product(y, g, width), yv = product(y, v, width);
    const T of_row = bend * yg * yv - curve * product(g, v, width), of_g = curve * yv, of_v = curve * yg;
#pragma omp simd
    for (int64_t k = 0; k < width; ++k) of_x[k] += of_row * y[k] - of_g * g[k] - of_v * v[k];
  }
};

}  // namespace DP_NAMESPACE
