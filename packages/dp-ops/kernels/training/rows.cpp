#include <algorithm>
#include <cmath>

#include "parallel.h"
#include "training/table.h"

namespace DP_NAMESPACE {
namespace {

constexpr int64_t kGrain = 64;

template <class T>
T product(const T* a, const T* b, int64_t n) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t k = 0; k < n; ++k) sum += a[k] * b[k];
  return sum;
}

/// One row: y = inverse · x, and with it dy = inverse · dx − rate (x·dx) x.
template <class T>
struct Row {
  const T* x;
  int64_t width;
  T inverse, rate;
  T bend;  // 3 rate times the derivative of log(inverse) by −|x|²/2

  Row(const dp_rows& p, int64_t i) : x(static_cast<const T*>(p.x) + i * p.width), width(p.width) {
    const T scale = T(p.scale), s = scale * product(x, x, width) + T(p.shift), least = T(p.least);
    inverse = 1 / std::sqrt(std::max(s, least));
    rate = s < least ? T(0) : scale * inverse * inverse * inverse;
    bend = 3 * rate * scale * inverse * inverse;
  }
  /// The derivative along dx, which is also that of y · dx by x.
  void along(const T* dx, T* dy) const {
    const T part = rate * product(x, dx, width);
#pragma omp simd
    for (int64_t k = 0; k < width; ++k) dy[k] = inverse * dx[k] - part * x[k];
  }
  /// The derivative by x of v · along(g).
  void second(const T* g, const T* v, T* of_x) const {
    const T xg = product(x, g, width), xv = product(x, v, width);
    const T of_row = bend * xg * xv - rate * product(g, v, width), of_g = rate * xv, of_v = rate * xg;
#pragma omp simd
    for (int64_t k = 0; k < width; ++k) of_x[k] = of_row * x[k] - of_g * g[k] - of_v * v[k];
  }
};

/// body(row, first number of the row), in threads.
template <class Body>
void each_row(const dp_rows& p, const Body& body) {
  const auto run = [&](auto zero) {
    parallel_for(Cpu{}, p.rows, kGrain, [&](int64_t i) { body(Row<decltype(zero)>(p, i), i * p.width); });
  };
  if (p.float64)
    run(double{});
  else
    run(float{});
}

template <class T>
const T* at(const Row<T>&, const void* array, int64_t k) {
  return static_cast<const T*>(array) + k;
}

template <class T>
T* at(const Row<T>&, void* array, int64_t k) {
  return static_cast<T*>(array) + k;
}

}  // namespace

const dp::RowsTable kRows = {
    [](const dp_rows* p, void* y) {
      each_row(*p, [&](const auto& row, int64_t k) {
        auto* out = at(row, y, k);
        for (int64_t c = 0; c < row.width; ++c) out[c] = row.inverse * row.x[c];
      });
    },
    [](const dp_rows* p, const void* g, void* gx) {
      each_row(*p, [&](const auto& row, int64_t k) { row.along(at(row, g, k), at(row, gx, k)); });
    },
    [](const dp_rows* p, const void* g, const void* v, void* of_x, void* of_g) {
      each_row(*p, [&](const auto& row, int64_t k) {
        row.second(at(row, g, k), at(row, v, k), at(row, of_x, k));
        row.along(at(row, v, k), at(row, of_g, k));
      });
    },
};

}  // namespace DP_NAMESPACE
