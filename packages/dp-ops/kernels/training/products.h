// Products of small matrices in which numbers of many rows (slots, atoms) lie side by side in the lanes.
//
// An array of `count` lanes of n features is (n, ld), ld ≥ count; count is a multiple of the lanes of a vector.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "simd.h"

namespace DP_NAMESPACE {

constexpr bool kManyRegisters = kVectorBytes == 64;

template <class T, int H, bool UPPER, int... J>
inline Vec<T> interleaved(Vec<T> a, Vec<T> b, std::integer_sequence<int, J...>) {
  constexpr int n = kLanes<T>, shift = UPPER ? H : 0;
  return __builtin_shufflevector(a, b, (J % (2 * H) < H ? J + shift : n + J - H + shift)...);
}

/// The sums of the lanes of as many vectors as a vector has lanes; x is used up.
template <class T, int H = 1>
inline Vec<T> sums(Vec<T>* x) {
  if constexpr (H == kLanes<T>) {
    return x[0];
  } else {
    constexpr auto lanes = std::make_integer_sequence<int, kLanes<T>>{};
    for (int k = 0; k < kLanes<T> / (2 * H); ++k)
      x[k] = interleaved<T, H, false>(x[2 * k], x[2 * k + 1], lanes) +
             interleaved<T, H, true>(x[2 * k], x[2 * k + 1], lanes);
    return sums<T, 2 * H>(x);
  }
}

/// Sizes of `total` in parts of at most `most`, as even as they can be.
struct Parts {
  int total, number;
  Parts(int total, int most) : total(total), number((total + most - 1) / most) {}
  int begin(int k) const { return static_cast<int>(static_cast<int64_t>(total) * k / number); }
};

/// What a product is added to: a number for each row, and up to two arrays (rows, ld); null where there is none.
template <class T>
struct Base {
  const T* bias = nullptr;
  const T *first = nullptr, *second = nullptr;
  ptrdiff_t ld = 0;

  Vec<T> at(int row, ptrdiff_t s) const {
    Vec<T> value = broadcast<T>(bias ? bias[row] : T(0));
    if (first) value += load<T>(first + row * ld + s);
    if (second) value += load<T>(second + row * ld + s);
    return value;
  }
  Base moved(int row, ptrdiff_t s) const {
    return {bias ? bias + row : nullptr, first ? first + row * ld + s : nullptr, second ? second + row * ld + s : nullptr,
            ld};
  }
};

/// A matrix of which both strides are free.
template <class T>
struct Strided {
  const T* data;
  ptrdiff_t row, column;
};

template <class T, int M, int V>
inline void times_tile(Strided<T> w, int depth, const T* x, ptrdiff_t ldx, Base<T> base, T* c, ptrdiff_t ldc) {
  constexpr int n = kLanes<T>;
  Vec<T> sum[M][V];
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 3
    for (int v = 0; v < V; ++v)
      sum[m][v] = base.at(m, v * n);
  for (int k = 0; k < depth; ++k) {
    Vec<T> part[V];
#pragma GCC unroll 3
    for (int v = 0; v < V; ++v) part[v] = load(x + k * ldx + v * n);
    const T* column = w.data + k * w.column;
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      const Vec<T> factor = broadcast<T>(column[m * w.row]);
#pragma GCC unroll 3
      for (int v = 0; v < V; ++v) sum[m][v] += factor * part[v];
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 3
    for (int v = 0; v < V; ++v) store<T>(c + m * ldc + v * n, sum[m][v]);
}

template <class T, int V, int... M>
inline void times_rows(int rows, std::integer_sequence<int, M...>, Strided<T> w, int depth, const T* x, ptrdiff_t ldx,
                       Base<T> base, T* c, ptrdiff_t ldc) {
  (void)((rows == M + 1 && (times_tile<T, M + 1, V>(w, depth, x, ldx, base, c, ldc), true)) || ...);
}

constexpr int kTileRows = kManyRegisters ? 8 : 4;

/// c (rows, count) = base + w (rows, depth) x (depth, count).
template <class T>
inline void times(Strided<T> w, int rows, int depth, const T* x, ptrdiff_t ldx, int count, Base<T> base, T* c,
                  ptrdiff_t ldc) {
  constexpr int n = kLanes<T>;
  constexpr auto sizes = std::make_integer_sequence<int, kTileRows>{};
  const Parts parts(rows, kTileRows);
  for (int v = 0; v < count; v += 3 * n)
    for (int p = 0; p < parts.number; ++p) {
      const int first = parts.begin(p), size = parts.begin(p + 1) - first;
      const Strided<T> part{w.data + first * w.row, w.row, w.column};
      const Base<T> b = base.moved(first, v);
      T* out = c + first * ldc + v;
      if (count - v >= 3 * n)
        times_rows<T, 3>(size, sizes, part, depth, x + v, ldx, b, out, ldc);
      else if (count - v >= 2 * n)
        times_rows<T, 2>(size, sizes, part, depth, x + v, ldx, b, out, ldc);
      else
        times_rows<T, 1>(size, sizes, part, depth, x + v, ldx, b, out, ldc);
    }
}

/// A pair of arrays (n, ld) whose lanes are multiplied and summed.
template <class T>
struct Pair {
  const T* x;
  ptrdiff_t ldx;
  const T* g;
  ptrdiff_t ldg;
};

template <class T, int I, int O>
inline void outer_tile(const Pair<T>* pairs, int npairs, int i, int o, int count, T* w, ptrdiff_t ldw) {
  constexpr int n = kLanes<T>, all = (I * O + n - 1) / n * n;
  Vec<T> sum[all];
#pragma GCC unroll 32
  for (int k = 0; k < all; ++k) sum[k] = Vec<T>{};
  for (int p = 0; p < npairs; ++p) {
    const T* x = pairs[p].x + i * pairs[p].ldx;
    const T* g = pairs[p].g + o * pairs[p].ldg;
    const ptrdiff_t ldx = pairs[p].ldx, ldg = pairs[p].ldg;
    for (int s = 0; s < count; s += n) {
      Vec<T> right[O];
#pragma GCC unroll 6
      for (int b = 0; b < O; ++b) right[b] = load(g + b * ldg + s);
#pragma GCC unroll 4
      for (int a = 0; a < I; ++a) {
        const Vec<T> left = load(x + a * ldx + s);
#pragma GCC unroll 6
        for (int b = 0; b < O; ++b) sum[a * O + b] += left * right[b];
      }
    }
  }
  T total[all];
#pragma GCC unroll 8
  for (int k = 0; k < all; k += n) store<T>(total + k, sums<T>(sum + k));
  for (int a = 0; a < I; ++a)
    for (int b = 0; b < O; ++b) w[a * ldw + b] += total[a * O + b];
}

template <class T, int I, int... O>
inline void outer_columns(int columns, std::integer_sequence<int, O...>, const Pair<T>* pairs, int npairs, int i, int o,
                          int count, T* w, ptrdiff_t ldw) {
  (void)((columns == O + 1 && (outer_tile<T, I, O + 1>(pairs, npairs, i, o, count, w, ldw), true)) || ...);
}

template <class T, int... I>
inline void outer_rows(int rows, int columns, std::integer_sequence<int, I...>, const Pair<T>* pairs, int npairs, int i,
                       int o, int count, T* w, ptrdiff_t ldw) {
  constexpr auto sizes = std::make_integer_sequence<int, kManyRegisters ? 6 : 4>{};
  (void)((rows == I + 1 &&
          (outer_columns<T, I + 1>(columns, sizes, pairs, npairs, i, o, count, w, ldw), true)) || ...);
}

/// w (rows, columns) += Σ over pairs and lanes of x (rows, count) g (columns, count).
template <class T>
inline void outer(const Pair<T>* pairs, int npairs, int rows, int columns, int count, T* w, ptrdiff_t ldw) {
  constexpr int most_rows = kManyRegisters ? 4 : 3, most_columns = kManyRegisters ? 6 : 4;
  const Parts across(rows, most_rows), along(columns, most_columns);
  for (int a = 0; a < across.number; ++a)
    for (int b = 0; b < along.number; ++b) {
      const int i = across.begin(a), o = along.begin(b);
      outer_rows<T>(across.begin(a + 1) - i, along.begin(b + 1) - o, std::make_integer_sequence<int, most_rows>{}, pairs,
                    npairs, i, o, count, w + i * ldw + o, ldw);
    }
}

}  // namespace DP_NAMESPACE
