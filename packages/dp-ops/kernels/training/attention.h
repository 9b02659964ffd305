// What an attention among the slots of one atom is made of; features of a slot lie side by side.
#pragma once

#include <algorithm>
#include <cmath>
#include <deque>
#include <utility>
#include <vector>

#include "gemm.h"
#include "parallel.h"
#include "training/products.h"
#include "training/row.h"
#include "training/training.h"

namespace DP_NAMESPACE {

/// Numbers from one row of n to the next: whole vectors, an odd number of them, so that the rows of a column are spread
/// over the cache.
template <class T>
constexpr ptrdiff_t spaced(int64_t n) {
  return (padded<T>(n) / kLanes<T> | 1) * kLanes<T>;
}

/// An array of rows, `ld` numbers apart, filled up with zeros.
template <class T>
struct Tile {
  T* data;
  ptrdiff_t ld;
  T* row(int k) const { return data + k * ld; }
  Tile part(ptrdiff_t at) const { return {data + at, ld}; }
  operator Tile<const T>() const { return {data, ld}; }
};
template <class T>
using In = Tile<const T>;

/// c = a b, or with `add` c += a b: (rows, depth), (depth, count) -> (rows, count); count in whole vectors.
template <class T>
void multiply(Strided<T> a, int rows, int depth, In<T> b, ptrdiff_t count, Tile<T> c, bool add = false) {
  const Base<T> base{nullptr, add ? c.data : nullptr, nullptr, c.ld};
  times<T>(a, rows, depth, b.data, b.ld, int(count), base, c.data, c.ld);
}
template <class T>
Strided<T> plain(In<T> a) {
  return {a.data, a.ld, 1};
}
template <class T>
Strided<T> turned(In<T> a) {
  return {a.data, 1, a.ld};
}

/// from (rows, columns) -> to (columns, rows).
template <class T>
void transpose(In<T> from, int rows, int columns, Tile<T> to) {
  constexpr int n = kLanes<T>;
  for (int j = 0; j < columns; j += n)
    for (int k = 0; k < to.ld; k += n)
      for (int b = 0; b < std::min(n, columns - j); ++b) {
        T* out = to.row(j + b) + k;
        for (int a = 0; a < n; ++a) out[a] = k + a < rows ? from.row(k + a)[j + b] : T(0);
      }
}

/// The sizes of a layer.
template <class T>
struct AttentionSizes {
  int width, hidden;
  ptrdiff_t of_width, of_hidden;  // from row to row

  explicit AttentionSizes(const dp_attention& p)
      : width(int(p.width)), hidden(int(p.hidden)), of_width(spaced<T>(width)), of_hidden(spaced<T>(hidden)) {}
};

/// The weights of a layer, in rows of whole vectors.
template <class T>
struct AttentionWeights : AttentionSizes<T> {
  using AttentionSizes<T>::width, AttentionSizes<T>::hidden, AttentionSizes<T>::of_width, AttentionSizes<T>::of_hidden;
  Tile<T> in, in_turned;          // (width, 3 of_hidden): query, key and value; their transposes, (3 hidden, of_width)
  Tile<T> out, out_turned;        // (hidden, of_width), (width, of_hidden)
  T *in_b, *out_b, *norm_w, *norm_b;

  explicit AttentionWeights(const dp_attention& p) : AttentionSizes<T>(p) {
    const dp_train_layer &first = p.layer[0], &last = p.layer[1], &norm = p.layer[2];
    memory_.resize(2 * (width * 3 * of_hidden + 3 * hidden * of_width) + 3 * of_hidden + 3 * of_width);
    T* at = memory_.data();
    const auto take = [&at](ptrdiff_t size) {
      std::fill(at, at + size, T(0));
      return std::exchange(at, at + size);
    };
    in = {take(width * 3 * of_hidden), 3 * of_hidden};
    in_turned = {take(3 * hidden * of_width), of_width};
    out = {take(hidden * of_width), of_width};
    out_turned = {take(width * of_hidden), of_hidden};
    in_b = take(3 * of_hidden);
    out_b = take(of_width), norm_w = take(of_width), norm_b = take(of_width);
    const auto numbers = [](const void* p) { return static_cast<const T*>(p); };
    const T *w = numbers(first.w), *b = numbers(first.b);
    for (int part = 0; part < 3; ++part)
      for (int h = 0; h < hidden; ++h) {
        const ptrdiff_t from = part * hidden + h, to = part * of_hidden + h;
        for (int c = 0; c < width; ++c) in.row(c)[to] = in_turned.row(int(from))[c] = w[c * 3 * hidden + from];
        if (b) in_b[to] = b[from];
      }
    w = numbers(last.w);
    for (int h = 0; h < hidden; ++h)
      for (int c = 0; c < width; ++c) out.row(h)[c] = out_turned.row(c)[h] = w[h * width + c];
    if (last.b) std::copy_n(numbers(last.b), width, out_b);
    std::copy_n(numbers(norm.w), width, norm_w);
    std::copy_n(numbers(norm.b), width, norm_b);
  }

 private:
  Buffer<T> memory_;
};

/// Gradients of the weights, as `AttentionWeights` has them.
template <class T>
struct AttentionGradients {
  Tile<T> in, out;
  T *in_b, *out_b, *norm_w, *norm_b;

  static ptrdiff_t size(const AttentionWeights<T>& w) {
    return w.width * 3 * w.of_hidden + w.hidden * w.of_width + 3 * w.of_hidden + 3 * w.of_width;
  }
  AttentionGradients(T* at, const AttentionWeights<T>& w) {
    in = {at, 3 * w.of_hidden};
    out = {at + w.width * 3 * w.of_hidden, w.of_width};
    in_b = out.data + w.hidden * w.of_width;
    out_b = in_b + 3 * w.of_hidden;
    norm_w = out_b + w.of_width;
    norm_b = norm_w + w.of_width;
  }
  /// To arrays without gaps.
  void write(const dp_attention& p) const {
    const auto copy = [](Tile<T> from, int64_t rows, int64_t columns, void* to, int64_t ld, int64_t begin) {
      for (int k = 0; k < rows && to; ++k) std::copy_n(from.row(k), columns, static_cast<T*>(to) + k * ld + begin);
    };
    for (int part = 0; part < 3; ++part) {
      const ptrdiff_t from = part * in.ld / 3;
      copy(in.part(from), p.width, p.hidden, p.layer[0].grad_w, 3 * p.hidden, part * p.hidden);
      copy({in_b + from, 0}, 1, p.hidden, p.layer[0].grad_b, 0, part * p.hidden);
    }
    copy(out, p.hidden, p.width, p.layer[1].grad_w, p.width, 0);
    copy({out_b, 0}, 1, p.width, p.layer[1].grad_b, 0, 0);
    copy({norm_w, 0}, 1, p.width, p.layer[2].grad_w, 0, 0);
    copy({norm_b, 0}, 1, p.width, p.layer[2].grad_b, 0, 0);
  }
};

/// Which slots of an atom take part, and what it keeps.
struct Atom {
  int64_t row;
  const int32_t* used;
  int count;
};

/// What is known of an atom after its value, or, with the tangents of the same, after its tangent.
template <class T>
struct AtomMemory {
  Tile<T> projected;  // (count, 3 of_hidden): query, key, value, each of its length; of the tangent as projected
  Tile<T> weights;    // (count, of_slots) of the softmax
  Tile<T> raised;     // (count, of_slots): logits before they are switched, of a smooth attention
  Tile<T> summed;     // (count, of_hidden)
  Tile<T> normed;     // (count, of_width) of the layer's norm; of the tangent before it is normed
  T* inverse;         // (3, count): of the lengths of query, key, value
  T* inverse_norm;    // (count,)

  static ptrdiff_t size(const AttentionSizes<T>& w, int64_t count) {
    return count * (4 * w.of_hidden + w.of_width + 2 * spaced<T>(count)) + 4 * padded<T>(count);
  }
  AtomMemory(T* at, const AttentionSizes<T>& w, int count) {
    const ptrdiff_t of_slots = spaced<T>(count);
    projected = {at, 3 * w.of_hidden};
    weights = {projected.row(count), of_slots};
    raised = {weights.row(count), of_slots};
    summed = {raised.row(count), w.of_hidden};
    normed = {summed.row(count), w.of_width};
    inverse = normed.row(count);
    inverse_norm = inverse + 3 * padded<T>(count);
  }
};

/// Length of query, key or value: its row, from what the value kept of it.
template <class T>
Row<T> unit_row(const T* y, ptrdiff_t hidden, T inverse, T length) {
  const T size = std::abs(length), least = size * T(1e12);
  const bool bent = size > 0 && std::abs(inverse) < least;
  return {y, hidden, inverse, bent ? 1 / (size * size) : T(0)};
}

/// One row of a softmax: e = logits (count, filled up to whole vectors) become weights; spare joins the sum, as many
/// logits of 0 where `smooth`.
template <class T>
void softmax_row(T* e, int count, ptrdiff_t ld, T spare, bool smooth) {
  T top = smooth && spare > 0 ? T(0) : e[0];
  for (int k = 0; k < count; ++k) top = std::max(top, e[k]);
  const Vec<T> shift = broadcast<T>(top);
  for (ptrdiff_t k = 0; k < ld; k += kLanes<T>) store<T>(e + k, exp_of<T>(load<T>(e + k) - shift));
  std::fill(e + count, e + ld, T(0));
  T total = smooth ? spare * std::exp(-top) : spare;
#pragma omp simd reduction(+ : total)
  for (ptrdiff_t k = 0; k < ld; ++k) total += e[k];
  const T factor = 1 / total;
#pragma omp simd
  for (ptrdiff_t k = 0; k < ld; ++k) e[k] *= factor;
}

/// How far logits of a smooth attention are above that of an empty slot.
constexpr double kRaised = 20;

/// Parts of the sums of gradients of weights: so many, whatever the number of threads.
constexpr int64_t kTasks = 32;

/// Arrays that a thread needs for one atom.
template <class T>
class AttentionRoom {
 public:
  void clear() { next_ = 0; }
  Tile<T> take(int64_t rows, ptrdiff_t ld) {
    if (next_ == arrays_.size()) arrays_.emplace_back();
    Buffer<T>& array = arrays_[next_++];
    array.resize(rows * ld);
    return {array.data(), ld};
  }

 private:
  std::deque<Buffer<T>> arrays_;
  size_t next_ = 0;
};

/// That of this thread, empty: fresh pages for every call would take a tenth of the time.
template <class T>
AttentionRoom<T>& empty_room() {
  static thread_local AttentionRoom<T> room;
  room.clear();
  return room;
}

/// A layer and how its slots are used.
template <class T>
struct AttentionWork {
  const dp_attention& p;
  const AttentionWeights<T> w;
  std::vector<int32_t> used;
  std::vector<int64_t> first, memory;  // (rows + 1,): where a row begins in `used`, and in what is kept

  explicit AttentionWork(const dp_attention& p) : p(p), w(p), first{0}, memory{0} {
    const T* valid = static_cast<const T*>(p.valid);
    used.reserve(p.rows * p.slots);
    for (int64_t i = 0; i < p.rows; ++i, valid += p.slots) {
      for (int32_t k = 0; k < p.slots; ++k)
        if (valid[k] != 0) used.push_back(k);
      first.push_back(int64_t(used.size()));
      memory.push_back(memory.back() + AtomMemory<T>::size(w, first[i + 1] - first[i]));
    }
  }

  /// body(atom, room) for every row, in threads.
  template <class Body>
  void each_atom(const Body& body) const {
    parallel_for(Cpu{}, p.rows, 1, [&](int64_t i) { body(atom(i), empty_room<T>()); });
  }
  /// body(atom, room, task) for every row, in threads; those of one task one after the other, in their order.
  template <class Body>
  void each_atom_of_tasks(const Body& body) const {
    parallel_for(Cpu{}, tasks(), 1, [&](int64_t task) {
      for (int64_t i = p.rows * task / tasks(); i < p.rows * (task + 1) / tasks(); ++i)
        body(atom(i), empty_room<T>(), task);
    });
  }
  int64_t tasks() const { return std::min(kTasks, p.rows); }

  Atom atom(int64_t i) const { return {i, used.data() + first[i], int(first[i + 1] - first[i])}; }
  T spare(const Atom& a) const { return static_cast<const T*>(p.spare)[a.row]; }
  AtomMemory<T> known(const void* of_all, const Atom& a) const {
    return {const_cast<T*>(static_cast<const T*>(of_all)) + memory[a.row], w, a.count};
  }
  /// Length of query (0), key (1) or value (2); 0 where they are taken as they are.
  T length(int part) const { return p.normalize ? (part ? T(1) : T(p.scale)) : T(0); }
  Row<T> unit(const AtomMemory<T>& m, int part, int k, int count) const {
    return unit_row<T>(m.projected.row(k) + part * w.of_hidden, w.of_hidden, m.inverse[part * count + k], length(part));
  }
  Row<T> norm(const AtomMemory<T>& m, int k) const {
    return {m.normed.row(k), w.of_width, m.inverse_norm[k], T(1) / T(w.width)};
  }

  /// The slots of an atom from an array (rows, slots, columns); zeros if there is none.
  Tile<T> gather(const void* from, int64_t columns, const Atom& a, AttentionRoom<T>& room) const {
    const Tile<T> to = room.take(a.count, spaced<T>(columns));
    if (!from) std::fill(to.row(0), to.row(a.count), T(0));
    for (int k = 0; k < a.count && from; ++k) {
      std::copy_n(static_cast<const T*>(from) + (a.row * p.slots + a.used[k]) * columns, columns, to.row(k));
      std::fill(to.row(k) + columns, to.row(k + 1), T(0));
    }
    return to;
  }
  /// The same for an array (rows, slots) as one row.
  T* gather(const void* from, const Atom& a, AttentionRoom<T>& room) const {
    const Tile<T> to = room.take(1, spaced<T>(a.count));
    std::fill(to.row(0), to.row(1), T(0));
    for (int k = 0; k < a.count; ++k) to.data[k] = static_cast<const T*>(from)[a.row * p.slots + a.used[k]];
    return to.data;
  }
  /// Back, with 0 in the other slots.
  void scatter(In<T> from, int64_t columns, const Atom& a, void* to) const {
    T* out = static_cast<T*>(to) + a.row * p.slots * columns;
    std::fill(out, out + p.slots * columns, T(0));
    for (int k = 0; k < a.count; ++k) std::copy_n(from.row(k), columns, out + a.used[k] * columns);
  }
};

/// What gates the slots of an atom: their directions, also side by side, and the switch.
template <class T>
struct Sides {
  int components;
  Tile<T> direction, beside;
  T* weight;

  Sides(const AttentionWork<T>& work, const void* directions, const void* weights, const Atom& a,
        AttentionRoom<T>& room)
      : components(int(work.p.components)), direction(work.gather(directions, components, a, room)),
        beside(room.take(components, spaced<T>(a.count))), weight(work.gather(weights, a, room)) {
    transpose<T>(direction, a.count, components, beside);
  }
  /// Products of slot j's direction with those of `others`.
  void gate(int j, const Sides& others, T* to, bool add = false) const {
    const ptrdiff_t ld = others.beside.ld;
    for (int c = 0; c < components; ++c) {
      const T mine = direction.row(j)[c], *theirs = others.beside.row(c);
      if (c == 0 && !add) {
#pragma omp simd
        for (ptrdiff_t k = 0; k < ld; ++k) to[k] = mine * theirs[k];
      } else {
#pragma omp simd
        for (ptrdiff_t k = 0; k < ld; ++k) to[k] += mine * theirs[k];
      }
    }
  }
};

}  // namespace DP_NAMESPACE
