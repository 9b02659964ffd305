#include <atomic>
#include <cstring>
#include <memory>

#include "parallel.h"
#include "training/stack.h"
#include "training/table.h"

namespace DP_NAMESPACE {
namespace {

/// Slots of a task: few enough that threads end together, many enough that a block is seldom half empty.
constexpr int64_t kTaskSlots = 8 * kSlots;

/// A row's part of a block.
struct Segment {
  int64_t row;
  int begin, end;  // slots of the block
};

/// Which slots are used, and tasks of consecutive rows that share them evenly.
struct Plan {
  std::vector<int32_t> used;    // numbers of the slots, row after row
  std::vector<int64_t> first;   // (rows + 1,), where a row begins in it
  std::vector<int64_t> rows;    // (tasks + 1,), the first row of a task
  std::vector<int64_t> blocks;  // (tasks + 1,), blocks before a task

  template <class T>
  explicit Plan(const dp_embedding& e, const T* r) {
    used.reserve(e.rows * e.slots);
    first.reserve(e.rows + 1);
    first.push_back(0);
    for (int64_t i = 0; i < e.rows; ++i) {
      for (int32_t k = 0; k < e.slots; ++k, r += e.components)
        if (std::any_of(r, r + e.components, [](T value) { return value != 0; })) used.push_back(k);
      first.push_back(static_cast<int64_t>(used.size()));
    }
    const int64_t total = first.back(), tasks = std::max<int64_t>(1, (total + kTaskSlots / 2) / kTaskSlots);
    rows.push_back(0);
    for (int64_t t = 1; t < tasks; ++t)
      rows.push_back(std::lower_bound(first.begin(), first.end() - 1, total * t / tasks) - first.begin());
    rows.push_back(e.rows);
    blocks.push_back(0);
    for (size_t t = 0; t + 1 < rows.size(); ++t)
      blocks.push_back(blocks.back() + (first[rows[t + 1]] - first[rows[t]] + kSlots - 1) / kSlots);
  }
  int64_t tasks() const { return static_cast<int64_t>(rows.size()) - 1; }
};

/// What a thread works with.
template <class T>
struct Room : StackRoom<T> {
  Room(const Stack<T>& stack, int64_t components)
      : StackRoom<T>(stack), own(stack.block()), r(components * kSlots), v(components * kSlots),
        left(2 * components * kSlots), right(2 * components * stack.width()),
        shift(stack.layers.front().n_out * kSlots) {}
  Buffer<T> own;    // the block of the network where nobody keeps it
  Buffer<T> r, v;   // (components, kSlots)
  Buffer<T> left;   // factors of one row, 0 in the slots of others
  Buffer<T> right;  // what they are multiplied with
  Buffer<T> shift;  // of the first layer, (n_out, kSlots)
  std::vector<Segment> segments;
};

/// One embedding sum and what its blocks have in common.
template <class T>
struct Work {
  const dp_embedding& e;
  Stack<T> stack;
  const T* r;
  Plan plan;

  explicit Work(const dp_embedding& e)
      : e(e), stack(e.layer, e.layers), r(static_cast<const T*>(e.r)), plan(e, r) {}

  ptrdiff_t of_row() const { return e.components * stack.width(); }

  /// Reads the slots [begin, end) of the plan; the lanes that are used, rounded.
  template <class Source>
  int gather(const Source* from, int64_t task, int64_t begin, int64_t end, T* to, std::vector<Segment>* segments) const {
    const int d = int(e.components);
    const int count = (int(end - begin) + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
    for (int c = 0; c < d; ++c) std::fill(to + c * kSlots + (end - begin), to + c * kSlots + count, T(0));
    int64_t row = std::upper_bound(plan.first.begin() + plan.rows[task], plan.first.end(), begin) - plan.first.begin() - 1;
    if (segments) segments->clear();
    for (int64_t at = begin; at < end; ++row) {
      const int64_t stop = std::min(end, plan.first[row + 1]);
      if (segments && stop > at) segments->push_back({row, int(at - begin), int(stop - begin)});
      for (; at < stop; ++at) {
        const Source* source = from + (row * e.slots + plan.used[at]) * d;
        for (int c = 0; c < d; ++c) to[c * kSlots + (at - begin)] = source[c];
      }
    }
    return count;
  }

  /// The kind of the slot that is number `at` of the plan.
  int64_t kind(int64_t row, int64_t at) const { return e.kind[row * e.slots + plan.used[at]]; }

  /// The shift of the slots of a block, as the first layer takes it; null without.
  const T* shift_of(Room<T>& room, int64_t begin, int used, int count) const {
    if (!e.kinds) return nullptr;
    const int width = stack.layers.front().n_out;
    T* shift = room.shift.data();
    for (const Segment& s : room.segments)
      for (int k = s.begin; k < s.end; ++k) {
        const T* from = static_cast<const T*>(e.shift) + kind(s.row, begin + k) * width;
        for (int o = 0; o < width; ++o) shift[o * kSlots + k] = from[o];
      }
    for (int o = 0; o < width; ++o) std::fill(shift + o * kSlots + used, shift + o * kSlots + count, T(0));
    return shift;
  }

  /// Keeps the gradients before the first layer's tanh of the slots of a block, in of_slots (used slots, n_out).
  void keep_shift(const Room<T>& room, int64_t begin, int64_t end, T* of_slots) const {
    const int width = stack.layers.front().n_out;
    T* to = of_slots + begin * width;
    for (int o = 0; o < width; ++o)
      for (int k = 0; k < int(end - begin); ++k) to[k * width + o] = room.gz[o * kSlots + k];
  }

  /// The gradient of the shift: sums over the slots of a kind, in their order. A table for each thread or task would
  /// be as large as all pairs of types are many.
  void sum_shift(const T* of_slots) const {
    const int width = stack.layers.front().n_out;
    std::vector<double> sums(e.kinds * width);
    for (int64_t row = 0; row < e.rows; ++row)
      for (int64_t at = plan.first[row]; at < plan.first[row + 1]; ++at) {
        double* to = sums.data() + kind(row, at) * width;
        for (int o = 0; o < width; ++o) to[o] += of_slots[at * width + o];
      }
    std::copy(sums.begin(), sums.end(), static_cast<T*>(e.grad_shift));
  }

  /// body(block, count, begin, end) for all blocks of a task, with R in room.r and its segments. The block of the network
  /// is read from `known`, or made in `kept` or, if this is null, in the room.
  template <bool slope, class Body>
  void each_block(int64_t task, Room<T>& room, const T* known, T* kept, const Body& body) const {
    int64_t number = plan.blocks[task];
    const int64_t stop = plan.first[plan.rows[task + 1]];
    for (int64_t begin = plan.first[plan.rows[task]]; begin < stop; begin += kSlots, ++number) {
      const int64_t end = std::min(stop, begin + kSlots);
      const int count = gather(r, task, begin, end, room.r.data(), &room.segments);
      const T* block = known ? known + number * stack.block() : nullptr;
      if (!known) {
        T* made = kept ? kept + number * stack.block() : room.own.data();
        std::copy(room.r.data(), room.r.data() + count, made);
        run_stack<T, slope>(stack, count, made, shift_of(room, begin, int(end - begin), count));
        block = made;
      }
      body(block, count, begin, end);
    }
  }

  /// body(task, room) for all tasks, in threads.
  template <class Body>
  void each_task(const Body& body) const {
    std::vector<std::unique_ptr<Room<T>>> rooms(dp::thread_count());
    parallel_parts(plan.tasks(), 1, [&](int64_t task, int64_t, int worker) {
      if (!rooms[worker]) rooms[worker] = std::make_unique<Room<T>>(stack, e.components);
      body(task, *rooms[worker]);
    });
  }
};

/// Whole vectors around the slots of a segment.
template <class T>
struct Lanes {
  int begin, count;
  explicit Lanes(const Segment& s)
      : begin(s.begin / kLanes<T> * kLanes<T>),
        count((s.end - begin + kLanes<T> - 1) / kLanes<T> * kLanes<T>) {}
};

/// x (features, kSlots) in the lanes of a segment, times a factor if there is one, and 0 around it.
template <class T>
void cut_out(const Segment& s, const T* x, int features, const T* factor, T* to) {
  const Lanes<T> lanes(s);
  for (int c = 0; c < features; ++c) {
    T* out = to + c * kSlots;
    std::fill(out, out + lanes.count, T(0));
    for (int k = s.begin; k < s.end; ++k) out[k - lanes.begin] = x[c * kSlots + k] * (factor ? factor[k] : T(1));
  }
}

template <class T>
void sum(const dp_embedding& e, T* a, T* kept) {
  const Work<T> work(e);
  const int d = int(e.components), width = work.stack.width();
  work.each_task([&](int64_t task, Room<T>& room) {
    std::fill(a + work.plan.rows[task] * work.of_row(), a + work.plan.rows[task + 1] * work.of_row(), T(0));
    const auto body = [&](const T* block, int, int64_t, int64_t) {
      for (const Segment& s : room.segments) {
        const Lanes<T> lanes(s);
        cut_out<T>(s, room.r.data(), d, nullptr, room.left.data());
        const Pair<T> pair{room.left.data(), kSlots, block + work.stack.top() + lanes.begin, kSlots};
        outer<T>(&pair, 1, d, width, lanes.count, a + s.row * work.of_row(), width);
      }
    };
    if (kept)
      work.template each_block<true>(task, room, nullptr, kept, body);
    else
      work.template each_block<false>(task, room, nullptr, nullptr, body);
  });
}

template <class T>
void slope(const dp_embedding& e, const T* ga, const T* kept, T* gr) {
  const Work<T> work(e);
  const int d = int(e.components), width = work.stack.width();
  const ptrdiff_t derivatives = ptrdiff_t(work.stack.features) * kSlots;
  work.each_task([&](int64_t task, Room<T>& room) {
    const int64_t of_row = e.slots * d;
    std::fill(gr + work.plan.rows[task] * of_row, gr + work.plan.rows[task + 1] * of_row, T(0));
    work.template each_block<true>(task, room, kept, nullptr, [&](const T* block, int, int64_t begin, int64_t) {
      for (const Segment& s : room.segments) {
        const Lanes<T> lanes(s);
        const T* g = block + work.stack.top() + lanes.begin;
        T *by_value = room.left.data(), *by_slope = by_value + d * kSlots;
        const Strided<T> a{ga + s.row * work.of_row(), width, 1};
        times<T>(a, d, width, g, kSlots, lanes.count, {}, by_value, kSlots);
        times<T>(a, d, width, g + derivatives, kSlots, lanes.count, {}, by_slope, kSlots);
        for (int k = s.begin; k < s.end; ++k) {
          const int at = k - lanes.begin;
          T* out = gr + s.row * of_row + work.plan.used[begin + k] * int64_t(d);
          T along = 0;
          for (int c = 0; c < d; ++c) along += room.r[c * kSlots + k] * by_slope[c * kSlots + at];
          for (int c = 0; c < d; ++c) out[c] = by_value[c * kSlots + at] + (c ? T(0) : along);
        }
      }
    });
  });
}

template <class T>
void transposed_slope(const dp_embedding& e, const T* v, const T* kept, T* of_ga) {
  const Work<T> work(e);
  const int d = int(e.components), width = work.stack.width();
  const ptrdiff_t derivatives = ptrdiff_t(work.stack.features) * kSlots;
  work.each_task([&](int64_t task, Room<T>& room) {
    std::fill(of_ga + work.plan.rows[task] * work.of_row(), of_ga + work.plan.rows[task + 1] * work.of_row(), T(0));
    work.template each_block<true>(task, room, kept, nullptr, [&](const T* block, int, int64_t begin, int64_t end) {
      work.gather(v, task, begin, end, room.v.data(), nullptr);
      for (const Segment& s : room.segments) {
        const Lanes<T> lanes(s);
        T *direction = room.left.data(), *along = direction + d * kSlots;
        cut_out<T>(s, room.v.data(), d, nullptr, direction);
        cut_out<T>(s, room.r.data(), d, room.v.data(), along);
        const T* g = block + work.stack.top() + lanes.begin;
        const Pair<T> pairs[] = {{direction, kSlots, g, kSlots}, {along, kSlots, g + derivatives, kSlots}};
        outer<T>(pairs, 2, d, width, lanes.count, of_ga + s.row * work.of_row(), width);
      }
    });
  });
}

/// The gradients of G and, with v, of G' in a block, of rank d for each term.
template <class T>
void seed(const Work<T>& work, const T* gu, const T* ga, const T* v, int count, Room<T>& room) {
  const int d = int(work.e.components), width = work.stack.width();
  T *left = room.left.data(), *right = room.right.data();
  const auto spread = [&](const Segment& s, const T* factors, int terms, T* to) {
    const Lanes<T> lanes(s);
    T* out = to + lanes.begin;
    times<T>({factors, 1, width}, width, terms, left, kSlots, lanes.count, {nullptr, out, nullptr, kSlots}, out, kSlots);
  };
  for (int m = 0; m < width; ++m) {
    std::fill(room.g.data() + m * kSlots, room.g.data() + m * kSlots + count, T(0));
    if (v) std::fill(room.h.data() + m * kSlots, room.h.data() + m * kSlots + count, T(0));
  }
  for (const Segment& s : room.segments) {
    const ptrdiff_t at = s.row * work.of_row();
    int terms = 0;
    const auto add = [&](const T* factors, const T* slots) {
      std::copy(factors + at, factors + at + work.of_row(), right + terms * width);
      cut_out<T>(s, slots, d, nullptr, left + terms * kSlots);
      terms += d;
    };
    if (gu) add(gu, room.r.data());
    if (v) add(ga, v);
    spread(s, right, terms, room.g.data());
    if (!v) continue;
    cut_out<T>(s, room.r.data(), d, v, left);
    spread(s, ga + at, d, room.h.data());
  }
}

template <class T, bool slope>
void gradients(const dp_embedding& e, const T* gu, const T* ga, const T* v, const T* kept) {
  const Work<T> work(e);
  const ptrdiff_t size = work.stack.parameters;
  Buffer<T> partial(work.plan.tasks() * size), of_slots;
  if (e.kinds) of_slots.resize(work.plan.first.back() * work.stack.layers.front().n_out);
  work.each_task([&](int64_t task, Room<T>& room) {
    T* grads = partial.data() + task * size;
    std::fill(grads, grads + size, T(0));
    work.template each_block<slope>(task, room, kept, nullptr, [&](const T* block, int count, int64_t begin, int64_t end) {
      if (v) work.gather(v, task, begin, end, room.v.data(), nullptr);
      seed<T>(work, gu, ga, v ? room.v.data() : nullptr, count, room);
      pull_stack<T, slope>(work.stack, count, block, room, grads);
      if (e.kinds) work.keep_shift(room, begin, end, of_slots.data());
    });
  });
  for (int64_t task = 1; task < work.plan.tasks(); ++task)
    for (ptrdiff_t k = 0; k < size; ++k) partial[k] += partial[task * size + k];
  if (e.kinds) work.sum_shift(of_slots.data());
  for (size_t k = 0; k < work.stack.layers.size(); ++k) {
    const auto& layer = work.stack.layers[k];
    const auto copy = [&](ptrdiff_t at, ptrdiff_t count, void* to) {
      if (at >= 0) std::copy(partial.data() + at, partial.data() + at + count, static_cast<T*>(to));
    };
    copy(layer.at_w, ptrdiff_t(layer.n_in) * layer.n_out, e.layer[k].grad_w);
    copy(layer.at_b, layer.n_out, e.layer[k].grad_b);
    copy(layer.at_idt, layer.n_out, e.layer[k].grad_idt);
  }
}

int64_t kept_size(const dp_embedding& e) {
  const int64_t slots = e.rows * e.slots, tasks = slots / kTaskSlots + 1;
  return (slots / kSlots + 1 + tasks) * Stack<double>(e.layer, e.layers).block();
}

}  // namespace

const dp::EmbeddingTable kEmbedding = {
    [](const dp_embedding* e) { return kept_size(*e); },
    [](const dp_embedding* e, void* a, void* kept) {
      by_type(e->float64, [&](auto x) {
        using T = decltype(x);
        sum<T>(*e, static_cast<T*>(a), static_cast<T*>(kept));
      });
    },
    [](const dp_embedding* e, const void* ga, const void* kept, void* gr) {
      by_type(e->float64, [&](auto x) {
        using T = decltype(x);
        slope<T>(*e, static_cast<const T*>(ga), static_cast<const T*>(kept), static_cast<T*>(gr));
      });
    },
    [](const dp_embedding* e, const void* v, const void* kept, void* of_ga) {
      by_type(e->float64, [&](auto x) {
        using T = decltype(x);
        transposed_slope<T>(*e, static_cast<const T*>(v), static_cast<const T*>(kept), static_cast<T*>(of_ga));
      });
    },
    [](const dp_embedding* e, const void* gu, const void* ga, const void* v, const void* kept) {
      by_type(e->float64, [&](auto x) {
        using T = decltype(x);
        const auto array = [](const void* p) { return static_cast<const T*>(p); };
        const auto run = v ? &gradients<T, true> : &gradients<T, false>;
        run(*e, array(gu), array(ga), array(v), array(kept));
      });
    },
};

}  // namespace DP_NAMESPACE
