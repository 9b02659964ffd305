// Sums Σ e·F(e) over pairs of neighbours, e = v_j·v_k the product of their directions (se_e3).
#pragma once

#include <algorithm>
#include <vector>

#include "embedding.h"
#include "environment.h"

namespace DP_NAMESPACE {

/// The pairs of two groups of neighbours, those of one interval of the function next to each other.
template <class T>
struct PairMemory {
  struct Pair {
    int64_t interval, first, second;
    T e, times;
  };
  std::vector<Pair> pairs;
  Buffer<T> e, factor, by_factor, by_number;
};

/// Finds the pairs; each pair of one group is there once and counted twice.
template <class T>
void find_pairs(const Function<T>& f, const Neighbors<T>& n, const typename Neighbors<T>::Group& a,
                const typename Neighbors<T>::Group& b, T scale, PairMemory<T>& memory, EmbeddingMemory<T>& embedding) {
  using N = Neighbors<T>;
  f.prepare();
  memory.pairs.clear();
  const bool same = a.begin == b.begin;
  for (int64_t j = a.begin; j < a.end; ++j)
    for (int64_t k = same ? j : b.begin; k < b.end; ++k) {
      const T e = n[N::kR1][j] * n[N::kR1][k] + n[N::kR2][j] * n[N::kR2][k] + n[N::kR3][j] * n[N::kR3][k];
      T t;
      memory.pairs.push_back({f.interval(e, t), j, k, e, scale * T(same && j != k ? 2 : 1)});
    }
  std::sort(memory.pairs.begin(), memory.pairs.end(), [](const auto& x, const auto& y) { return x.interval < y.interval; });
  const int64_t count = static_cast<int64_t>(memory.pairs.size()), room = padded<T>(count);
  for (Buffer<T>* buffer : {&memory.e, &memory.factor, &memory.by_factor, &memory.by_number, &embedding.t, &embedding.scale})
    buffer->resize(room);
  for (int64_t i = 0; i < count; ++i) {
    memory.e[i] = memory.pairs[size_t(i)].e;
    memory.factor[i] = memory.pairs[size_t(i)].times * memory.e[i];
  }
  find_pieces(f, memory.e.data(), int64_t(0), count, embedding);
}

/// The derivative by the directions, added to kBy1 … kBy3; `by_sum` is that by the sum.
template <class T>
void pairs_gradient(const Function<T>& f, Neighbors<T>& n, PairMemory<T>& memory, const EmbeddingMemory<T>& embedding,
                    const T* by_sum, int64_t stride) {
  using N = Neighbors<T>;
  const T* const factor[1] = {memory.factor.data()};
  T* const by_factor[1] = {memory.by_factor.data()};
  embedded_gradient<T, 1>(f, factor, embedding, by_sum, stride, by_factor, memory.by_number.data());
  for (size_t i = 0; i < memory.pairs.size(); ++i) {
    const auto& pair = memory.pairs[i];
    const T by = pair.times * memory.by_factor[int64_t(i)] + memory.by_number[int64_t(i)];
    for (int x = 0; x < 3; ++x) {
      const T first = n[N::kR1 + x][pair.first], second = n[N::kR1 + x][pair.second];
      n[N::kBy1 + x][pair.first] += by * second;
      n[N::kBy1 + x][pair.second] += by * first;
    }
  }
}

}  // namespace DP_NAMESPACE
