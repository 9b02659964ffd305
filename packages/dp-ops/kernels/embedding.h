// Sums Σ_k c_k F(s_k) over neighbours with their derivatives, by the polynomials of function.h.
//
// In an interval F(s) = Σ_j P_j t^j, so that its neighbours add Σ_j (Σ_k c_k t_k^j) P_j: first a few numbers of each
// neighbour are added up, then comes one product for all of them. Backward the same: the polynomials are contracted with
// the derivative by the sum once, and each neighbour evaluates polynomials of single numbers.
#pragma once

#include <vector>

#include "function.h"

namespace DP_NAMESPACE {

/// All terms of a polynomial.
template <class T>
struct TermsOf {
#ifdef DP_SCALAR
  using Vector = Vec<T>;
#else
  typedef T Vector __attribute__((vector_size(kTerms * sizeof(T))));
#endif
};

/// Neighbours next to each other that share coefficients.
template <class T>
struct Piece {
  Coefficients<T> coefficients;
  int64_t begin, end;
};

/// What one row needs, kept to be used again by the next.
template <class T>
struct EmbeddingMemory {
  std::vector<Piece<T>> pieces;
  std::vector<int64_t> alone;  // numbers outside the range
  Buffer<T> t, scale, own, weights, numbers;
};

/// Splits the numbers s[begin … end) into pieces, with t and the slope of t by s of each.
template <class T>
void find_pieces(const Function<T>& f, const T* s, int64_t begin, int64_t end, EmbeddingMemory<T>& memory) {
  f.prepare();
  memory.pieces.clear();
  memory.alone.clear();
  int64_t last = -1;
  for (int64_t k = begin; k < end; ++k) {
    const int64_t interval = f.interval(s[k], memory.t[k]);
    if (interval < 0) {
      memory.alone.push_back(k);
      memory.t[k] = T(0);
      memory.pieces.push_back({{nullptr, nullptr, 2}, k, k + 1});
      memory.scale[k] = T(1);
    } else {
      if (interval == last)
        ++memory.pieces.back().end;
      else
        memory.pieces.push_back({f.coefficients(interval), k, k + 1});
      memory.scale[k] = f.scale();
    }
    last = interval;
  }
  if (memory.alone.empty()) return;
  const int64_t count = static_cast<int64_t>(memory.alone.size()), size = Function<T>::own_size(f.width);
  memory.own.resize(count * size);
  memory.numbers.resize(count);
  for (int64_t i = 0; i < count; ++i) memory.numbers[i] = s[memory.alone[static_cast<size_t>(i)]];
  f.itself(count, memory.numbers.data(), memory.own.data());
  int64_t i = 0;
  for (Piece<T>& piece : memory.pieces)
    if (!piece.coefficients.panels) piece.coefficients.panels = memory.own.data() + i++ * size;
}

/// sums[c] += weights of the pieces times their coefficients, for one panel of columns.
template <class T, int columns, int vectors>
inline void add_panel(const std::vector<Piece<T>>& pieces, const T* weights, int64_t panel, T* sums, int64_t stride) {
  Vec<T> sum[columns][vectors];
  T* at = sums + panel * kPanel<T>;
  for (int c = 0; c < columns; ++c)
    for (int v = 0; v < vectors; ++v) sum[c][v] = load(at + c * stride + v * kLanes<T>);
  for (const Piece<T>& piece : pieces) {
    const int terms = piece.coefficients.terms;
    const T* p = piece.coefficients.panels + panel * terms * kPanel<T>;
    for (int j = 0; j < terms; ++j, p += kPanel<T>)
      for (int c = 0; c < columns; ++c)
        for (int v = 0; v < vectors; ++v) sum[c][v] += weights[c * kTerms + j] * load(p + v * kLanes<T>);
    weights += columns * kTerms;
  }
  for (int c = 0; c < columns; ++c)
    for (int v = 0; v < vectors; ++v) store<T>(at + c * stride + v * kLanes<T>, sum[c][v]);
}

template <class T, int columns>
inline void add_products(const std::vector<Piece<T>>& pieces, const T* weights, int64_t width, T* sums,
                         int64_t stride) {
  for (int64_t panel = 0; panel * kPanel<T> < width; ++panel) {
    const int64_t left = width - panel * kPanel<T>;
    if (left > 2 * kLanes<T>)
      add_panel<T, columns, 3>(pieces, weights, panel, sums, stride);
    else if (left > kLanes<T>)
      add_panel<T, columns, 2>(pieces, weights, panel, sums, stride);
    else
      add_panel<T, columns, 1>(pieces, weights, panel, sums, stride);
  }
}

/// sums[c] (rows of `stride`) += Σ_k factor[c][k] F(s_k) over the pieces in memory.
template <class T, int columns>
void add_embedded(const Function<T>& f, const T* const (&factor)[columns], EmbeddingMemory<T>& memory, T* sums,
                  int64_t stride) {
  using Terms = typename TermsOf<T>::Vector;
  memory.weights.resize(static_cast<int64_t>(memory.pieces.size()) * columns * kTerms);
  T* weights = memory.weights.data();
  for (const Piece<T>& piece : memory.pieces) {
    Terms sum[columns] = {};
    for (int64_t k = piece.begin; k < piece.end; ++k) {
      const T t = memory.t[k], t2 = t * t, t3 = t2 * t, t4 = t2 * t2;
      const Terms powers = {T(1), t, t2, t3, t4, t4 * t, t4 * t2, t4 * t3};
      for (int c = 0; c < columns; ++c) sum[c] += factor[c][k] * powers;
    }
    for (int c = 0; c < columns; ++c, weights += kTerms) memcpy(weights, &sum[c], sizeof(Terms));
  }
  add_products<T, columns>(memory.pieces, memory.weights.data(), f.width, sums, stride);
}

/// q[c][j] = Σ_m derivative[c][m] P_j[m] of one piece.
template <class T, int columns>
inline void contract(const Coefficients<T>& p, int64_t width, const T* derivative, int64_t stride,
                     T (&q)[columns][kTerms]) {
  using Terms = typename TermsOf<T>::Vector;
  if (p.transposed) {
    Terms even[columns] = {}, odd[columns] = {};
    int64_t m = 0;
    for (; m + 2 <= width; m += 2) {
      Terms a, b;
      memcpy(&a, p.transposed + m * kTerms, sizeof(a));
      memcpy(&b, p.transposed + (m + 1) * kTerms, sizeof(b));
      for (int c = 0; c < columns; ++c) {
        even[c] += derivative[c * stride + m] * a;
        odd[c] += derivative[c * stride + m + 1] * b;
      }
    }
    if (m < width) {
      Terms a;
      memcpy(&a, p.transposed + m * kTerms, sizeof(a));
      for (int c = 0; c < columns; ++c) even[c] += derivative[c * stride + m] * a;
    }
    for (int c = 0; c < columns; ++c) {
      even[c] += odd[c];
      memcpy(q[c], &even[c], sizeof(Terms));
    }
    return;
  }
  for (int c = 0; c < columns; ++c)
    for (int j = 0; j < kTerms; ++j) {
      q[c][j] = T(0);
      for (int64_t m = 0; j < p.terms && m < width; ++m)
        q[c][j] += derivative[c * stride + m] *
                   p.panels[(m / kPanel<T> * p.terms + j) * kPanel<T> + m % kPanel<T>];
    }
}

/// From the derivative by the sums, derivative[c] (rows of `stride`): by_factor[c][k] = derivative[c]·F(s_k), and
/// by_number[k] = Σ_c factor[c][k] derivative[c]·F'(s_k), for the pieces in memory.
template <class T, int columns>
void embedded_gradient(const Function<T>& f, const T* const (&factor)[columns], const EmbeddingMemory<T>& memory,
                       const T* derivative, int64_t stride, T* const (&by_factor)[columns], T* by_number) {
  constexpr int lanes = kLanes<T>;
  for (const Piece<T>& piece : memory.pieces) {
    T q[columns][kTerms];
    contract<T, columns>(piece.coefficients, f.width, derivative, stride, q);
    for (int64_t k = piece.begin; k < piece.end; k += lanes) {
      const int64_t count = std::min<int64_t>(lanes, piece.end - k);
      const Vec<T> t = load_part(&memory.t[k], count), scale = load_part(&memory.scale[k], count);
      Vec<T> slopes{};
      for (int c = 0; c < columns; ++c) {
        Vec<T> value = broadcast<T>(q[c][kTerms - 1]), slope{};
        for (int j = kTerms - 1; j-- > 0;) {
          slope = slope * t + value;
          value = value * t + q[c][j];
        }
        slopes += slope * load_part(factor[c] + k, count);
        store_part<T>(by_factor[c] + k, value, count);
      }
      store_part<T>(by_number + k, slopes * scale, count);
    }
  }
}

}  // namespace DP_NAMESPACE
