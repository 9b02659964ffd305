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
};

template <class T>
struct Stack {
  std::vector<StackLayer<T>> layers;
  ptrdiff_t parameters = 0;
  int hidden = 0;   // numbers of all layers for a slot
  int widest = 0;

  Stack(const dp_layer* given, int64_t count) {
    auto place = [this](const void* present, ptrdiff_t size) {
      const ptrdiff_t at = present ? parameters : -1;
      if (present) parameters += size;
      return at;
    };
    for (const dp_layer* g = given; g < given + count; ++g) {
      const auto array = [](const void* p) { return static_cast<const T*>(p); };
      layers.push_back({int(g->n_in), int(g->n_out), int(g->past), array(g->w), array(g->b), array(g->idt),
                        place(g->w, g->n_in * g->n_out), place(g->b, g->n_out), place(g->idt, g->n_out)});
      hidden += int(g->n_out);
      widest = std::max(widest, int(g->n_out));
    }
  }
  int width() const { return layers.back().n_out; }
};

/// Memory of a thread for one block. Arrays are (features, kSlots).
template <class T>
struct StackRoom {
  explicit StackRoom(const Stack<T>& stack)
      : x((1 + stack.hidden) * kSlots), dx((1 + stack.hidden) * kSlots), own(2 * stack.hidden * kSlots),
        g(stack.widest * kSlots), h(stack.widest * kSlots), next_g(stack.widest * kSlots),
        next_h(stack.widest * kSlots), gz(stack.widest * kSlots), gu(stack.widest * kSlots) {}
  Buffer<T> x, dx;  // the input, then the output of every layer; their derivatives
  Buffer<T> own;    // tanh and its derivative where nobody keeps them
  Buffer<T> g, h;   // gradients of the output and of its derivative
  Buffer<T> next_g, next_h, gz, gu;
};

/// out = past(x) + y, where y (n_out) may be scaled by idt.
template <class T>
void add_past(const StackLayer<T>& layer, const T* x, const T* y, int count, T* out) {
  for (int o = 0; o < layer.n_out; ++o) {
    const T* from = layer.past ? x + o % layer.n_in * kSlots : nullptr;
    const Vec<T> scale = broadcast<T>(layer.idt ? layer.idt[o] : T(1));
    for (int s = 0; s < count; s += kLanes<T>) {
      const Vec<T> value = scale * load<T>(y + o * kSlots + s);
      store<T>(out + o * kSlots + s, from ? value + load<T>(from + s) : value);
    }
  }
}

/// G and, with `slope`, G' from the first rows of room.x, which hold the number. kept: (2 hidden, kSlots), tanh and its
/// derivative of every layer; with `known` it is read, else written.
template <class T>
void run_stack(const Stack<T>& stack, int count, bool slope, bool known, T* kept, StackRoom<T>& room) {
  T *x = room.x.data(), *dx = room.dx.data(), *y = kept, *dy = kept + stack.hidden * kSlots;
  std::fill(dx, dx + kSlots, T(1));
  for (const auto& layer : stack.layers) {
    const int size = layer.n_out * kSlots, past_in = layer.n_in * kSlots;
    if (!known) {
      const Strided<T> transposed{layer.w, 1, layer.n_out};
      times<T>(transposed, layer.n_out, layer.n_in, x, kSlots, count, layer.b, Start::zero, y, kSlots);
      if (slope) times<T>(transposed, layer.n_out, layer.n_in, dx, kSlots, count, nullptr, Start::zero, dy, kSlots);
      for (int s = 0; s < size; s += kSlots)
        for (int k = s; k < s + count; k += kLanes<T>) {
          const Vec<T> value = tanh_of<T>(load<T>(y + k));
          store<T>(y + k, value);
          if (slope) store<T>(dy + k, load<T>(dy + k) * (T(1) - value * value));
        }
    }
    add_past(layer, x, y, count, x + past_in);
    if (slope) add_past(layer, dx, dy, count, dx + past_in);
    x += past_in, dx += past_in, y += size, dy += size;
  }
}

/// Adds the gradients of the weights from those of G (room.g) and, with `slope`, of G' (room.h), after `run_stack`.
template <class T>
void pull_stack(const Stack<T>& stack, int count, bool slope, const T* kept, StackRoom<T>& room, T* grads) {
  T *g = room.g.data(), *h = room.h.data(), *next_g = room.next_g.data(), *next_h = room.next_h.data();
  T *gz = room.gz.data(), *gu = room.gu.data();
  int below = stack.hidden;  // features of the layers up to this one
  for (auto layer = stack.layers.rbegin(); layer != stack.layers.rend(); ++layer) {
    const int n_in = layer->n_in, n_out = layer->n_out;
    below -= n_out;
    const T *y = kept + below * kSlots, *dy = y + stack.hidden * kSlots;
    const ptrdiff_t input = (1 + below - n_in) * ptrdiff_t(kSlots);
    for (int o = 0; o < n_out; ++o) {
      const Vec<T> scale = broadcast<T>(layer->idt ? layer->idt[o] : T(1));
      Vec<T> of_b{}, of_idt{};
      for (int s = o * kSlots; s < o * kSlots + count; s += kLanes<T>) {
        const Vec<T> value = load<T>(y + s), rate = T(1) - value * value, gy = load<T>(g + s);
        Vec<T> z = rate * (scale * gy);
        of_idt += gy * value;
        if (slope) {
          const Vec<T> hy = load<T>(h + s), along = load<T>(dy + s);
          z -= T(2) * value * (along * (scale * hy));
          of_idt += hy * along;
          store<T>(gu + s, rate * (scale * hy));
        }
        store<T>(gz + s, z);
        of_b += z;
      }
      if (layer->b) grads[layer->at_b + o] += sum_of_lanes<T>(of_b);
      if (layer->idt) grads[layer->at_idt + o] += sum_of_lanes<T>(of_idt);
    }
    const Pair<T> pairs[] = {{room.x.data() + input, kSlots, gz, kSlots}, {room.dx.data() + input, kSlots, gu, kSlots}};
    outer<T>(pairs, slope ? 2 : 1, n_in, n_out, count, grads + layer->at_w, n_out);
    if (below == 0) break;
    for (int part = 0; part < (slope ? 2 : 1); ++part) {
      T *from = part ? h : g, *to = part ? next_h : next_g;
      for (int i = 0; i < n_in && layer->past; ++i)
        for (int s = i * kSlots; s < i * kSlots + count; s += kLanes<T>)
          store<T>(to + s, layer->past == 1 ? load<T>(from + s) : load<T>(from + s) + load<T>(from + n_in * kSlots + s));
      times<T>({layer->w, n_out, 1}, n_in, n_out, part ? gu : gz, kSlots, count, nullptr,
               layer->past ? Start::added : Start::zero, to, kSlots);
    }
    std::swap(g, next_g);
    std::swap(h, next_h);
  }
}

}  // namespace DP_NAMESPACE
