// Vectors of the width of the instruction set that this is compiled for, by the vector extensions of GCC and Clang, and
// functions of them. For a graphics processor a vector is one number.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "isa.h"

namespace DP_NAMESPACE {

#if defined(__CUDACC__)
#define DP_SCALAR 1
#elif defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

template <class T>
struct SimdOf;

#ifdef DP_SCALAR
template <>
struct SimdOf<double> {
  using Vector = double;
  using Bits = int64_t;
};
template <>
struct SimdOf<float> {
  using Vector = float;
  using Bits = int32_t;
};
template <class T>
constexpr int kLanes = 1;
#else
template <>
struct SimdOf<double> {
  typedef double Vector __attribute__((vector_size(kVectorBytes)));
  typedef int64_t Bits __attribute__((vector_size(kVectorBytes)));
};
template <>
struct SimdOf<float> {
  typedef float Vector __attribute__((vector_size(kVectorBytes)));
  typedef int32_t Bits __attribute__((vector_size(kVectorBytes)));
};
template <class T>
constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(T));
#endif

/// A vector of numbers, and one of integers of the same width.
template <class T>
using Vec = typename SimdOf<T>::Vector;
template <class T>
using VecBits = typename SimdOf<T>::Bits;

/// The next multiple of the number of lanes: rows of this length can be read in whole vectors.
template <class T>
DP_HD constexpr int64_t padded(int64_t n) {
  return (n + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
}

/// Whole vectors from and to any address.
template <class T>
DP_HD inline Vec<T> load(const T* p) {
  Vec<T> v;
  memcpy(&v, p, sizeof(v));
  return v;
}
template <class T>
DP_HD inline void store(T* p, Vec<T> v) {
  memcpy(p, &v, sizeof(v));
}

/// The first `count` numbers, then zeros; and back.
template <class T>
DP_HD inline Vec<T> load_part(const T* p, int64_t count) {
  T parts[kLanes<T>];
  for (int k = 0; k < kLanes<T>; ++k) parts[k] = k < count ? p[k] : T(0);
  return load(parts);
}
template <class T>
DP_HD inline void store_part(T* p, Vec<T> v, int64_t count) {
  T parts[kLanes<T>];
  store<T>(parts, v);
  for (int k = 0; k < kLanes<T>; ++k)
    if (k < count) p[k] = parts[k];
}

template <class T>
DP_HD inline Vec<T> broadcast(T x) {
#ifdef DP_SCALAR
  return x;
#else
  return x - Vec<T>{};  // by the compiler's rule that a number beside a vector is spread
#endif
}

template <class T>
DP_HD inline T lane(Vec<T> v, int k) {
#ifdef DP_SCALAR
  return v;
#else
  return v[k];
#endif
}

/// The sum of the lanes.
template <class T>
DP_HD inline T sum_of_lanes(Vec<T> v) {
#ifdef DP_SCALAR
  return v;
#else
  T parts[kLanes<T>];
  memcpy(parts, &v, sizeof(v));
  for (int half = kLanes<T> / 2; half > 0; half /= 2)
    for (int k = 0; k < half; ++k) parts[k] += parts[k + half];
  return parts[0];
#endif
}

/// Square roots, correctly rounded.
template <class T>
DP_HD inline Vec<T> square_root(Vec<T> x) {
#ifdef DP_SCALAR
  return sqrt(x);
#else
  T parts[kLanes<T>];
  memcpy(parts, &x, sizeof(x));
  for (int k = 0; k < kLanes<T>; ++k) parts[k] = std::sqrt(parts[k]);  // becomes one instruction
  return load(parts);
#endif
}

template <class T>
DP_HD inline VecBits<T> bits_of(Vec<T> v) {
  VecBits<T> b;
  memcpy(&b, &v, sizeof(b));
  return b;
}
template <class T>
DP_HD inline Vec<T> of_bits(VecBits<T> b) {
  Vec<T> v;
  memcpy(&v, &b, sizeof(v));
  return v;
}

/// Lane by lane. The comparisons are written so that NaN in `a` stays NaN.
template <class T>
DP_HD inline Vec<T> lower_of(Vec<T> a, Vec<T> b) {
  return a > b ? b : a;
}
template <class T>
DP_HD inline Vec<T> higher_of(Vec<T> a, Vec<T> b) {
  return a < b ? b : a;
}

/// The numbers in which a floating-point format differs from another.
template <class T>
struct Format;
template <>
struct Format<double> {
  static constexpr double kRound = 6755399441055744.0;  // 1.5·2^52: adding it rounds to an integer, in the low bits
  static constexpr int kMantissa = 52;
  static constexpr int64_t kBias = 1023;
  static constexpr double kLn2High = 0x1.62e42fefap-1, kLn2Low = 0x1.cf79abc9e3b3ap-40;
  static constexpr double kLowest = -708.0, kHighest = 709.0;
};
template <>
struct Format<float> {
  static constexpr float kRound = 12582912.0f;
  static constexpr int kMantissa = 23;
  static constexpr int32_t kBias = 127;
  static constexpr float kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
  static constexpr float kLowest = -87.0f, kHighest = 88.0f;
};

/// e^r − 1 for |r| ≤ ln 2 / 2, to the last digit relative to itself.
template <class T>
DP_HD inline Vec<T> expm1_near_zero(Vec<T> r) {
  Vec<T> p;
  if constexpr (sizeof(T) == 8) {
    p = broadcast<T>(T(1.0 / 6227020800.0));
    p = p * r + T(1.0 / 479001600.0);
    p = p * r + T(1.0 / 39916800.0);
    p = p * r + T(1.0 / 3628800.0);
    p = p * r + T(1.0 / 362880.0);
    p = p * r + T(1.0 / 40320.0);
    p = p * r + T(1.0 / 5040.0);
    p = p * r + T(1.0 / 720.0);
  } else {
    p = broadcast<T>(T(1.0 / 5040.0));
    p = p * r + T(1.0 / 720.0);
  }
  p = p * r + T(1.0 / 120.0);
  p = p * r + T(1.0 / 24.0);
  p = p * r + T(1.0 / 6.0);
  p = p * r + T(0.5);
  return p * r * r + r;
}

/// x = n·ln 2 + r; returns 2^n.
template <class T>
DP_HD inline Vec<T> reduce_exponent(Vec<T> x, Vec<T>& r) {
  using F = Format<T>;
  Vec<T> shifted = x * T(1.4426950408889634074) + F::kRound;
  Vec<T> n = shifted - F::kRound;
  r = x - n * F::kLn2High;
  r = r - n * F::kLn2Low;
  return of_bits<T>((bits_of<T>(shifted) + F::kBias) << F::kMantissa);
}

/// e^x. Exponents beyond the range of the format are cut to it, so that nothing overflows.
template <class T>
DP_HD inline Vec<T> exp_of(Vec<T> x) {
  using F = Format<T>;
  Vec<T> r;
  x = lower_of<T>(higher_of<T>(x, broadcast<T>(F::kLowest)), broadcast<T>(F::kHighest));
  Vec<T> scale = reduce_exponent<T>(x, r);
  return scale * expm1_near_zero<T>(r) + scale;
}

/// tanh x, accurate relative to itself also near zero.
template <class T>
DP_HD inline Vec<T> tanh_of(Vec<T> x) {
  Vec<T> size = x < T(0) ? -x : x;
  Vec<T> r, y = lower_of<T>(size, broadcast<T>(T(22))) * T(2);  // 1 to the last digit from there on
  Vec<T> scale = reduce_exponent<T>(y, r);
  Vec<T> less = scale * expm1_near_zero<T>(r) + (scale - T(1));  // e^2|x| − 1
  Vec<T> t = less / (less + T(2));
  return x < T(0) ? -t : t;
}

}  // namespace DP_NAMESPACE
