// Products of small matrices: C (+)= A·B with m from 1 to some hundreds, and k and n of tens to some thousands.
//
// B is packed into panels as wide as the block of registers, filled up with zeros, so that the inner loop has whole
// vectors alone; weights are packed once and used for many blocks of rows. A is read where it is, with any strides, so it
// may be transposed.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <utility>

#include "simd.h"

namespace DP_NAMESPACE {

/// Numbers on a boundary of cache lines; not initialised.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(int64_t size) { resize(size); }
  /// Makes room; what was there is lost.
  void resize(int64_t size) {
    if (size <= size_) return;
    const size_t bytes = (static_cast<size_t>(size) * sizeof(T) + 127) / 64 * 64;
    size_ = 0;
    data_.reset(static_cast<T*>(std::aligned_alloc(64, bytes)));
    if (!data_) throw std::bad_alloc();
    size_ = size;
  }
  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  T& operator[](int64_t k) { return data_.get()[k]; }
  const T& operator[](int64_t k) const { return data_.get()[k]; }

 private:
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  std::unique_ptr<T[], Free> data_;
  int64_t size_ = 0;
};

constexpr int kPanelVectors = 3;  // vectors of C in a row of the block of registers
constexpr int kBlockRows = kVectorBytes == 64 ? 8 : 4;
constexpr int64_t kDepth = 256;  // rows of a panel that are used before others, so that they stay in the cache

/// Numbers in a row of a panel.
template <class T>
constexpr int64_t kPanel = kPanelVectors* kLanes<T>;

/// Room for a packed matrix of k rows and n columns.
template <class T>
constexpr int64_t packed_size(int64_t k, int64_t n) {
  return (n + kPanel<T> - 1) / kPanel<T> * kPanel<T> * k;
}

/// B[p·row_stride + j·column_stride], k rows and n columns, into `packed`: panel after panel, in each row after row.
template <class T>
void pack(int64_t k, int64_t n, const T* b, int64_t row_stride, int64_t column_stride, T* packed) {
  for (int64_t j0 = 0; j0 < n; j0 += kPanel<T>) {
    const int64_t width = std::min(kPanel<T>, n - j0);
    for (int64_t p = 0; p < k; ++p, packed += kPanel<T>) {
      const T* from = b + p * row_stride + j0 * column_stride;
      for (int64_t j = 0; j < width; ++j) packed[j] = from[j * column_stride];
      for (int64_t j = width; j < kPanel<T>; ++j) packed[j] = T(0);
    }
  }
}

/// C (rows × width) (+)= A (rows × k) · panel, width up to that of the panel.
template <class T, int rows, int vectors>
inline void multiply_block(int64_t k, const T* a, int64_t ars, int64_t acs, const T* panel, T* c, int64_t ldc,
                           int64_t width, bool add) {
  Vec<T> sum[rows][vectors];
  for (int i = 0; i < rows; ++i)
    for (int v = 0; v < vectors; ++v) sum[i][v] = Vec<T>{};
  for (int64_t p = 0; p < k; ++p, panel += kPanel<T>) {
    Vec<T> b[vectors];
    for (int v = 0; v < vectors; ++v) b[v] = load(panel + v * kLanes<T>);
    for (int i = 0; i < rows; ++i) {
      const T x = a[i * ars + p * acs];
      for (int v = 0; v < vectors; ++v) sum[i][v] += x * b[v];
    }
  }
  for (int i = 0; i < rows; ++i)
    for (int v = 0; v < vectors; ++v) {
      T* at = c + i * ldc + v * kLanes<T>;
      const int64_t left = std::min<int64_t>(kLanes<T>, width - v * kLanes<T>);
      if (left == kLanes<T>)
        store<T>(at, add ? load(at) + sum[i][v] : sum[i][v]);
      else if (left > 0)
        store_part<T>(at, add ? load_part(at, left) + sum[i][v] : sum[i][v], left);
    }
}

template <class T, int rows>
inline void multiply_rows(int64_t k, const T* a, int64_t ars, int64_t acs, const T* panel, T* c, int64_t ldc,
                          int64_t width, bool add) {
  const int64_t vectors = (width + kLanes<T> - 1) / kLanes<T>;
  if (vectors == 1)
    multiply_block<T, rows, 1>(k, a, ars, acs, panel, c, ldc, width, add);
  else if (vectors == 2)
    multiply_block<T, rows, 2>(k, a, ars, acs, panel, c, ldc, width, add);
  else
    multiply_block<T, rows, 3>(k, a, ars, acs, panel, c, ldc, width, add);
}

/// C (+)= A·B. A[i·ars + p·acs] is m × k, `packed` is B by `pack`, C has rows of `ldc`.
template <class T>
void gemm_packed(int64_t m, int64_t n, int64_t k, const T* a, int64_t ars, int64_t acs, const T* packed, T* c,
                 int64_t ldc, bool add = false) {
  for (int64_t p0 = 0; p0 < k; p0 += kDepth) {
    const int64_t depth = std::min(kDepth, k - p0);
    const bool more = add || p0 > 0;
    for (int64_t j0 = 0; j0 < n; j0 += kPanel<T>) {
      const T* panel = packed + j0 * k + p0 * kPanel<T>;
      const int64_t width = std::min(kPanel<T>, n - j0);
      const T* at = a + p0 * acs;
      T* out = c + j0;
      int64_t i = 0;
      for (; i + kBlockRows <= m; i += kBlockRows)
        multiply_rows<T, kBlockRows>(depth, at + i * ars, ars, acs, panel, out + i * ldc, ldc, width, more);
      for (; i + 2 <= m; i += 2)
        multiply_rows<T, 2>(depth, at + i * ars, ars, acs, panel, out + i * ldc, ldc, width, more);
      if (i < m) multiply_rows<T, 1>(depth, at + i * ars, ars, acs, panel, out + i * ldc, ldc, width, more);
    }
  }
}

/// A matrix that was packed, to be multiplied from the left many times.
template <class T>
struct Packed {
  int64_t k = 0, n = 0;
  Buffer<T> panels;

  Packed() = default;
  Packed(int64_t k, int64_t n, const T* b, int64_t row_stride, int64_t column_stride)
      : k(k), n(n), panels(packed_size<T>(k, n)) {
    pack(k, n, b, row_stride, column_stride, panels.data());
  }
};

}  // namespace DP_NAMESPACE
