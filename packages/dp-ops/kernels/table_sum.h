// The environment matrix, and the sums of tables.h, for any processor: each body computes some columns of a row, or one
// slot, from plain arrays, and parallel_for runs them on threads of a processor or of a graphics processor.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "parallel.h"
#include "tables.h"

namespace DP_NAMESPACE {

/// Columns that a body sums at a time: what the inner cache holds, or one for each thread of a graphics processor.
#ifdef __CUDACC__
constexpr int64_t kColumns = 1;
#else
constexpr int64_t kColumns = 128;
#endif

/// A problem of tables.h with the numbers as what they are.
template <class T>
struct TableOf {
  int64_t slots, components, count, width;
  const T *r, *coefficients, *starts;
  T begin[3], step[3], end;
  int64_t intervals[3];
  const T* gates;
  const int64_t* index;
  const T* weights;

  explicit TableOf(const dp_table& from)
      : slots(from.slots), components(from.components), count(from.count), width(from.width),
        r(static_cast<const T*>(from.r)), coefficients(static_cast<const T*>(from.coefficients)),
        starts(static_cast<const T*>(from.starts)), end(T(from.grid[9])), gates(static_cast<const T*>(from.gates)),
        index(from.index), weights(static_cast<const T*>(from.weights)) {
    for (int part = 0; part < 3; ++part) {
      begin[part] = T(from.grid[3 * part]), step[part] = T(from.grid[3 * part + 1]);
      intervals[part] = static_cast<int64_t>(from.grid[3 * part + 2]);
    }
  }

  DP_HD int64_t row_of(T x) const {
    if (x >= end) return count - 1;
    int64_t row = count - 2, first = 0;
    for (int part = 0; part < 3; ++part) {
      if (intervals[part] > 0 && x >= begin[part]) {
        const int64_t at = static_cast<int64_t>((x - begin[part]) / step[part]);
        row = first + (at < intervals[part] ? at : intervals[part] - 1);
      }
      first += intervals[part];
    }
    return row;
  }

  DP_HD bool is_empty(int64_t slot) const {
    for (int64_t c = 0; c < components; ++c)
      if (!(r[slot * components + c] == T(0))) return false;
    return true;
  }
};

/// What one slot multiplies: its polynomials, the place in them, and its gate.
template <class T>
struct SlotOfTable {
  const T* a;  // coefficients of 1, δ, … δ⁵, `width` apart
  int64_t width;
  T d, weight;
  const T* gate;

  DP_HD SlotOfTable(const TableOf<T>& t, int64_t slot) : width(t.width) {
    const T x = t.r[slot * t.components];
    const int64_t row = t.row_of(x);
    a = t.coefficients + row * 6 * width, d = x - t.starts[row];
    gate = t.gates ? t.gates + t.index[slot] * width : nullptr;
    weight = t.weights ? t.weights[slot] : T(1);
  }

  DP_HD T value(int64_t m) const {
    const T* p = a + m;
    return p[0] + d * (p[width] + d * (p[2 * width] + d * (p[3 * width] + d * (p[4 * width] + d * p[5 * width]))));
  }
  DP_HD T slope(int64_t m) const {
    const T* p = a + m;
    return p[width] + d * (2 * p[2 * width] + d * (3 * p[3 * width] + d * (4 * p[4 * width] + d * 5 * p[5 * width])));
  }
};

/// A of tables.h; body i is some columns of one row.
template <class T>
struct SumOfTable {
  TableOf<T> table;
  int64_t tiles;  // in a row
  T* out;

  DP_HD void operator()(int64_t i) const {
    const int64_t row = i / tiles, first = i % tiles * kColumns;
    int64_t c = 0;
    for (; c + 4 <= table.components; c += 4) sum<4>(row, first, c);
    for (; c < table.components; ++c) sum<1>(row, first, c);
  }

  /// For C components from c on.
  template <int C>
  DP_HD void sum(int64_t row, int64_t first, int64_t c) const {
    const int64_t left = table.width - first, columns = left < kColumns ? left : kColumns;
    T total[C][kColumns] = {};
    for (int64_t k = row * table.slots; k < (row + 1) * table.slots; ++k) {
      if (table.is_empty(k)) continue;
      const SlotOfTable<T> slot(table, k);
      if (slot.gate)
        add<C, true>(slot, table.r + k * table.components + c, first, columns, total);
      else
        add<C, false>(slot, table.r + k * table.components + c, first, columns, total);
    }
    for (int j = 0; j < C; ++j)
      for (int64_t m = 0; m < columns; ++m)
        out[(row * table.components + c + j) * table.width + first + m] = total[j][m];
  }

  template <int C, bool gated>
  DP_HD static void add(const SlotOfTable<T> slot, const T* r, int64_t first, int64_t columns, T (*total)[kColumns]) {
    T by[C];
    for (int j = 0; j < C; ++j) by[j] = r[j];
#ifndef __CUDACC__
#pragma omp simd
#endif
    for (int64_t m = 0; m < columns; ++m) {
      T value = slot.value(first + m);
      if (gated) value *= T(1) + slot.weight * slot.gate[first + m];
      for (int j = 0; j < C; ++j) total[j][m] += by[j] * value;
    }
  }
};

/// The derivative by R and by the weights from that by A, `by_out`; body i is one slot.
template <class T>
struct SlopeOfTable {
  TableOf<T> table;
  const T* by_out;
  T *by_rows, *by_weights;

  DP_HD void operator()(int64_t i) const {
    T* by = by_rows + i * table.components;
    T by_number = 0, by_weight = 0;
    if (table.is_empty(i)) {
      for (int64_t c = 0; c < table.components; ++c) by[c] = 0;
    } else {
      const SlotOfTable<T> slot(table, i);
      int64_t c = 0;
      for (; c + 4 <= table.components; c += 4) add<4>(slot, i, c, by_number, by_weight);
      for (; c < table.components; ++c) add<1>(slot, i, c, by_number, by_weight);
      by[0] += by_number;
    }
    if (by_weights) by_weights[i] = by_weight;
  }

  template <int C>
  DP_HD void add(const SlotOfTable<T>& slot, int64_t i, int64_t c, T& by_number, T& by_weight) const {
    if (slot.gate)
      add<C, true>(slot, i, c, by_number, by_weight);
    else
      add<C, false>(slot, i, c, by_number, by_weight);
  }

  /// For C components from c on, 1 or 4. The sums have names of their own, which compilers keep in registers.
  template <int C, bool gated>
  DP_HD void add(const SlotOfTable<T> slot, int64_t i, int64_t c, T& by_number, T& by_weight) const {
    constexpr int y = C > 1 ? 1 : 0, z = C > 1 ? 2 : 0, w = C > 1 ? 3 : 0;
    const T *r = table.r + i * table.components + c, *g = by_out + (i / table.slots * table.components + c) * slot.width;
    const T *gy = g + y * slot.width, *gz = g + z * slot.width, *gw = g + w * slot.width;
    const T rx = r[0], ry = C > 1 ? r[y] : T(0), rz = C > 1 ? r[z] : T(0), rw = C > 1 ? r[w] : T(0);
    T bx = 0, by = 0, bz = 0, bw = 0, along = 0, gate = 0;
#ifndef __CUDACC__
#pragma omp simd reduction(+ : bx, by, bz, bw, along, gate)
#endif
    for (int64_t m = 0; m < slot.width; ++m) {
      const T factor = gated ? T(1) + slot.weight * slot.gate[m] : T(1);
      const T raw = slot.value(m), value = raw * factor;
      T product = g[m] * rx;
      bx += g[m] * value;
      if (C > 1) {
        product += gy[m] * ry + gz[m] * rz + gw[m] * rw;
        by += gy[m] * value, bz += gz[m] * value, bw += gw[m] * value;
      }
      along += product * slot.slope(m) * factor;
      if (gated) gate += product * raw * slot.gate[m];
    }
    T* to = by_rows + i * table.components + c;
    to[0] = bx;
    if (C > 1) to[y] = by, to[z] = bz, to[w] = bw;
    by_number += along, by_weight += gate;
  }
};

template <class T, class Where>
void table_sum(Where where, const dp_table& t, T* a) {
  const int64_t tiles = (t.width + kColumns - 1) / kColumns;
  parallel_for(where, t.rows * tiles, 4, SumOfTable<T>{TableOf<T>(t), tiles, a});
}

template <class T, class Where>
void table_slope(Where where, const dp_table& t, const T* ga, T* gr, T* gweights) {
  const int64_t grain = std::max<int64_t>(t.slots, 64);
  parallel_for(where, t.rows * t.slots, grain, SlopeOfTable<T>{TableOf<T>(t), ga, gr, gweights});
}

/// The functions of tables.h.
template <class Where>
void any_table_sum(Where where, const dp_table& t, void* a) {
  if (t.float64)
    table_sum(where, t, static_cast<double*>(a));
  else
    table_sum(where, t, static_cast<float*>(a));
}

template <class Where>
void any_table_slope(Where where, const dp_table& t, const void* ga, void* gr, void* gweights) {
  if (t.float64)
    table_slope(where, t, static_cast<const double*>(ga), static_cast<double*>(gr), static_cast<double*>(gweights));
  else
    table_slope(where, t, static_cast<const float*>(ga), static_cast<float*>(gr), static_cast<float*>(gweights));
}

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
        const T across = c - 1 == x ? angular : T(0);
        const T by = c ? d[c - 1] * along * (slope - T(2) * w * inverse) * inverse * inverse + across
                       : along * (slope - w * inverse) * inverse;
        jacobian[(i * 4 + c) * 3 + x] = by * scale;
      }
    }
  }
};

}  // namespace DP_NAMESPACE
