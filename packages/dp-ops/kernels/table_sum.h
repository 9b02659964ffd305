// The environment matrix, and sums Σ_k R_k ⊗ F(R_k0) with F a table of quintic polynomials, for any processor: each body
// computes one number, or one slot, from plain arrays, and parallel_for runs them on threads of a processor or of a
// graphics processor.
#pragma once

#include <cmath>
#include <cstdint>

#include "isa.h"

namespace DP_NAMESPACE {

/// A table of a compressed model; linear beyond its ends.
template <class T>
struct Table {
  const T* data;  // (rows, width, 6)
  int64_t rows, width;
  T lower, upper, most, fine, coarse;
};

/// Where a number is in a table: its row, the place in it, and how far it is beyond the end.
template <class T>
struct Place {
  int64_t row;
  T d, beyond;
};

template <class T>
DP_HD inline Place<T> locate(const Table<T>& t, T x) {
  const int64_t fine_rows = static_cast<int64_t>((t.upper - t.lower) / t.fine + T(1e-3));
  if (!(x >= t.lower)) return {0, T(0), x - t.lower};
  const T at = x < t.most ? x : t.most;
  int64_t row = static_cast<int64_t>((at - t.lower) / t.fine);
  if (at >= t.upper) row = x < t.most ? fine_rows + static_cast<int64_t>((at - t.upper) / t.coarse) : t.rows - 1;
  if (row >= t.rows) row = t.rows - 1;
  const T start = row < fine_rows ? t.lower + T(row) * t.fine : t.upper + T(row - fine_rows) * t.coarse;
  return {row, at - start, x - at};
}

/// Value and slope of one column.
template <class T>
DP_HD inline void polynomial(const Table<T>& t, const Place<T>& p, int64_t m, T& value, T& slope) {
  const T* a = t.data + (p.row * t.width + m) * 6;
  slope = a[1] + p.d * (2 * a[2] + p.d * (3 * a[3] + p.d * (4 * a[4] + p.d * 5 * a[5])));
  value = a[0] + p.d * (a[1] + p.d * (a[2] + p.d * (a[3] + p.d * (a[4] + p.d * a[5])))) + slope * p.beyond;
}

/// out (n, 4, width) = Σ_k R_k ⊗ F(R_k0); body i is one column of one row.
template <class T>
struct SumOfTable {
  Table<T> table;
  int64_t slots;
  const T* rows;  // R, (n, slots, 4)
  T* out;

  DP_HD void operator()(int64_t i) const {
    const int64_t row = i / table.width, m = i % table.width;
    T sum[4] = {0, 0, 0, 0};
    for (int64_t k = 0; k < slots; ++k) {
      const T* r = rows + (row * slots + k) * 4;
      T value, slope;
      polynomial(table, locate(table, r[0]), m, value, slope);
      for (int c = 0; c < 4; ++c) sum[c] += r[c] * value;
    }
    for (int c = 0; c < 4; ++c) out[(row * 4 + c) * table.width + m] = sum[c];
  }
};

/// by_rows (n, slots, 4), the derivative by R, from `by_out` (n, 4, width); body i is one slot.
template <class T>
struct GradientOfTable {
  Table<T> table;
  int64_t slots;
  const T* rows;
  const T* by_out;
  T* by_rows;

  DP_HD void operator()(int64_t i) const {
    const T *r = rows + i * 4, *g = by_out + i / slots * 4 * table.width;
    const Place<T> place = locate(table, r[0]);
    T by[4] = {0, 0, 0, 0}, by_number = 0;
    for (int64_t m = 0; m < table.width; ++m) {
      T value, slope;
      polynomial(table, place, m, value, slope);
      for (int c = 0; c < 4; ++c) {
        const T x = g[c * table.width + m];
        by[c] += x * value;
        by_number += x * r[c] * slope;
      }
    }
    by[0] += by_number;
    for (int c = 0; c < 4; ++c) by_rows[i * 4 + c] = by[c];
  }
};

/// R of one slot by its vector: (w/(r+p), w·d/(r+p)²), less the mean and over the deviation of the type of the row. Empty
/// slots (negative types) have 0. `jacobian` (n, slots, 4, 3) is ∂R/∂d, or NULL.
template <class T>
struct EnvironmentOfSlot {
  int64_t slots;
  T rcut, rcut_smth, protection;
  const T *davg, *dstd;  // (types, 4)
  const T* vectors;      // (n, slots, 3)
  const int64_t* types;
  const int64_t* neighbor_types;
  T* rows;
  T* jacobian;

  DP_HD void operator()(int64_t i) const {
    const int64_t type = types[i / slots];
    const bool real = neighbor_types[i] >= 0 && type >= 0;
    const T* d = vectors + i * 3;
    const T r = real ? sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]) : T(1);
    T u = (r - rcut_smth) / (rcut - rcut_smth);
    u = u < T(0) ? T(0) : u > T(1) ? T(1) : u;
    const T w = T(1) + u * u * u * (T(-10) + u * (T(15) - T(6) * u));
    const T slope = T(-30) * u * u * (T(1) - u) * (T(1) - u) / (rcut - rcut_smth);
    const T inverse = T(1) / (r + protection), angular = w * inverse * inverse;
    for (int c = 0; c < 4; ++c) {
      const T mean = real ? davg[type * 4 + c] : T(0), scale = real ? T(1) / dstd[type * 4 + c] : T(0);
      rows[i * 4 + c] = ((c ? d[c - 1] * angular : w * inverse) - mean) * scale;
      for (int x = 0; jacobian && x < 3; ++x) {
        const T along = real && r > T(0) ? d[x] / r : T(0);
        const T by = c ? d[c - 1] * along * (slope - T(2) * w * inverse) * inverse * inverse + (c - 1 == x ? angular : T(0))
                       : along * (slope - w * inverse) * inverse;
        jacobian[(i * 4 + c) * 3 + x] = by * scale;
      }
    }
  }
};

}  // namespace DP_NAMESPACE
