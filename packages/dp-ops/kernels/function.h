// Functions of one number with many values: embedding networks and the tables of compressed models.
//
// Sums Σ_k c_k F(s_k) over neighbours are what descriptors need, and not F itself. Where F is smooth it is a polynomial
// of degree 7 on short intervals, as exactly as its own rounding: coefficients are made when the function is first
// needed and checked between the nodes. Neighbours of one interval then share one product with its coefficients, and
// what is left to do for each of them does not depend on the width of F. A function that is not smooth enough (relu),
// or a number out of the range, is evaluated itself.
#pragma once

#include <cmath>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "network.h"

namespace DP_NAMESPACE {

constexpr int kTerms = 8;  // coefficients of a polynomial

/// Layers that several functions have in common.
class SharedLayers {
 public:
  std::shared_ptr<const std::vector<Layer<double>>> layers_of(const dp_network& network) {
    auto& found = known_[network.layers];
    if (!found) {
      auto made = std::make_shared<std::vector<Layer<double>>>();
      for (int64_t l = 0; l < network.count; ++l) made->emplace_back(network.layers[l], std::vector<int64_t>{});
      found = made;
    }
    return found;
  }

 private:
  std::map<const dp_layer*, std::shared_ptr<const std::vector<Layer<double>>>> known_;
};

/// Evaluates a network or a table, value and slope, in double precision.
class Exact {
 public:
  int64_t width = 0, stride = 0;

  Exact(const dp_function& from, int64_t width, SharedLayers& shared) : width(width), stride(padded<double>(width)) {
    if (from.table) {
      table_.assign(from.table, from.table + from.rows * width * 6);
      rows_ = from.rows;
      least_ = from.least, lower_ = from.lower, upper_ = from.upper, most_ = from.most;
      fine_ = from.fine, coarse_ = from.coarse;
      return;
    }
    first_ = Layer<double>(from.first, {});
    layers_ = shared.layers_of(from.network);
    const int64_t n = first_.stride, used = first_.n_out;
    slopes_.assign(static_cast<size_t>(3 * n), 0.0);
    for (int64_t j = 0; j < used; ++j) {
      slopes_[size_t(j)] = from.first.w[j];
      slopes_[size_t(n + j)] = from.first_slope ? from.first_slope[j] : 0.0;
      slopes_[size_t(2 * n + j)] = from.first_offset ? from.first_offset[j] : 0.0;
    }
  }

  bool is_table() const { return !table_.empty(); }
  double lower() const { return lower_; }
  double upper() const { return upper_; }
  double fine() const { return fine_; }

  /// Values and slopes of n numbers, n rows of `stride` each; the slopes follow the values.
  void operator()(int64_t n, const double* x, Buffer<double>& out) const {
    out.resize(2 * n * stride);
    if (is_table()) {
      for (int64_t i = 0; i < n; ++i) look_up(x[i], &out[i * stride], &out[(n + i) * stride]);
      return;
    }
    static thread_local Buffer<double> other;
    Buffer<double>*from = &other, *to = &out;
    // the buffers alternate, so that the last layer writes to out
    if (layers_->size() % 2 == 0) std::swap(from, to);
    begin(n, x, *from);
    int64_t of_from = first_.stride;
    for (const Layer<double>& layer : *layers_) {
      to->resize(2 * n * layer.stride);
      next(layer, of_from, n, from->data(), to->data());
      of_from = layer.stride;
      std::swap(from, to);
    }
  }

 private:
  void begin(int64_t n, const double* x, Buffer<double>& to) const {
    const Layer<double>& layer = first_;
    to.resize(2 * n * layer.stride);
    double* y = to.data();
    const double *w = slopes_.data(), *u = w + layer.stride, *v = u + layer.stride;
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < layer.stride; j += kLanes<double>) {
        Vec<double> slope;
        const Vec<double> value = activate<double>(layer.activation, x[i] * load(w + j) + load(&layer.b[j]), slope);
        store<double>(y + i * layer.stride + j, value * load(&layer.idt[j]) + x[i] * load(u + j) + load(v + j));
        store<double>(y + (n + i) * layer.stride + j, slope * load(&layer.idt[j]) * load(w + j) + load(u + j));
      }
  }

  void next(const Layer<double>& layer, int64_t x_stride, int64_t n, const double* x, double* y) const {
    if (layer.n_out < layer.stride) std::memset(y, 0, static_cast<size_t>(2 * n * layer.stride) * sizeof(double));
    gemm_packed(2 * n, layer.n_out, layer.n_in, x, x_stride, 1, layer.w.panels.data(), y, layer.stride);
    for (int64_t i = 0; i < n; ++i) {
      double *value = y + i * layer.stride, *slope = y + (n + i) * layer.stride;
      for (int64_t j = 0; j < layer.stride; j += kLanes<double>) {
        Vec<double> by;
        const Vec<double> f = activate<double>(layer.activation, load(value + j) + load(&layer.b[j]), by);
        store<double>(value + j, f * load(&layer.idt[j]));
        store<double>(slope + j, by * load(&layer.idt[j]) * load(slope + j));
      }
      for (int s = 0; s < layer.skip; ++s)
        for (int64_t j = 0; j < layer.n_in; ++j) {
          value[s * layer.n_in + j] += x[i * x_stride + j];
          slope[s * layer.n_in + j] += x[(n + i) * x_stride + j];
        }
    }
  }

  /// Linear beyond the ends, as the format says.
  void look_up(double x, double* value, double* slope) const {
    const auto steps = [](double length, double step) { return static_cast<int64_t>(length / step + 1e-9); };
    const int64_t before = steps(lower_ - least_, coarse_), until = before + steps(upper_ - lower_, fine_);
    int64_t first = 0;  // row of the part of the table that x is in
    double start = least_, step = coarse_, at = x, beyond = 0.0;
    if (!(x >= least_)) {
      at = least_, beyond = x - least_;
      if (before == 0) step = fine_;
    } else if (x >= upper_) {
      first = until, start = upper_;
      if (x >= most_) at = most_, beyond = x - most_;
    } else if (x >= lower_) {
      first = before, start = lower_, step = fine_;
    }
    const int64_t row = x < most_ ? std::min(first + static_cast<int64_t>((at - start) / step), rows_ - 1) : rows_ - 1;
    start += static_cast<double>(row - first) * step;
    const double d = at - start;
    const double* a = table_.data() + row * width * 6;
    for (int64_t m = 0; m < width; ++m, a += 6) {
      const double by = a[1] + d * (2 * a[2] + d * (3 * a[3] + d * (4 * a[4] + d * 5 * a[5])));
      value[m] = a[0] + d * (a[1] + d * (a[2] + d * (a[3] + d * (a[4] + d * a[5])))) + by * beyond;
      slope[m] = by;
    }
    for (int64_t m = width; m < stride; ++m) value[m] = slope[m] = 0.0;
  }

  Layer<double> first_;
  std::vector<double> slopes_;  // w, slope and offset of the first layer, each of its stride
  std::shared_ptr<const std::vector<Layer<double>>> layers_;
  std::vector<double> table_;
  int64_t rows_ = 0;
  double least_ = 0, lower_ = 0, upper_ = 0, most_ = 0, fine_ = 1, coarse_ = 1;
};

/// A polynomial of some terms in t, by which several numbers are evaluated: coefficients packed as the right factor of a
/// product (terms rows), and their transpose (width, kTerms), which only those of kTerms have.
template <class T>
struct Coefficients {
  const T* panels;
  const T* transposed;
  int terms;
};

template <class T>
class Function {
 public:
  int64_t width, stride;

  /// low, high: the range of numbers that are common. most_bytes: the memory that its polynomials may have.
  Function(const dp_function& from, int64_t width, double low, double high, double most_bytes, SharedLayers& shared)
      : width(width),
        stride(padded<T>(width)),
        exact_(from, width, shared),
        low_(low),
        high_(high),
        most_bytes_(most_bytes) {
    if (!exact_.is_table()) return;
    // the pieces of a table end where intervals end
    low_ = exact_.lower() + std::max(0.0, std::floor((low - exact_.lower()) / exact_.fine())) * exact_.fine();
    high_ = std::min(high, exact_.upper());
  }

  const Exact& exact() const { return exact_; }

  /// Makes the polynomials, if that was not done yet.
  void prepare() const {
    std::call_once(once_, [this] { tabulate(); });
  }

  /// The interval of x, −1 where there is none; t: the place in it, from −1 to 1, of which the slope is `scale()`.
  int64_t interval(T x, T& t) const {
    const T at = (x - T(low_)) * per_;
    if (!(at >= T(0) && at < T(count_))) return -1;
    const int64_t k = static_cast<int64_t>(at);
    t = T(2) * (at - T(k)) - T(1);
    return k;
  }
  T scale() const { return T(2) * per_; }
  Coefficients<T> coefficients(int64_t k) const {
    return {&panels_[k * packed_size<T>(kTerms, width)], &transposed_[k * width * kTerms], kTerms};
  }

  /// How large are the coefficients (2 terms) by `itself`.
  static int64_t own_size(int64_t width) { return packed_size<T>(2, width); }

  /// Value and slope at n numbers as coefficients of 2 terms.
  void itself(int64_t n, const T* x, T* panels) const {
    static thread_local Buffer<double> numbers, found;
    static thread_local Buffer<T> rows;
    numbers.resize(n);
    rows.resize(2 * width);
    for (int64_t i = 0; i < n; ++i) numbers[i] = x[i];
    exact_(n, numbers.data(), found);
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t m = 0; m < width; ++m) {
        rows[m] = T(found[i * exact_.stride + m]);
        rows[width + m] = T(found[(n + i) * exact_.stride + m]);
      }
      pack(2, width, rows.data(), width, 1, panels + i * own_size(width));
    }
  }

 private:
  void tabulate() const {
    static constexpr double kSteps[] = {0.2, 0.1, 0.05, 0.02, 0.01};
    if (!(high_ > low_)) return;
    for (double of : kSteps) {
      const double step = exact_.is_table() ? of * exact_.fine() / 0.01 : of;
      const double count = std::ceil((high_ - low_) / step - 1e-9);
      if (count * static_cast<double>(packed_size<T>(kTerms, width) + width * kTerms) * sizeof(T) > most_bytes_) return;
      if (try_step(step, static_cast<int64_t>(count))) return;
    }
  }

  bool try_step(double step, int64_t count) const {
    static constexpr int kChecks = 9;
    // where the polynomial that is 0 at the nodes is largest: the extrema of T8, of which two are the ends
    static constexpr double kBetween[kChecks] = {-1.0,    -0.92388, -0.70711, -0.38268, 0.0,
                                                 0.38268, 0.70711,  0.92388,  0.999999};
    const double strict = sizeof(T) == 8 ? 1e-13 : 1e-8, strict_slope = sizeof(T) == 8 ? 2e-11 : 1e-6;
    double nodes[kTerms], inverse[kTerms][kTerms];
    interpolation(nodes, inverse);
    Buffer<double> found, checked;
    std::vector<double> rows(static_cast<size_t>(kTerms * width));
    std::vector<T> rounded(rows.size());
    panels_.resize(count * packed_size<T>(kTerms, width));
    transposed_.resize(count * width * kTerms);
    double error = 0, error_slope = 0, largest = 0, largest_slope = 0;
    for (int64_t k = 0; k < count; ++k) {
      const double middle = low_ + (static_cast<double>(k) + 0.5) * step;
      double x[kTerms], y[kChecks];
      for (int i = 0; i < kTerms; ++i) x[i] = middle + 0.5 * step * nodes[i];
      for (int i = 0; i < kChecks; ++i) y[i] = middle + 0.5 * step * kBetween[i];
      exact_(kTerms, x, found);
      exact_(kChecks, y, checked);
      for (int64_t m = 0; m < width; ++m) {
        double c[kTerms];
        for (int j = 0; j < kTerms; ++j) {
          c[j] = 0;
          for (int i = 0; i < kTerms; ++i) c[j] += inverse[j][i] * found[i * exact_.stride + m];
          rows[static_cast<size_t>(j * width + m)] = c[j];
        }
        for (int i = 0; i < kChecks; ++i) {
          double value = 0, slope = 0;
          for (int j = kTerms; j-- > 0;) slope = slope * kBetween[i] + value, value = value * kBetween[i] + c[j];
          const double expected = checked[i * exact_.stride + m], by = checked[(kChecks + i) * exact_.stride + m];
          error = std::max(error, std::abs(value - expected)), largest = std::max(largest, std::abs(expected));
          error_slope = std::max(error_slope, std::abs(slope * 2 / step - by));
          largest_slope = std::max(largest_slope, std::abs(by));
        }
      }
      for (size_t i = 0; i < rows.size(); ++i) rounded[i] = T(rows[i]);
      pack(kTerms, width, rounded.data(), width, 1, &panels_[k * packed_size<T>(kTerms, width)]);
      for (int64_t m = 0; m < width; ++m)
        for (int j = 0; j < kTerms; ++j)
          transposed_[(k * width + m) * kTerms + j] = rounded[static_cast<size_t>(j * width + m)];
    }
    if (!(error <= strict * largest && error_slope <= strict_slope * largest_slope)) return false;
    count_ = count, per_ = T(1 / step);
    return true;
  }

  /// The nodes of Chebyshev, and the matrix from values there to coefficients.
  static void interpolation(double (&nodes)[kTerms], double (&inverse)[kTerms][kTerms]) {
    for (int i = 0; i < kTerms; ++i) nodes[i] = std::cos(3.14159265358979323846 * (i + 0.5) / kTerms);
    for (int i = 0; i < kTerms; ++i) {  // the polynomial that is 1 at node i and 0 at the others
      long double c[kTerms] = {1.0L}, below = 1.0L;
      int degree = 0;
      for (int q = 0; q < kTerms; ++q) {
        if (q == i) continue;
        below *= static_cast<long double>(nodes[i]) - nodes[q];
        ++degree;
        for (int j = degree; j >= 0; --j) c[j] = (j ? c[j - 1] : 0.0L) - nodes[q] * (j < degree ? c[j] : 0.0L);
      }
      for (int j = 0; j < kTerms; ++j) inverse[j][i] = static_cast<double>(c[j] / below);
    }
  }

  Exact exact_;
  double low_, high_, most_bytes_;
  mutable std::once_flag once_;
  mutable Buffer<T> panels_, transposed_;
  mutable int64_t count_ = 0;
  mutable T per_ = 1;
};

}  // namespace DP_NAMESPACE
