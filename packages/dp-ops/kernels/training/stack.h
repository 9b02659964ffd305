// A stack of layers on one number, for as many slots as stay in the cache: value G and derivative G' by that number, and
// the gradients of both by the weights.
#pragma once

#include <algorithm>
#include <vector>

#include "gemm.h"
#include "training/products.h"
#include "training/training.h"

namespace DP_NAMESPACE {

/// Slots in the lanes of a block.
constexpr int kSlots = 96;

/// One layer with its weights and where its gradients are added.
template <class T>
struct StackLayer {
  int n_in, n_out, past;
  const T *w, *b, *idt;
  ptrdiff_t at_w, at_b, at_idt;  // places among all gradients; −1 for none
  int input, output, tanh;       // rows of a block where its input, output and tanh (before idt) begin
};

template <class T>
struct Stack {
  std::vector<StackLayer<T>> layers;
  ptrdiff_t parameters = 0;
  int features = 1;  // that a block holds: the number, then what every layer gives, and its tanh where this is scaled
  int widest = 0;

  Stack(const dp_train_layer* given, int64_t count) {
    auto place = [this](const void* present, ptrdiff_t size) {
      const ptrdiff_t at = present ? parameters : -1;
      if (present) parameters += size;
      return at;
    };
    int input = 0;
    for (const dp_train_layer* g = given; g < given + count; ++g) {
      const auto array = [](const void* p) { return static_cast<const T*>(p); };
      StackLayer<T> layer{int(g->n_in), int(g->n_out), int(g->past), array(g->w), array(g->b), array(g->idt),
                          place(g->w, g->n_in * g->n_out), place(g->b, g->n_out), place(g->idt, g->n_out),
                          input, features, features};
      features += layer.n_out;
      if (layer.idt) {
        layer.tanh = features;
        features += layer.n_out;
      }
      input = layer.output;
      layers.push_back(layer);
      widest = std::max(widest, layer.n_out);
    }
  }
  int width() const { return layers.back().n_out; }
  /// Numbers of a block, (2, features, kSlots): values, and derivatives by the number.
  ptrdiff_t block() const { return 2 * ptrdiff_t(features) * kSlots; }
  ptrdiff_t top() const { return ptrdiff_t(layers.back().output) * kSlots; }
};

/// Memory of a thread for gradients in one block. Arrays are (features, kSlots).
template <class T>
struct StackRoom {
  explicit StackRoom(const Stack<T>& stack)
      : g(stack.widest * kSlots), h(stack.widest * kSlots), next_g(stack.widest * kSlots),
        next_h(stack.widest * kSlots), gz(stack.widest * kSlots), gu(stack.widest * kSlots) {}
  Buffer<T> g, h;  // gradients of the output and of its derivative
  Buffer<T> next_g, next_h, gz, gu;  // in the end gz is that of what the first layer's tanh is taken of
};

constexpr int kSlopeRows = kManyRegisters ? 4 : 2;  // rows of a tile that has values and derivatives

/// `M` features of a layer from `o` on, for V vectors of slots from `s` on. shift: what is added before the tanh,
/// (n_out, kSlots), or null.
template <class T, bool slope, int M, int V>
inline void layer_tile(const StackLayer<T>& layer, int o, int s, T* block, ptrdiff_t derivatives, const T* shift) {
  constexpr int n = kLanes<T>;
  const T *x = block + layer.input * kSlots + s, *dx = x + derivatives;
  Vec<T> z[M][V], dz[M][V];
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 3
    for (int v = 0; v < V; ++v) {
      z[m][v] = broadcast<T>(layer.b ? layer.b[o + m] : T(0));
      if (shift) z[m][v] += load<T>(shift + (o + m) * kSlots + s + v * n);
      if (slope) dz[m][v] = Vec<T>{};
    }
  const T* w = layer.w + o;
  for (int i = 0; i < layer.n_in; ++i, w += layer.n_out, x += kSlots, dx += kSlots) {
    Vec<T> value[V], rate[V];
#pragma GCC unroll 3
    for (int v = 0; v < V; ++v) {
      value[v] = load<T>(x + v * n);
      if (slope) rate[v] = load<T>(dx + v * n);
    }
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      const Vec<T> factor = broadcast<T>(w[m]);
#pragma GCC unroll 3
      for (int v = 0; v < V; ++v) {
        z[m][v] += factor * value[v];
        if (slope) dz[m][v] += factor * rate[v];
      }
    }
  }
  T held[2][M][V * n];  // the registers are full
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 3
    for (int v = 0; v < V; ++v) {
      store<T>(held[0][m] + v * n, z[m][v]);
      if (slope) store<T>(held[1][m] + v * n, dz[m][v]);
    }
  for (int m = 0; m < M; ++m) {
    const Vec<T> scale = broadcast<T>(layer.idt ? layer.idt[o + m] : T(1));
    const T* past = layer.past ? block + (layer.input + (o + m) % layer.n_in) * kSlots + s : nullptr;
    T *out = block + (layer.output + o + m) * kSlots + s, *plain = block + (layer.tanh + o + m) * kSlots + s;
    for (int v = 0; v < V * n; v += n) {
      Vec<T> y = tanh_of<T>(load<T>(held[0][m] + v)), dy{};
      if (slope) dy = load<T>(held[1][m] + v) * (T(1) - y * y);
      if (layer.idt) {
        store<T>(plain + v, y);
        y *= scale;
        if (slope) {
          store<T>(plain + derivatives + v, dy);
          dy *= scale;
        }
      }
      store<T>(out + v, past ? y + load<T>(past + v) : y);
      if (slope) store<T>(out + derivatives + v, past ? dy + load<T>(past + derivatives + v) : dy);
    }
  }
}

template <class T, bool slope, int V, int... M>
inline void layer_rows(int rows, std::integer_sequence<int, M...>, const StackLayer<T>& layer, int o, int s, T* block,
                       ptrdiff_t derivatives, const T* shift) {
  (void)((rows == M + 1 && (layer_tile<T, slope, M + 1, V>(layer, o, s, block, derivatives, shift), true)) || ...);
}

/// The block of a network from its first row, which holds the number: G and, with `slope`, G'. shift: see layer_tile, of
/// the first layer.
template <class T, bool slope>
void run_stack(const Stack<T>& stack, int count, T* block, const T* shift) {
  constexpr int n = kLanes<T>, most = slope ? kSlopeRows : kTileRows;
  constexpr auto sizes = std::make_integer_sequence<int, most>{};
  const ptrdiff_t derivatives = ptrdiff_t(stack.features) * kSlots;
  if (slope) std::fill(block + derivatives, block + derivatives + count, T(1));
  for (const auto& layer : stack.layers) {
    const Parts parts(layer.n_out, most);
    for (int s = 0; s < count; s += 3 * n)
      for (int p = 0; p < parts.number; ++p) {
        const int o = parts.begin(p), rows = parts.begin(p + 1) - o;
        if (count - s >= 3 * n)
          layer_rows<T, slope, 3>(rows, sizes, layer, o, s, block, derivatives, shift);
        else if (count - s >= 2 * n)
          layer_rows<T, slope, 2>(rows, sizes, layer, o, s, block, derivatives, shift);
        else
          layer_rows<T, slope, 1>(rows, sizes, layer, o, s, block, derivatives, shift);
      }
    shift = nullptr;
  }
}

/// Gradients before a layer's tanh, room.gz and room.gu, from those of its output, g and h; adds those of b and idt.
template <class T, bool slope>
void pull_tanh(const StackLayer<T>& layer, int count, const T* block, ptrdiff_t derivatives, const T* g, const T* h,
               T* gz, T* gu, T* grads) {
  for (int o = 0; o < layer.n_out; ++o) {
    const Vec<T> scale = broadcast<T>(layer.idt ? layer.idt[o] : T(1));
    const T* out = block + (layer.tanh + o) * kSlots;
    const T* past = layer.past && !layer.idt ? block + (layer.input + o % layer.n_in) * kSlots : nullptr;
    const ptrdiff_t row = ptrdiff_t(o) * kSlots;
    Vec<T> of_b{}, of_idt{};
    for (int s = 0; s < count; s += kLanes<T>) {
      Vec<T> y = load<T>(out + s);
      if (past) y -= load<T>(past + s);
      const Vec<T> rate = T(1) - y * y, gy = load<T>(g + row + s);
      Vec<T> z = rate * (scale * gy);
      of_idt += gy * y;
      if (slope) {
        Vec<T> dy = load<T>(out + derivatives + s);
        if (past) dy -= load<T>(past + derivatives + s);
        const Vec<T> hy = load<T>(h + row + s), scaled = scale * hy;
        z -= T(2) * y * (dy * scaled);
        of_idt += hy * dy;
        store<T>(gu + row + s, rate * scaled);
      }
      store<T>(gz + row + s, z);
      of_b += z;
    }
    if (layer.b) grads[layer.at_b + o] += sum_of_lanes<T>(of_b);
    if (layer.idt) grads[layer.at_idt + o] += sum_of_lanes<T>(of_idt);
  }
}

/// Adds the gradients of the weights from those of G (room.g) and, with `slope`, of G' (room.h).
template <class T, bool slope>
void pull_stack(const Stack<T>& stack, int count, const T* block, StackRoom<T>& room, T* grads) {
  T *g = room.g.data(), *h = room.h.data(), *next_g = room.next_g.data(), *next_h = room.next_h.data();
  T *gz = room.gz.data(), *gu = room.gu.data();
  const ptrdiff_t derivatives = ptrdiff_t(stack.features) * kSlots;
  for (size_t k = stack.layers.size(); k-- > 0;) {
    const StackLayer<T>& layer = stack.layers[k];
    pull_tanh<T, slope>(layer, count, block, derivatives, g, h, gz, gu, grads);
    const T* x = block + layer.input * kSlots;
    const Pair<T> pairs[] = {{x, kSlots, gz, kSlots}, {x + derivatives, kSlots, gu, kSlots}};
    outer<T>(pairs, slope ? 2 : 1, layer.n_in, layer.n_out, count, grads + layer.at_w, layer.n_out);
    if (k == 0) break;
    const auto pass_on = [&](const T* from, const T* of_z, T* to) {
      const T* twice = layer.past == 2 ? from + layer.n_in * kSlots : nullptr;
      const Base<T> base{nullptr, layer.past ? from : nullptr, twice, kSlots};
      times<T>({layer.w, layer.n_out, 1}, layer.n_in, layer.n_out, of_z, kSlots, count, base, to, kSlots);
    };
    pass_on(g, gz, next_g);
    if (slope) pass_on(h, gu, next_h);
    std::swap(g, next_g);
    std::swap(h, next_h);
  }
}

}  // namespace DP_NAMESPACE
