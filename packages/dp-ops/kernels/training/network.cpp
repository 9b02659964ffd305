// Networks of rows (the fitting networks): features lie side by side in the lanes.
#include <algorithm>
#include <vector>

#include "gemm.h"
#include "parallel.h"
#include "training/products.h"
#include "training/table.h"

namespace DP_NAMESPACE {
namespace {

/// Rows of a weight matrix, or columns of an output, that a thread takes at once.
constexpr int kChunk = 48;
/// Rows of a weight matrix that are multiplied before others, so that they stay in the cache.
constexpr int kDepthRows = 256;

/// A layer with weights whose rows have whole vectors.
template <class T>
struct Dense {
  int n_in, n_out, ld, past;
  bool linear;
  const T *w, *b, *idt;
  Buffer<T> own;         // w, where its rows had to be lengthened
  ptrdiff_t tanh, output;  // where a block has them, for one row

  Dense(const dp_train_layer& g, ptrdiff_t& numbers)
      : n_in(int(g.n_in)), n_out(int(g.n_out)), ld(int(padded<T>(g.n_out))), past(int(g.past)), linear(g.linear != 0),
        w(static_cast<const T*>(g.w)), b(static_cast<const T*>(g.b)), idt(static_cast<const T*>(g.idt)), tanh(numbers),
        output(numbers + ld) {
    numbers += 2 * ld;
    if (ld == n_out || !w) return;
    own.resize(int64_t(n_in) * ld);
    for (int i = 0; i < n_in; ++i) {
      std::copy(w + int64_t(i) * n_out, w + int64_t(i + 1) * n_out, own.data() + int64_t(i) * ld);
      std::fill(own.data() + int64_t(i) * ld + n_out, own.data() + int64_t(i + 1) * ld, T(0));
    }
    w = own.data();
  }
};

/// An array (rows, ld).
template <class T>
struct Rows {
  T* data;
  ptrdiff_t ld;
  T* row(int64_t k) const { return data + k * ld; }
};

/// c = x w + what c was where `added`.
template <class T>
void multiply(Rows<const T> x, int rows, const Dense<T>& layer, Rows<T> c) {
  const int panel = 3 * kLanes<T>;
  parallel_parts(layer.ld, panel, [&](int64_t begin, int64_t end, int) {
    for (int k = 0; k < layer.n_in; k += kDepthRows) {
      Base<T> base{};
      if (k) base.first = c.data + begin, base.ld = c.ld;
      times<T>({x.data + k, x.ld, 1}, rows, std::min(kDepthRows, layer.n_in - k), layer.w + int64_t(k) * layer.ld + begin,
               layer.ld, int(end - begin), base, c.data + begin, c.ld);
    }
  });
}

/// c += g wᵀ.
template <class T>
void multiply_transposed(Rows<const T> g, int rows, const Dense<T>& layer, Rows<T> c) {
  parallel_parts(layer.n_in, kChunk, [&](int64_t begin, int64_t end, int) {
    const Pair<T> pair{g.data, g.ld, layer.w + begin * layer.ld, layer.ld};
    outer<T>(&pair, 1, rows, int(end - begin), layer.ld, c.data + begin, c.ld);
  });
}

/// What goes past a layer: to (rows, n_in), the gradient of the output as far as it is that of the input.
template <class T>
void pass_by(Rows<const T> g, int64_t rows, const Dense<T>& layer, Rows<T> to) {
  for (int64_t r = 0; r < rows; ++r)
    for (int i = 0; i < layer.n_in; ++i) {
      const T* from = g.row(r) + i;
      to.row(r)[i] = layer.past == 0 ? T(0) : layer.past == 1 ? from[0] : from[0] + from[layer.n_in];
    }
}

template <class T>
struct Network {
  int rows;
  Rows<const T> x;
  std::vector<Dense<T>> layers;
  ptrdiff_t numbers = 0;  // of a block, for one row

  explicit Network(const dp_train_network& n) : rows(int(n.rows)), x{static_cast<const T*>(n.x), 0} {
    layers.reserve(n.layers);
    for (int64_t k = 0; k < n.layers; ++k) layers.emplace_back(n.layer[k], numbers);
    x.ld = layers.front().n_in;
  }
  template <class U>
  Rows<U> part(U* block, ptrdiff_t at, int ld) const {
    return {block + at * rows, ld};
  }
  /// The input of a layer; `first` is that of the network.
  Rows<const T> input(size_t k, Rows<const T> first, const T* block) const {
    return k == 0 ? first : part<const T>(block, layers[k - 1].output, layers[k - 1].ld);
  }
  int widest() const {
    int most = 0;
    for (const auto& layer : layers) most = std::max({most, layer.ld, int(padded<T>(layer.n_in))});
    return most;
  }
};

/// Value or, with `along`, derivative of the value in a direction: a block from the input.
template <class T, bool along>
void run(const Network<T>& net, Rows<const T> first, const T* kept, T* block, T* out) {
  for (size_t k = 0; k < net.layers.size(); ++k) {
    const Dense<T>& layer = net.layers[k];
    const Rows<const T> x = net.input(k, first, block);
    const Rows<T> y = net.part(block, layer.tanh, layer.ld), next = net.part(block, layer.output, layer.ld);
    multiply(x, net.rows, layer, y);
    const Rows<const T> value = net.part(kept, layer.tanh, layer.ld);
    Buffer<T> added(layer.ld);
    std::fill(added.data(), added.data() + layer.ld, T(0));
    if (layer.b && !along) std::copy(layer.b, layer.b + layer.n_out, added.data());
    for (int r = 0; r < net.rows; ++r) {
      for (int o = 0; o < layer.ld; o += kLanes<T>) {
        Vec<T> z = load<T>(y.row(r) + o) + load<T>(added.data() + o);
        if (!layer.linear) {
          if (along) {
            const Vec<T> t = load<T>(value.row(r) + o);
            z *= T(1) - t * t;
          } else {
            z = tanh_of<T>(z);
          }
        }
        store<T>(y.row(r) + o, z);
        store<T>(next.row(r) + o, z);
      }
      for (int o = 0; o < layer.n_out && (layer.idt || layer.past); ++o)
        next.row(r)[o] = y.row(r)[o] * (layer.idt ? layer.idt[o] : T(1)) + (layer.past ? x.row(r)[o % layer.n_in] : T(0));
    }
  }
  const Dense<T>& last = net.layers.back();
  const Rows<const T> y = net.template part<const T>(block, last.output, last.ld);
  for (int r = 0; r < net.rows; ++r) std::copy(y.row(r), y.row(r) + last.n_out, out + int64_t(r) * last.n_out);
}

/// A gradient of the output, in whole vectors; zeros where there is none.
template <class T>
Rows<T> widened(const T* g, int rows, const Dense<T>& last, Buffer<T>& room) {
  const Rows<T> out{room.data(), last.ld};
  std::fill(room.data(), room.data() + int64_t(rows) * last.ld, T(0));
  for (int r = 0; r < rows && g; ++r) std::copy(g + r * last.n_out, g + (r + 1) * last.n_out, out.row(r));
  return out;
}

/// gz = idt · (1 − y²) · g − 2 y · dy · idt · h, gu = idt · (1 − y²) · h; h and dy may be null.
template <class T>
void pull_tanh(const Dense<T>& layer, int rows, Rows<const T> y, Rows<const T> dy, Rows<const T> g, Rows<const T> h,
               Rows<T> gz, Rows<T> gu) {
  Buffer<T> scale(layer.ld);
  std::fill(scale.data(), scale.data() + layer.ld, T(1));
  if (layer.idt) std::copy(layer.idt, layer.idt + layer.n_out, scale.data());
  for (int r = 0; r < rows; ++r)
    for (int o = 0; o < layer.ld; o += kLanes<T>) {
      const Vec<T> t = load<T>(y.row(r) + o), idt = load<T>(scale.data() + o);
      const Vec<T> rate = layer.linear ? idt : idt * (T(1) - t * t);
      Vec<T> z = rate * load<T>(g.row(r) + o);
      if (h.data) {
        const Vec<T> along = load<T>(h.row(r) + o);
        if (!layer.linear) z -= T(2) * t * load<T>(dy.row(r) + o) * (idt * along);
        store<T>(gu.row(r) + o, rate * along);
      }
      store<T>(gz.row(r) + o, z);
    }
}

/// Gradients of b and idt; dy and h may be null.
template <class T>
void small_gradients(const Dense<T>& layer, const dp_train_layer& to, int rows, Rows<const T> y, Rows<const T> dy,
                     Rows<const T> g, Rows<const T> h, Rows<const T> gz) {
  for (int o = 0; o < layer.n_out && (layer.b || layer.idt); ++o) {
    T of_b = 0, of_idt = 0;
    for (int r = 0; r < rows; ++r) {
      of_b += gz.row(r)[o];
      if (layer.idt) of_idt += g.row(r)[o] * y.row(r)[o] + (h.data ? h.row(r)[o] * dy.row(r)[o] : T(0));
    }
    if (layer.b) static_cast<T*>(to.grad_b)[o] = of_b;
    if (layer.idt) static_cast<T*>(to.grad_idt)[o] = of_idt;
  }
}

/// The gradient of w: xᵀ gz + dxᵀ gu; dx may be null.
template <class T>
void weight_gradient(const Dense<T>& layer, int rows, Rows<const T> x, Rows<const T> dx, Rows<const T> gz,
                     Rows<const T> gu, T* out) {
  parallel_parts(layer.n_in, kChunk, [&](int64_t begin, int64_t end, int) {
    const int size = int(end - begin);
    const bool direct = layer.ld == layer.n_out;
    static thread_local Buffer<T> room;
    if (!direct) room.resize(int64_t(kChunk) * layer.ld);
    T* to = direct ? out + begin * layer.ld : room.data();
    times<T>({x.data + begin, 1, x.ld}, size, rows, gz.data, gz.ld, layer.ld, {}, to, layer.ld);
    if (dx.data)
      times<T>({dx.data + begin, 1, dx.ld}, size, rows, gu.data, gu.ld, layer.ld, {nullptr, to, nullptr, layer.ld}, to,
               layer.ld);
    for (int i = 0; i < size && !direct; ++i)
      std::copy(to + i * layer.ld, to + i * layer.ld + layer.n_out, out + (begin + i) * layer.n_out);
  });
}

/// Gradients of x and, with `weights`, of the weights, of Σ gu · y + Σ gy · (derivative of y along v).
template <class T>
void pull(const Network<T>& net, const dp_train_layer* weights, const T* gu, const T* gy, const T* v, const T* kept,
          const T* tangents, T* gx) {
  const int64_t size = int64_t(net.rows) * net.widest();
  Buffer<T> room[6];
  for (auto& r : room) r.resize(size);
  Buffer<T> *of_g = &room[0], *next_g = &room[1], *of_h = &room[2], *next_h = &room[3];
  const Dense<T>& last = net.layers.back();
  Rows<T> g = widened(gu, net.rows, last, *of_g), h{nullptr, 0};
  if (tangents) h = widened(gy, net.rows, last, *of_h);
  const auto fixed = [](Rows<T> a) { return Rows<const T>{a.data, a.ld}; };
  for (size_t k = net.layers.size(); k-- > 0;) {
    const Dense<T>& layer = net.layers[k];
    const Rows<const T> y = net.part(kept, layer.tanh, layer.ld);
    const Rows<const T> dy = tangents ? net.part(tangents, layer.tanh, layer.ld) : Rows<const T>{nullptr, 0};
    const Rows<T> gz{room[4].data(), layer.ld}, gu_here{room[5].data(), layer.ld};
    pull_tanh<T>(layer, net.rows, y, dy, fixed(g), fixed(h), gz, gu_here);
    if (weights) {
      small_gradients<T>(layer, weights[k], net.rows, y, dy, fixed(g), fixed(h), fixed(gz));
      const Rows<const T> dx = tangents ? net.input(k, {v, net.x.ld}, tangents) : Rows<const T>{nullptr, 0};
      weight_gradient<T>(layer, net.rows, net.input(k, net.x, kept), dx, fixed(gz), fixed(gu_here),
                         static_cast<T*>(weights[k].grad_w));
    }
    const int below = k ? net.layers[k - 1].ld : layer.n_in;
    const Rows<T> to{k ? next_g->data() : gx, below};
    if (k) std::fill(to.data, to.data + int64_t(net.rows) * below, T(0));
    pass_by<T>(fixed(g), net.rows, layer, to);
    multiply_transposed<T>(fixed(gz), net.rows, layer, to);
    if (k && tangents) {
      const Rows<T> to_h{next_h->data(), below};
      std::fill(to_h.data, to_h.data + int64_t(net.rows) * below, T(0));
      pass_by<T>(fixed(h), net.rows, layer, to_h);
      multiply_transposed<T>(fixed(gu_here), net.rows, layer, to_h);
      h = to_h;
      std::swap(of_h, next_h);
    }
    g = to;
    std::swap(of_g, next_g);
  }
}

template <class T>
const T* numbers(const void* p) {
  return static_cast<const T*>(p);
}

}  // namespace

const dp::NetworkTable kNetwork = {
    [](const dp_train_network* n) {
      return by_type(n->float64, [&](auto x) -> int64_t {
        int64_t numbers = 0;
        for (int64_t k = 0; k < n->layers; ++k) numbers += 2 * padded<decltype(x)>(n->layer[k].n_out);
        return numbers * n->rows;
      });
    },
    [](const dp_train_network* n, void* y, void* kept) {
      by_type(n->float64, [&](auto x) {
        using T = decltype(x);
        const Network<T> net(*n);
        run<T, false>(net, net.x, static_cast<T*>(kept), static_cast<T*>(kept), static_cast<T*>(y));
      });
    },
    [](const dp_train_network* n, const void* gy, const void* kept, void* gx) {
      by_type(n->float64, [&](auto x) {
        using T = decltype(x);
        pull<T>(Network<T>(*n), nullptr, numbers<T>(gy), nullptr, nullptr, numbers<T>(kept), nullptr,
                static_cast<T*>(gx));
      });
    },
    [](const dp_train_network* n, const void* v, const void* kept, void* of_gy, void* tangents) {
      by_type(n->float64, [&](auto x) {
        using T = decltype(x);
        const Network<T> net(*n);
        run<T, true>(net, {numbers<T>(v), net.x.ld}, numbers<T>(kept), static_cast<T*>(tangents),
                     static_cast<T*>(of_gy));
      });
    },
    [](const dp_train_network* n, const void* gu, const void* gy, const void* v, const void* kept, const void* tangents,
       void* gx) {
      by_type(n->float64, [&](auto x) {
        using T = decltype(x);
        pull<T>(Network<T>(*n), n->layer, numbers<T>(gu), numbers<T>(gy), numbers<T>(v), numbers<T>(kept),
                numbers<T>(tangents), static_cast<T*>(gx));
      });
    },
};

}  // namespace DP_NAMESPACE
