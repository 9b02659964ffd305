// Networks over blocks of rows: values, and the derivative by one input number or by all inputs.
#pragma once

#include <cstring>
#include <vector>

#include "activation.h"
#include "gemm.h"

namespace DP_NAMESPACE {

template <class T>
struct Layer {
  int64_t n_in = 0, n_out = 0, stride = 0;  // stride: of rows of outputs, whole vectors
  Packed<T> w, transposed;
  Buffer<T> b, idt;  // filled up with zeros
  Activation<T> activation;
  int skip = 0;

  Layer() = default;

  /// order: for each input, the row of w that belongs to it; empty for the order that they have.
  Layer(const dp_layer& from, const std::vector<int64_t>& order)
      : n_in(from.n_in),
        n_out(from.n_out),
        stride(padded<T>(n_out)),
        b(stride),
        idt(stride),
        activation(from.activation, from.threshold),
        skip(from.skip) {
    std::vector<T> rows(static_cast<size_t>(n_in * n_out));
    for (int64_t p = 0; p < n_in; ++p)
      for (int64_t j = 0; j < n_out; ++j)
        rows[static_cast<size_t>(p * n_out + j)] = T(from.w[(order.empty() ? p : order[size_t(p)]) * n_out + j]);
    w = Packed<T>(n_in, n_out, rows.data(), n_out, 1);
    transposed = Packed<T>(n_out, n_in, rows.data(), 1, n_out);
    for (int64_t j = 0; j < stride; ++j) {
      b[j] = from.b && j < n_out ? T(from.b[j]) : T(0);
      idt[j] = j < n_out ? (from.idt ? T(from.idt[j]) : T(1)) : T(0);
    }
  }

  /// From products x·w in y (m rows of `stride`) to outputs; `factor` gets the derivative by the products.
  void finish(int64_t m, const T* x, int64_t x_stride, T* y, T* factor) const {
    for (int64_t i = 0; i < m; ++i) {
      T* row = y + i * stride;
      for (int64_t j = 0; j < stride; j += kLanes<T>) {
        Vec<T> slope;
        const Vec<T> value = activate<T>(activation, load(row + j) + load(&b[j]), slope);
        store<T>(row + j, value * load(&idt[j]));
        store<T>(factor + i * stride + j, slope * load(&idt[j]));
      }
      for (int s = 0; s < skip; ++s)
        for (int64_t j = 0; j < n_in; ++j) row[s * n_in + j] += x[i * x_stride + j];
    }
  }
};

/// A fitting network, and memory of a thread for it.
template <class T>
struct Network {
  std::vector<Layer<T>> layers;

  Network() = default;
  Network(const dp_network& from, const std::vector<int64_t>& order) {
    for (int64_t l = 0; l < from.count; ++l) layers.emplace_back(from.layers[l], l ? std::vector<int64_t>{} : order);
  }

  struct Memory {
    std::vector<Buffer<T>> y, factor;
    Buffer<T> g, next, u;
  };

  /// The single output of m rows of x. Keeps in memory what `backward` needs.
  void forward(int64_t m, const T* x, int64_t stride, Memory& memory, T* out) const {
    memory.y.resize(std::max(memory.y.size(), layers.size()));
    memory.factor.resize(memory.y.size());
    for (size_t l = 0; l < layers.size(); ++l) {
      const Layer<T>& layer = layers[l];
      memory.y[l].resize(m * layer.stride);
      memory.factor[l].resize(m * layer.stride);
      T* y = memory.y[l].data();
      if (layer.n_out < layer.stride) std::memset(y, 0, static_cast<size_t>(m * layer.stride) * sizeof(T));
      gemm_packed(m, layer.n_out, layer.n_in, x, stride, 1, layer.w.panels.data(), y, layer.stride);
      layer.finish(m, x, stride, y, memory.factor[l].data());
      x = y, stride = layer.stride;
    }
    for (int64_t i = 0; i < m; ++i) out[i] = x[i * stride];
  }

  /// The derivative of the outputs by the inputs of the first layer, m rows of `stride`.
  void backward(int64_t m, Memory& memory, T* dx, int64_t stride) const {
    int64_t widest = padded<T>(1);
    for (const Layer<T>& layer : layers) widest = std::max(widest, layer.stride);
    for (Buffer<T>* buffer : {&memory.g, &memory.next, &memory.u}) buffer->resize(m * widest);
    T *g = memory.g.data(), *next = memory.next.data(), *u = memory.u.data();
    std::memset(g, 0, static_cast<size_t>(m * layers.back().stride) * sizeof(T));
    for (int64_t i = 0; i < m; ++i) g[i * layers.back().stride] = T(1);
    for (size_t l = layers.size(); l-- > 0;) {
      const Layer<T>& layer = layers[l];
      for (int64_t k = 0; k < m * layer.stride; k += kLanes<T>)
        store<T>(u + k, load(g + k) * load(&memory.factor[l][k]));
      T* to = l ? next : dx;
      const int64_t to_stride = l ? layers[l - 1].stride : stride;
      if (to_stride > layer.n_in) std::memset(to, 0, static_cast<size_t>(m * to_stride) * sizeof(T));
      gemm_packed(m, layer.n_in, layer.n_out, u, layer.stride, 1, layer.transposed.panels.data(), to, to_stride);
      for (int s = 0; s < layer.skip; ++s)
        for (int64_t i = 0; i < m; ++i)
          for (int64_t j = 0; j < layer.n_in; ++j) to[i * to_stride + j] += g[i * layer.stride + s * layer.n_in + j];
      std::swap(g, next);
    }
  }
};

}  // namespace DP_NAMESPACE
