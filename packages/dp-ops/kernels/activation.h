// Activation functions with their slopes.
#pragma once

#include "dp_kernels.h"
#include "simd.h"

namespace DP_NAMESPACE {

/// An activation function, with the threshold of silut and its constants.
template <class T>
struct Activation {
  int kind = DP_LINEAR;
  T threshold = 0, slope = 0, offset = 0;

  Activation() = default;
  Activation(int kind, double at) : kind(kind), threshold(T(at)) {
    if (kind != DP_SILUT) return;
    const double sigma = 1.0 / (1.0 + std::exp(-at));
    slope = T(sigma + at * sigma * (1.0 - sigma));
    offset = T(at * sigma);
  }
};

template <class T>
DP_HD inline Vec<T> sigmoid_of(Vec<T> x) {
  return T(1) / (T(1) + exp_of<T>(-x));
}

/// The value; `slope` gets the derivative.
template <class T>
DP_HD inline Vec<T> activate(const Activation<T>& f, Vec<T> x, Vec<T>& slope) {
  const Vec<T> zero{}, one = broadcast<T>(T(1));
  switch (f.kind) {
    case DP_TANH: {
      const Vec<T> t = tanh_of<T>(x);
      slope = one - t * t;
      return t;
    }
    case DP_RELU:
      slope = x > zero ? one : zero;
      return x > zero ? x : zero;
    case DP_RELU6: {
      const Vec<T> six = broadcast<T>(T(6));
      const Vec<T> y = x > zero ? x : zero;
      slope = x > zero ? (x < six ? one : zero) : zero;
      return y < six ? y : six;
    }
    case DP_SOFTPLUS: {
      Vec<T> y;
      for (int k = 0; k < kLanes<T>; ++k) {
        const T at = lane<T>(x, k), e = std::log1p(std::exp(-std::abs(at))) + (at > T(0) ? at : T(0));
        memcpy(reinterpret_cast<char*>(&y) + k * sizeof(T), &e, sizeof(T));
      }
      slope = sigmoid_of<T>(x);
      return y;
    }
    case DP_SIGMOID: {
      const Vec<T> s = sigmoid_of<T>(x);
      slope = s * (one - s);
      return s;
    }
    case DP_GELU: {
      const T a = T(0.79788456080286535588), b = T(0.044715);
      const Vec<T> t = tanh_of<T>(a * (x + b * x * x * x));
      slope = T(0.5) * (one + t) + T(0.5) * x * (one - t * t) * (a * (one + T(3) * b * x * x));
      return T(0.5) * x * (one + t);
    }
    case DP_SILU:
    case DP_SILUT: {
      const Vec<T> s = sigmoid_of<T>(x);
      const Vec<T> y = x * s, dy = s + x * s * (one - s);
      if (f.kind == DP_SILU) {
        slope = dy;
        return y;
      }
      const Vec<T> t = tanh_of<T>(f.slope * (x - f.threshold)), at = broadcast<T>(f.threshold);
      slope = x < at ? dy : f.slope * (one - t * t);
      return x < at ? y : t + f.offset;
    }
    default:
      slope = one;
      return x;
  }
}

}  // namespace DP_NAMESPACE
