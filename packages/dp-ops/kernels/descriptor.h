// Descriptors that embed the environment matrix: of one row at a time, forward and backward.
#pragma once

#include <memory>
#include <vector>

#include "embedding.h"
#include "environment.h"
#include "pairs.h"

namespace DP_NAMESPACE {

/// One row of a table.
struct Row {
  int64_t center, first;  // types; first: that of empty slots, ntypes for none
  int64_t slots;
  const double* vectors;
  const int64_t* types;
};

template <class T>
class Descriptor {
 public:
  struct Memory {
    Neighbors<T> neighbors;
    EmbeddingMemory<T> embedding;
    PairMemory<T> pairs;
    Buffer<T> gated, by_gated, by_sum;
  };

  /// most_bytes: the memory that the polynomials of one function may have.
  Descriptor(const dp_descriptor& from, double most_bytes)
      : kind_(from.kind),
        ntypes_(from.ntypes),
        width_(from.width),
        axis_(from.axis),
        dim_type_(from.type_vectors ? from.dim_type : 0),
        stride_(padded<T>(from.width)),
        columns_(from.kind == DP_RADIAL ? 1 : 4),
        smooth_(from.smooth != 0),
        function_of_(from.function_of, from.function_of + ntypes_ * (ntypes_ + 1)) {
    Environment& e = environment_;
    e.rcut = from.rcut, e.rcut_smth = from.rcut_smth, e.protection = from.protection;
    e.ntypes = ntypes_, e.columns = columns_, e.by_type = from.by_type != 0, e.cut = from.cut != 0;
    e.davg.assign(from.davg, from.davg + ntypes_ * columns_);
    e.dstd.assign(from.dstd, from.dstd + ntypes_ * columns_);
    e.sel.assign(from.sel, from.sel + (from.by_type ? ntypes_ : 1));
    for (int64_t k = 0; k < ntypes_ * ntypes_; ++k)
      if (from.excluded[k]) e.excluded.assign(from.excluded, from.excluded + ntypes_ * ntypes_);
    for (int64_t n : e.sel) slots_ += n;
    if (from.gate) gate_.assign(from.gate, from.gate + ntypes_ * (ntypes_ + 1) * width_);
    for (int64_t k = 0; k < ntypes_ * dim_type_; ++k) type_vectors_.push_back(T(from.type_vectors[k]));
    make_functions(from, most_bytes);
    make_empty();
  }

  /// Numbers of the descriptor, and of what `backward` needs of `forward`.
  int64_t size() const { return kind_ == DP_ANGULAR ? width_ * axis_ + dim_type_ : width_; }
  int64_t state_size() const { return columns_ * stride_; }

  /// Where `out[p]` is in the order of the format.
  int64_t place(int64_t p) const {
    if (kind_ != DP_ANGULAR || p >= width_ * axis_) return p;
    return p % width_ * axis_ + p / width_;
  }

  /// The descriptor of a row. `out` needs room for a vector behind it, of which numbers are changed.
  void forward(const Row& row, Memory& memory, T* state, T* out) const {
    std::fill(state, state + state_size(), T(0));
    gather(environment_, row.center, row.slots, row.vectors, row.types, memory.neighbors);
    fill_environment(environment_, row.center, memory.neighbors);
    if (kind_ == DP_PAIRS) {
      for_pairs(memory, [&](const Function<T>& f) {
        const T* const factor[1] = {memory.pairs.factor.data()};
        add_embedded<T, 1>(f, factor, memory.embedding, state, stride_);
      });
      std::copy(state, state + width_, out);
      return;
    }
    for (const auto& group : memory.neighbors.groups) add_group(row.center, group, memory, state);
    add_empty(row, memory.neighbors, state);
    if (kind_ == DP_RADIAL) {
      const T factor = T(1.0 / (5.0 * double(slots_)));
      for (int64_t m = 0; m < width_; ++m) out[m] = state[m] * factor;
      return;
    }
    const T part = T(1.0 / double(slots_));
    for (int64_t k = 0; k < state_size(); k += kLanes<T>) store<T>(state + k, load(state + k) * part);
    for (int64_t n = 0; n < axis_; ++n)
      for (int64_t m = 0; m < stride_; m += kLanes<T>) {
        Vec<T> sum{};
        for (int64_t c = 0; c < 4; ++c) sum += state[c * stride_ + n] * load(state + c * stride_ + m);
        store<T>(out + n * width_ + m, sum);
      }
    for (int64_t k = 0; k < dim_type_; ++k) out[axis_ * width_ + k] = type_vectors_[size_t(row.center * dim_type_ + k)];
  }

  /// Adds the derivative by the vectors, from that by the descriptor; `by_out` has a vector of any numbers behind it.
  void backward(const Row& row, Memory& memory, const T* state, const T* by_out, double* gradient) const {
    memory.by_sum.resize(state_size());
    T* by_sum = memory.by_sum.data();
    if (kind_ != DP_ANGULAR) {
      const T factor = kind_ == DP_RADIAL ? T(1.0 / (5.0 * double(slots_))) : T(1);
      for (int64_t m = 0; m < stride_; ++m) by_sum[m] = m < width_ ? by_out[m] * factor : T(0);
    } else {
      product_gradient(state, by_out, by_sum);
    }
    Neighbors<T>& neighbors = memory.neighbors;
    gather(environment_, row.center, row.slots, row.vectors, row.types, neighbors);
    fill_environment(environment_, row.center, neighbors);
    for (int f = Neighbors<T>::kBy0; f <= Neighbors<T>::kBySwitch; ++f)
      std::fill(neighbors[f], neighbors[f] + neighbors.room, T(0));
    if (kind_ == DP_PAIRS) {
      for_pairs(memory, [&](const Function<T>& f) {
        pairs_gradient(f, neighbors, memory.pairs, memory.embedding, by_sum, stride_);
      });
    } else {
      for (const auto& group : neighbors.groups) group_gradient(row.center, group, memory, by_sum);
    }
    environment_gradient(environment_, row.center, neighbors, gradient);
  }

 private:
  using N = Neighbors<T>;
  using Group = typename Neighbors<T>::Group;

  /// action(function) for each two groups, with their pairs in memory.
  template <class Action>
  void for_pairs(Memory& memory, const Action& action) const {
    const Neighbors<T>& n = memory.neighbors;
    for (const Group& b : n.groups)
      for (const Group& a : n.groups) {
        if (a.type > b.type) break;
        const double numbers = double(environment_.sel[size_t(a.type)]) * double(environment_.sel[size_t(b.type)]);
        const Function<T>& f = function(a.type, b.type);
        find_pairs(f, n, a, b, T(1 / numbers), memory.pairs, memory.embedding);
        action(f);
      }
  }

  /// The range of R_0 for atoms that are not closer than 0.6 Å.
  void make_functions(const dp_descriptor& from, double most_bytes) {
    SharedLayers shared;
    std::vector<double> low(size_t(from.functions), 1e300), high(size_t(from.functions), -1e300);
    for (int64_t i = 0; i < ntypes_; ++i)
      for (int64_t j = 0; j < ntypes_; ++j) {
        const size_t f = size_t(function_of_[size_t(i * (ntypes_ + 1) + j)]);
        const double mean = from.davg[i * columns_], deviation = from.dstd[i * columns_];
        if (kind_ == DP_PAIRS) {  // both ways, for neighbours farther than 0.9 Å, at all centres
          for (int64_t t = 0; t < ntypes_; ++t) {
            const double most = 1 / ((0.9 + from.protection) * from.dstd[t * columns_ + 1]);
            high[f] = std::max(high[f], most * most), low[f] = -high[f];
          }
          continue;
        }
        low[f] = std::min(low[f], -mean / deviation - 0.01);
        high[f] = std::max(high[f], (1 / (0.6 + from.protection) - mean) / deviation);
      }
    for (int64_t f = 0; f < from.functions; ++f)
      functions_.push_back(
          std::make_unique<Function<T>>(from.function[f], width_, low[size_t(f)], high[size_t(f)], most_bytes, shared));
  }

  const Function<T>& function(int64_t center, int64_t type) const {
    return *functions_[size_t(function_of_[size_t(center * (ntypes_ + 1) + type)])];
  }
  const T* gate(int64_t center, int64_t type) const {
    return &gate_[size_t((center * (ntypes_ + 1) + type) * width_)];
  }

  /// F of an empty slot, which carries −davg/dstd, by types; and F(0) of an excluded one.
  void make_empty() {
    bool counts = kind_ == DP_RADIAL;
    if (kind_ == DP_PAIRS) return;  // empty slots have no direction
    for (double mean : environment_.davg) counts = counts || mean != 0;
    if (!counts) return;
    empty_.resize(size_t(ntypes_ * (ntypes_ + 1) * width_));
    zero_.resize(kind_ == DP_RADIAL ? empty_.size() : 0);
    Buffer<double> found;
    for (int64_t i = 0; i < ntypes_; ++i)
      for (int64_t j = 0; j <= ntypes_; ++j) {
        const double x[2] = {-environment_.davg[size_t(i * columns_)] / environment_.dstd[size_t(i * columns_)], 0.0};
        const Exact& exact = function(i, j).exact();
        exact(2, x, found);
        const size_t at = size_t((i * (ntypes_ + 1) + j) * width_);
        for (int64_t m = 0; m < width_; ++m) {
          const double gated = gate_.empty() || smooth_ ? 1.0 : 1.0 + double(gate_[at + size_t(m)]);
          empty_[at + size_t(m)] = T(found[m] * gated);
          if (kind_ == DP_RADIAL) zero_[at + size_t(m)] = T(found[exact.stride + m]);
        }
      }
  }

  void add_empty(const Row& row, const Neighbors<T>& n, T* state) const {
    if (empty_.empty()) return;
    auto add = [&](const std::vector<T>& from, int64_t type, int64_t times, bool own) {
      const T* values = &from[size_t((row.center * (ntypes_ + 1) + type) * width_)];
      for (int64_t c = 0; c < columns_ && times; ++c) {
        const size_t at = size_t(row.center * columns_ + c);
        const T factor = T(times) * (own ? T(-environment_.davg[at] / environment_.dstd[at]) : T(1));
        for (int64_t m = 0; m < width_; ++m) state[c * stride_ + m] += factor * values[m];
      }
    };
    int64_t all = 0;
    for (int64_t type = 0; type < ntypes_; ++type) {
      const int64_t real = n.real[size_t(type)];
      all += real;
      if (environment_.by_type) add(empty_, type, environment_.sel[size_t(type)] - real, kind_ != DP_RADIAL);
      if (kind_ == DP_RADIAL) add(zero_, type, n.excluded[size_t(type)], false);
    }
    if (!environment_.by_type) add(empty_, row.first, slots_ - all, kind_ != DP_RADIAL);
  }

  void add_group(int64_t center, const Group& group, Memory& memory, T* state) const {
    Neighbors<T>& n = memory.neighbors;
    const Function<T>& f = function(center, group.type);
    memory.embedding.t.resize(n.room);
    memory.embedding.scale.resize(n.room);
    find_pieces(f, n[N::kR0], group.begin, group.end, memory.embedding);
    if (kind_ == DP_RADIAL) {
      std::fill(n[N::kExtra0], n[N::kExtra0] + n.room, T(1));
      const T* const one[1] = {n[N::kExtra0]};
      add_embedded<T, 1>(f, one, memory.embedding, state, stride_);
      return;
    }
    const T* const rows[4] = {n[N::kR0], n[N::kR1], n[N::kR2], n[N::kR3]};
    if (gate_.empty()) {
      add_embedded<T, 4>(f, rows, memory.embedding, state, stride_);
      return;
    }
    memory.gated.resize(state_size());
    T* gated = memory.gated.data();
    std::fill(gated, gated + state_size(), T(0));
    if (smooth_) {
      weigh_by_switch(n, group);
      const T* const weighed[4] = {n[N::kExtra0], n[N::kExtra1], n[N::kExtra2], n[N::kExtra3]};
      add_embedded<T, 4>(f, rows, memory.embedding, state, stride_);
      add_embedded<T, 4>(f, weighed, memory.embedding, gated, stride_);
    } else {
      add_embedded<T, 4>(f, rows, memory.embedding, gated, stride_);
    }
    const T* g = gate(center, group.type);
    for (int64_t c = 0; c < 4; ++c)
      for (int64_t m = 0; m < width_; ++m)
        state[c * stride_ + m] += gated[c * stride_ + m] * (smooth_ ? g[m] : T(1) + g[m]);
  }

  static void weigh_by_switch(Neighbors<T>& n, const Group& group) {
    for (int c = 0; c < 4; ++c)
      for (int64_t k = group.begin; k < group.end; ++k)
        n[N::kExtra0 + c][k] = n[N::kR0 + c][k] * n[N::kSwitch][k];
  }

  /// by_sum from the derivative by A·Aᵀ.
  void product_gradient(const T* a, const T* by_out, T* by_sum) const {
    const T factor = T(1.0 / double(slots_));
    std::fill(by_sum, by_sum + state_size(), T(0));
    for (int64_t n = 0; n < axis_; ++n) {
      Vec<T> dot[4] = {};
      for (int64_t m = 0; m < stride_; m += kLanes<T>) {
        const Vec<T> g = load(by_out + n * width_ + m);
        for (int64_t c = 0; c < 4; ++c) {
          store<T>(by_sum + c * stride_ + m, load(by_sum + c * stride_ + m) + a[c * stride_ + n] * g);
          dot[c] += g * load(a + c * stride_ + m);
        }
      }
      for (int64_t c = 0; c < 4; ++c) by_sum[c * stride_ + n] += sum_of_lanes<T>(dot[c]);
    }
    for (int64_t k = 0; k < state_size(); k += kLanes<T>) store<T>(by_sum + k, load(by_sum + k) * factor);
  }

  void group_gradient(int64_t center, const Group& group, Memory& memory, const T* by_sum) const {
    Neighbors<T>& n = memory.neighbors;
    const Function<T>& f = function(center, group.type);
    memory.embedding.t.resize(n.room);
    memory.embedding.scale.resize(n.room);
    find_pieces(f, n[N::kR0], group.begin, group.end, memory.embedding);
    if (kind_ == DP_RADIAL) {
      std::fill(n[N::kExtra0], n[N::kExtra0] + n.room, T(1));
      const T* const one[1] = {n[N::kExtra0]};
      T* const by_one[1] = {n[N::kBySum0]};
      embedded_gradient<T, 1>(f, one, memory.embedding, by_sum, stride_, by_one, n[N::kByNumber]);
      for (int64_t k = group.begin; k < group.end; ++k) n[N::kBy0][k] += n[N::kByNumber][k];
      return;
    }
    const T* const rows[4] = {n[N::kR0], n[N::kR1], n[N::kR2], n[N::kR3]};
    T* const by_rows[4] = {n[N::kBySum0], n[N::kBySum1], n[N::kBySum2], n[N::kBySum3]};
    const T* derivative = by_sum;
    if (!gate_.empty()) {
      memory.by_gated.resize(state_size());
      const T* g = gate(center, group.type);
      for (int64_t c = 0; c < 4; ++c)
        for (int64_t m = 0; m < width_; ++m)
          memory.by_gated[c * stride_ + m] = by_sum[c * stride_ + m] * (smooth_ ? g[m] : T(1) + g[m]);
      if (!smooth_) derivative = memory.by_gated.data();
    }
    auto take = [&](bool weighed) {
      for (int64_t k = group.begin; k < group.end; ++k) {
        n[N::kBy0][k] += n[N::kByNumber][k];
        const T w = weighed ? n[N::kSwitch][k] : T(1);
        for (int c = 0; c < 4; ++c) {
          n[N::kBy0 + c][k] += n[N::kBySum0 + c][k] * w;
          if (weighed) n[N::kBySwitch][k] += n[N::kBySum0 + c][k] * n[N::kR0 + c][k];
        }
      }
    };
    embedded_gradient<T, 4>(f, rows, memory.embedding, derivative, stride_, by_rows, n[N::kByNumber]);
    take(false);
    if (gate_.empty() || !smooth_) return;
    weigh_by_switch(n, group);
    const T* const weighed[4] = {n[N::kExtra0], n[N::kExtra1], n[N::kExtra2], n[N::kExtra3]};
    embedded_gradient<T, 4>(f, weighed, memory.embedding, memory.by_gated.data(), stride_, by_rows, n[N::kByNumber]);
    take(true);
  }

  int32_t kind_;
  int64_t ntypes_, width_, axis_, dim_type_, stride_;
  int columns_;
  bool smooth_;
  int64_t slots_ = 0;
  Environment environment_;
  std::vector<int32_t> function_of_;
  std::vector<std::unique_ptr<Function<T>>> functions_;
  std::vector<T> gate_, empty_, zero_, type_vectors_;
};

}  // namespace DP_NAMESPACE
