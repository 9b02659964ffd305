// Layers of attention, as they are trained: one atom after the other, whose arrays stay in the cache.
#include "training/attention.h"

#include "training/table.h"

namespace DP_NAMESPACE {
namespace {

template <class T>
using Work = AttentionWork<T>;
template <class T>
using Room = AttentionRoom<T>;

/// Adds the columns of x to a row.
template <class T>
void add_columns(In<T> x, int rows, ptrdiff_t columns, T* to) {
  for (int k = 0; k < rows; ++k)
#pragma omp simd
    for (ptrdiff_t c = 0; c < columns; ++c) to[c] += x.row(k)[c];
}

/// Query, key and value of x, as projected.
template <class T>
void project(const Work<T>& work, In<T> x, int count, bool biased, Tile<T> to) {
  const ptrdiff_t ld = to.ld;
  for (int k = 0; k < count && biased; ++k) std::copy_n(work.w.in_b, ld, to.row(k));
  multiply<T>(plain<T>(x), count, work.w.width, work.w.in, ld, to, biased);
}

/// A product with transposed keys or values: q (count, hidden), k (count, hidden) -> (count, of_slots).
template <class T>
void between(const Work<T>& work, In<T> q, In<T> k, int count, Room<T>& room, Tile<T> to, bool add = false) {
  const Tile<T> beside = room.take(work.w.hidden, to.ld);
  transpose<T>(k, count, work.w.hidden, beside);
  multiply<T>(plain<T>(q), count, work.w.hidden, beside, to.ld, to, add);
}

template <class T>
void subtract_mean(T* x, int width) {
  T mean = 0;
  for (int c = 0; c < width; ++c) mean += x[c];
  mean /= T(width);
  for (int c = 0; c < width; ++c) x[c] -= mean;
}

template <class T>
void value_of(const Work<T>& work, const Atom& a, Room<T>& room, const AtomMemory<T>& m, void* value) {
  const AttentionWeights<T>& w = work.w;
  const int count = a.count;
  const bool smooth = work.p.smooth != 0;
  const Tile<T> x = work.gather(work.p.g, w.width, a, room);
  project<T>(work, x, count, true, m.projected);
  for (int part = 0; part < 3; ++part)
    for (int k = 0; k < count; ++k) {
      T* y = m.projected.row(k) + part * w.of_hidden;
      T inverse = part ? T(1) : T(work.p.scale);
      if (work.p.normalize) inverse /= std::max(std::sqrt(product(y, y, w.of_hidden)), T(1e-12));
      m.inverse[part * count + k] = inverse;
      for (ptrdiff_t h = 0; h < w.of_hidden; ++h) y[h] *= inverse;
    }
  between<T>(work, m.projected, m.projected.part(w.of_hidden), count, room, m.weights);
  const Sides<T> sides(work, work.p.direction, work.p.weight, a, room);
  const Tile<T> gated = room.take(count, m.weights.ld);
  for (int j = 0; j < count; ++j) {
    T *e = m.weights.row(j), *g = gated.row(j), *raised = m.raised.row(j);
    for (ptrdiff_t k = 0; k < gated.ld && smooth; ++k) {
      raised[k] = e[k] + T(kRaised);
      e[k] = raised[k] * (sides.weight[j] * sides.weight[k]);
    }
    softmax_row<T>(e, count, gated.ld, work.spare(a), smooth);
    sides.gate(j, sides, g);
#pragma omp simd
    for (ptrdiff_t k = 0; k < gated.ld; ++k) g[k] *= e[k];
  }
  multiply<T>(plain<T>(gated), count, count, m.projected.part(2 * w.of_hidden), w.of_hidden, m.summed);
  for (int k = 0; k < count; ++k)
#pragma omp simd
    for (ptrdiff_t c = 0; c < x.ld; ++c) x.row(k)[c] += w.out_b[c];
  multiply<T>(plain<T>(m.summed), count, w.hidden, w.out, x.ld, x, true);
  for (int k = 0; k < count; ++k) {
    T *y = x.row(k), *normed = m.normed.row(k);
    subtract_mean(y, w.width);
    const T inverse = 1 / std::sqrt(product(y, y, x.ld) / T(w.width) + T(work.p.eps));
    m.inverse_norm[k] = inverse;
    for (ptrdiff_t c = 0; c < x.ld; ++c) {
      normed[c] = y[c] * inverse;
      y[c] = normed[c] * w.norm_w[c] + w.norm_b[c];
    }
  }
  work.scatter(x, w.width, a, value);
}

/// Gradients on the way back from the value.
template <class T>
struct Pulled {
  Tile<T> value, scaled;       // (count, of_width): of the value, and this times the weights of the norm
  Tile<T> x;                   // (count, of_width): before the norm
  Tile<T> summed;              // (count, of_hidden)
  Tile<T> gated, logits;       // (count, of_slots): of the gated weights of the softmax, and before it
  Tile<T> lengths, projected;  // (count, 3 of_hidden): of query, key and value with their lengths, and without

  Pulled(const Work<T>& work, const void* of_value, const Atom& a, Room<T>& room)
      : value(work.gather(of_value, work.w.width, a, room)), scaled(room.take(a.count, value.ld)),
        x(room.take(a.count, value.ld)), summed(room.take(a.count, work.w.of_hidden)),
        gated(room.take(a.count, spaced<T>(a.count))), logits(room.take(a.count, gated.ld)),
        lengths(room.take(a.count, 3 * work.w.of_hidden)), projected(room.take(a.count, lengths.ld)) {
    for (int k = 0; k < a.count; ++k)
      for (ptrdiff_t c = 0; c < value.ld; ++c) scaled.row(k)[c] = value.row(k)[c] * work.w.norm_w[c];
  }
};

/// Gradients of query, key and value of their lengths from those of the logits and sums; `added` to what is there.
template <class T>
void pull_products(const Work<T>& work, int count, In<T> logits, In<T> gated, In<T> summed, In<T> projected, Tile<T> to,
                   bool added) {
  const ptrdiff_t n = work.w.of_hidden;
  multiply<T>(plain<T>(logits), count, count, projected.part(n), n, to, added);
  multiply<T>(turned<T>(logits), count, count, projected, n, to.part(n), added);
  multiply<T>(turned<T>(gated), count, count, summed, n, to.part(2 * n), added);
}

/// Gradients of x, added: those of query, key and value through their projections.
template <class T>
void pull_projections(const Work<T>& work, int count, In<T> projected, Tile<T> x) {
  const AttentionWeights<T>& w = work.w;
  for (int part = 0; part < 3; ++part) {
    const In<T> weights{w.in_turned.row(part * w.hidden), w.of_width};
    multiply<T>(plain<T>(projected.part(part * w.of_hidden)), count, w.hidden, weights, x.ld, x, true);
  }
}

/// Gradients of directions and of the switch of one atom, from those of gated weights in `of_gated`, row by row.
template <class T>
struct SideGradients {
  Tile<T> direction, beside;  // of the slot that attends; (components, of_slots) of those attended to
  T *weight, *beside_weight;

  SideGradients(const Sides<T>& sides, int count, Room<T>& room)
      : direction(room.take(count, sides.direction.ld)), beside(room.take(sides.components, sides.beside.ld)),
        weight(room.take(1, sides.beside.ld).data), beside_weight(room.take(1, sides.beside.ld).data) {
    std::fill(beside.data, beside.row(sides.components), T(0));
    std::fill(weight, weight + beside.ld, T(0));
    std::fill(beside_weight, beside_weight + beside.ld, T(0));
  }
  void add_gate(const Sides<T>& sides, int j, const T* of_gate) {
    for (int c = 0; c < sides.components; ++c) {
      const T mine = sides.direction.row(j)[c];
      direction.row(j)[c] = product(of_gate, sides.beside.row(c), beside.ld);
#pragma omp simd
      for (ptrdiff_t k = 0; k < beside.ld; ++k) beside.row(c)[k] += mine * of_gate[k];
    }
  }
  void add_switch(const Sides<T>& sides, int j, const T* of_switched) {
    weight[j] = product(of_switched, sides.weight, beside.ld);
#pragma omp simd
    for (ptrdiff_t k = 0; k < beside.ld; ++k) beside_weight[k] += sides.weight[j] * of_switched[k];
  }
  void join(int count, int components) {
    for (int k = 0; k < count; ++k) {
      for (int c = 0; c < components; ++c) direction.row(k)[c] += beside.row(c)[k];
      beside_weight[k] += weight[k];
    }
  }
};

/// The way back; `both`: for the gated weights of the softmax, (count, of_slots); `to_sides` may be null.
template <class T>
void pull(const Work<T>& work, const Atom& a, Room<T>& room, const AtomMemory<T>& m, const Sides<T>& sides,
          const Pulled<T>& g, Tile<T> both, SideGradients<T>* to_sides) {
  const AttentionWeights<T>& w = work.w;
  const int count = a.count;
  const ptrdiff_t ld = both.ld;
  for (int k = 0; k < count; ++k) {
    work.norm(m, k).along(g.scaled.row(k), g.x.row(k));
    subtract_mean(g.x.row(k), w.width);
  }
  multiply<T>(plain<T>(g.x), count, w.width, w.out_turned, w.of_hidden, g.summed);
  between<T>(work, g.summed, m.projected.part(2 * w.of_hidden), count, room, g.gated);
  T *gates = room.take(1, ld).data, *spread = room.take(1, ld).data;
  for (int j = 0; j < count; ++j) {
    const T *p = m.weights.row(j), *of = g.gated.row(j);
    T *to = g.logits.row(j), mean = 0;
    sides.gate(j, sides, gates);
#pragma omp simd reduction(+ : mean)
    for (ptrdiff_t k = 0; k < ld; ++k) {
      both.row(j)[k] = p[k] * gates[k];
      spread[k] = of[k] * p[k];
      mean += spread[k] * gates[k];
    }
    if (to_sides) to_sides->add_gate(sides, j, spread);
#pragma omp simd
    for (ptrdiff_t k = 0; k < ld; ++k) to[k] = p[k] * (of[k] * gates[k] - mean);
    if (!work.p.smooth) continue;
    if (to_sides) {
      for (ptrdiff_t k = 0; k < ld; ++k) spread[k] = to[k] * m.raised.row(j)[k];
      to_sides->add_switch(sides, j, spread);
    }
    for (ptrdiff_t k = 0; k < ld; ++k) to[k] *= sides.weight[j] * sides.weight[k];
  }
  pull_products<T>(work, count, g.logits, both, g.summed, m.projected, g.lengths, false);
  for (int part = 0; part < 3; ++part)
    for (int k = 0; k < count; ++k) {
      const ptrdiff_t at = part * w.of_hidden;
      work.unit(m, part, k, count).along(g.lengths.row(k) + at, g.projected.row(k) + at);
    }
}

/// The derivatives of query, key and value with their lengths, from those without.
template <class T>
Tile<T> lengths_along(const Work<T>& work, const AtomMemory<T>& m, const AtomMemory<T>& tangent, int count,
                      Room<T>& room) {
  const Tile<T> to = room.take(count, m.projected.ld);
  for (int part = 0; part < 3; ++part)
    for (int k = 0; k < count; ++k) {
      const ptrdiff_t at = part * work.w.of_hidden;
      work.unit(m, part, k, count).along(tangent.projected.row(k) + at, to.row(k) + at);
    }
  return to;
}

/// The derivative of the value along x, (count, of_width), and the sides `along`.
template <class T>
void tangent_of(const Work<T>& work, const Atom& a, Room<T>& room, const AtomMemory<T>& m, Tile<T> x,
                const Sides<T>& along, const AtomMemory<T>& to, void* value) {
  const AttentionWeights<T>& w = work.w;
  const int count = a.count;
  const Sides<T> sides(work, work.p.direction, work.p.weight, a, room);
  project<T>(work, x, count, false, to.projected);
  const Tile<T> lengths = lengths_along(work, m, to, count, room);
  between<T>(work, lengths, m.projected.part(w.of_hidden), count, room, to.weights);
  between<T>(work, m.projected, lengths.part(w.of_hidden), count, room, to.weights, true);
  const ptrdiff_t ld = to.weights.ld;
  const Tile<T> gated = room.take(count, ld), gated_along = room.take(count, ld);
  for (int j = 0; j < count; ++j) {
    const T *p = m.weights.row(j), *raised = m.raised.row(j), *u = sides.weight, *du = along.weight;
    T *s = to.weights.row(j), *g = gated.row(j), *dg = gated_along.row(j), mean = 0;
    for (ptrdiff_t k = 0; k < ld && work.p.smooth; ++k)
      s[k] = s[k] * (u[j] * u[k]) + raised[k] * (du[j] * u[k] + u[j] * du[k]);
    sides.gate(j, sides, g);
    sides.gate(j, along, dg);
    along.gate(j, sides, dg, true);
#pragma omp simd reduction(+ : mean)
    for (ptrdiff_t k = 0; k < ld; ++k) mean += p[k] * s[k];
#pragma omp simd
    for (ptrdiff_t k = 0; k < ld; ++k) {
      s[k] = p[k] * (s[k] - mean);
      dg[k] = s[k] * g[k] + p[k] * dg[k];
      g[k] *= p[k];
    }
  }
  const ptrdiff_t values = 2 * w.of_hidden;
  multiply<T>(plain<T>(gated_along), count, count, m.projected.part(values), w.of_hidden, to.summed);
  multiply<T>(plain<T>(gated), count, count, lengths.part(values), w.of_hidden, to.summed, true);
  multiply<T>(plain<T>(to.summed), count, w.hidden, w.out, x.ld, x, true);
  for (int k = 0; k < count; ++k) {
    std::copy_n(x.row(k), x.ld, to.normed.row(k));
    subtract_mean(to.normed.row(k), w.width);
    work.norm(m, k).along(to.normed.row(k), x.row(k));
    for (ptrdiff_t c = 0; c < x.ld; ++c) x.row(k)[c] *= w.norm_w[c];
  }
  work.scatter(x, w.width, a, value);
}

/// The derivative along the tangents of everything on the way back; h.value is that of the value's gradient.
template <class T>
void pull_along(const Work<T>& work, const Atom& a, Room<T>& room, const AtomMemory<T>& m, const AtomMemory<T>& tangent,
                const Sides<T>& sides, const Sides<T>& along, const Pulled<T>& g, In<T> both, const Pulled<T>& h) {
  const AttentionWeights<T>& w = work.w;
  const int count = a.count;
  const ptrdiff_t ld = both.ld, values = 2 * w.of_hidden;
  const Tile<T> lengths = lengths_along(work, m, tangent, count, room);
  for (int k = 0; k < count; ++k) {
    const Row<T> norm = work.norm(m, k);
    norm.along(h.scaled.row(k), h.x.row(k));
    norm.add_second(g.scaled.row(k), tangent.normed.row(k), h.x.row(k));
    subtract_mean(h.x.row(k), w.width);
  }
  multiply<T>(plain<T>(h.x), count, w.width, w.out_turned, w.of_hidden, h.summed);
  between<T>(work, h.summed, m.projected.part(values), count, room, h.gated);
  between<T>(work, g.summed, lengths.part(values), count, room, h.gated, true);
  const Tile<T> rates = room.take(2, ld);
  for (int j = 0; j < count; ++j) {
    const T *p = m.weights.row(j), *dp = tangent.weights.row(j), *of = g.gated.row(j);
    const T *u = sides.weight, *du = along.weight;
    T *gates = rates.row(0), *dgates = rates.row(1), *dof = h.gated.row(j), *to = h.logits.row(j);
    T mean = 0, dmean = 0;
    sides.gate(j, sides, gates);
    sides.gate(j, along, dgates);
    along.gate(j, sides, dgates, true);
#pragma omp simd reduction(+ : mean, dmean)
    for (ptrdiff_t k = 0; k < ld; ++k) {
      const T by_weight = of[k] * gates[k], dby_weight = dof[k] * gates[k] + of[k] * dgates[k];
      mean += by_weight * p[k];
      dmean += dby_weight * p[k] + by_weight * dp[k];
    }
#pragma omp simd
    for (ptrdiff_t k = 0; k < ld; ++k) {
      const T by_weight = of[k] * gates[k] - mean, dby_weight = dof[k] * gates[k] + of[k] * dgates[k] - dmean;
      to[k] = dp[k] * by_weight + p[k] * dby_weight;
      if (work.p.smooth) to[k] = to[k] * (u[j] * u[k]) + p[k] * by_weight * (du[j] * u[k] + u[j] * du[k]);
      dof[k] = dp[k] * gates[k] + p[k] * dgates[k];  // of the gated weights themselves
    }
  }
  pull_products<T>(work, count, h.logits, h.gated, g.summed, m.projected, h.lengths, false);
  pull_products<T>(work, count, g.logits, both, h.summed, lengths, h.lengths, true);
  for (int part = 0; part < 3; ++part)
    for (int k = 0; k < count; ++k) {
      const ptrdiff_t at = part * w.of_hidden;
      const Row<T> unit = work.unit(m, part, k, count);
      unit.along(h.lengths.row(k) + at, h.projected.row(k) + at);
      unit.add_second(g.lengths.row(k) + at, tangent.projected.row(k) + at, h.projected.row(k) + at);
    }
}

/// Adds the gradients of the weights, and those of x behind the projections to g.x.
template <class T>
void pull_weights(const Work<T>& work, int count, In<T> x, const AtomMemory<T>& m, const Pulled<T>& g,
                  const AttentionGradients<T>& to) {
  const AttentionWeights<T>& w = work.w;
  multiply<T>(turned<T>(x), w.width, count, g.projected, to.in.ld, to.in, true);
  multiply<T>(turned<T>(m.summed), w.hidden, count, g.x, to.out.ld, to.out, true);
  add_columns<T>(g.projected, count, to.in.ld, to.in_b);
  add_columns<T>(g.x, count, to.out.ld, to.out_b);
  add_columns<T>(g.value, count, to.out.ld, to.norm_b);
  for (int k = 0; k < count; ++k)
    for (ptrdiff_t c = 0; c < to.out.ld; ++c) to.norm_w[c] += g.value.row(k)[c] * m.normed.row(k)[c];
  pull_projections<T>(work, count, g.projected, g.x);
}

/// What joins them by the tangents.
template <class T>
void pull_weights_along(const Work<T>& work, int count, In<T> x_along, const AtomMemory<T>& m,
                        const AtomMemory<T>& tangent, const Pulled<T>& g, Room<T>& room,
                        const AttentionGradients<T>& to) {
  const AttentionWeights<T>& w = work.w;
  multiply<T>(turned<T>(x_along), w.width, count, g.projected, to.in.ld, to.in, true);
  multiply<T>(turned<T>(tangent.summed), w.hidden, count, g.x, to.out.ld, to.out, true);
  T* along = room.take(1, to.out.ld).data;
  for (int k = 0; k < count; ++k) {
    work.norm(m, k).along(tangent.normed.row(k), along);
    for (ptrdiff_t c = 0; c < to.out.ld; ++c) to.norm_w[c] += g.value.row(k)[c] * along[c];
  }
}

template <class T>
void value(const dp_attention& p, void* value, void* kept) {
  const Work<T> work(p);
  work.each_atom([&](const Atom& a, Room<T>& room) { value_of(work, a, room, work.known(kept, a), value); });
}

template <class T>
void slope(const dp_attention& p, const void* gy, const void* kept, void* of_g, void* of_direction, void* of_weight) {
  const Work<T> work(p);
  work.each_atom([&](const Atom& a, Room<T>& room) {
    const Sides<T> sides(work, p.direction, p.weight, a, room);
    const Pulled<T> g(work, gy, a, room);
    SideGradients<T> of_sides(sides, a.count, room);
    pull(work, a, room, work.known(kept, a), sides, g, room.take(a.count, g.gated.ld), &of_sides);
    pull_projections<T>(work, a.count, g.projected, g.x);
    work.scatter(g.x, p.width, a, of_g);
    of_sides.join(a.count, sides.components);
    work.scatter(of_sides.direction, p.components, a, of_direction);
    work.scatter({of_sides.beside_weight, 1}, 1, a, of_weight);
  });
}

template <class T>
void tangent(const dp_attention& p, const void* v, const void* v_direction, const void* v_weight, const void* kept,
             void* of_gy, void* tangents) {
  const Work<T> work(p);
  work.each_atom([&](const Atom& a, Room<T>& room) {
    const Sides<T> along(work, v_direction, v_weight, a, room);
    const Tile<T> x = work.gather(v, p.width, a, room);
    tangent_of(work, a, room, work.known(kept, a), x, along, work.known(tangents, a), of_gy);
  });
}

template <class T>
void gradients(const dp_attention& p, const void* gu, const void* gy, const void* v, const void* v_direction,
               const void* v_weight, const void* kept, const void* tangents, void* of_g) {
  const Work<T> work(p);
  const ptrdiff_t size = AttentionGradients<T>::size(work.w);
  Buffer<T> partial(size * std::max<int64_t>(1, work.tasks()));
  std::fill(partial.data(), partial.data() + size * std::max<int64_t>(1, work.tasks()), T(0));
  work.each_atom_of_tasks([&](const Atom& a, Room<T>& room, int64_t task) {
    const AttentionGradients<T> to(partial.data() + task * size, work.w);
    const AtomMemory<T> m = work.known(kept, a);
    const Tile<T> x = work.gather(p.g, p.width, a, room);
    const Sides<T> sides(work, p.direction, p.weight, a, room);
    const Pulled<T> g(work, gy ? gy : gu, a, room);
    const Tile<T> both = room.take(a.count, g.gated.ld);
    pull<T>(work, a, room, m, sides, g, both, nullptr);
    if (!gy) {
      pull_weights<T>(work, a.count, x, m, g, to);
      work.scatter(g.x, p.width, a, of_g);
      return;
    }
    const AtomMemory<T> tangent = work.known(tangents, a);
    const Sides<T> along(work, v_direction, v_weight, a, room);
    const Pulled<T> h(work, gu, a, room);
    pull_along<T>(work, a, room, m, tangent, sides, along, g, both, h);
    pull_weights_along<T>(work, a.count, work.gather(v, p.width, a, room), m, tangent, g, room, to);
    pull_weights<T>(work, a.count, x, m, h, to);
    work.scatter(h.x, p.width, a, of_g);
  });
  for (int64_t task = 1; task < work.tasks(); ++task)
    for (ptrdiff_t k = 0; k < size; ++k) partial[k] += partial[task * size + k];
  AttentionGradients<T>(partial.data(), work.w).write(p);
}

}  // namespace

const dp::AttentionTable kAttention = {
    [](const dp_attention* p) {
      return by_type(p->float64, [&](auto x) -> int64_t {
        using T = decltype(x);
        return p->rows * AtomMemory<T>::size(AttentionSizes<T>(*p), p->slots);
      });
    },
    [](const dp_attention* p, void* y, void* kept) {
      by_type(p->float64, [&](auto x) { value<decltype(x)>(*p, y, kept); });
    },
    [](const dp_attention* p, const void* gy, const void* kept, void* of_g, void* of_direction, void* of_weight) {
      by_type(p->float64, [&](auto x) { slope<decltype(x)>(*p, gy, kept, of_g, of_direction, of_weight); });
    },
    [](const dp_attention* p, const void* v, const void* v_direction, const void* v_weight, const void* kept,
       void* of_gy, void* tangents) {
      by_type(p->float64, [&](auto x) { tangent<decltype(x)>(*p, v, v_direction, v_weight, kept, of_gy, tangents); });
    },
    [](const dp_attention* p, const void* gu, const void* gy, const void* v, const void* v_direction,
       const void* v_weight, const void* kept, const void* tangents, void* of_g) {
      by_type(p->float64, [&](auto x) {
        gradients<decltype(x)>(*p, gu, gy, v, v_direction, v_weight, kept, tangents, of_g);
      });
    },
};

}  // namespace DP_NAMESPACE
