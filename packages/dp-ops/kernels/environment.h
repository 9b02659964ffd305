// The neighbours of one row and their rows of the environment matrix R = (w/(r+p), w·d/(r+p)²), normalised.
#pragma once

#include <algorithm>
#include <vector>

#include "gemm.h"

namespace DP_NAMESPACE {

/// The neighbours of one row, those of one type together; the arrays are filled up to whole vectors.
template <class T>
struct Neighbors {
  struct Group {
    int64_t type, begin, end;
  };

  std::vector<Group> groups;
  std::vector<int64_t> slot;
  std::vector<int64_t> real;      // occupied slots by type, excluded ones too
  std::vector<int64_t> excluded;  // those that are excluded
  Buffer<T> data;
  int64_t count = 0, room = 0;

  // d: vectors, R: normalised rows, the switch w and its slope, 1/(r + p), 1/r; derivatives by R, by w and by d
  enum Field { kX, kY, kZ, kR0, kR1, kR2, kR3, kSwitch, kSwitchSlope, kInverse, kOverR, kBy0, kBy1, kBy2, kBy3,
               kBySwitch, kByNumber, kExtra0, kExtra1, kExtra2, kExtra3, kBySum0, kBySum1, kBySum2, kBySum3, kFields };

  T* operator[](int field) { return data.data() + field * room; }
  const T* operator[](int field) const { return data.data() + field * room; }
};

/// What the environment matrix of a descriptor depends on.
struct Environment {
  double rcut, rcut_smth, protection;
  int64_t ntypes;
  int columns;                     // 4, or 1 for the radial one alone
  std::vector<double> davg, dstd;  // (ntypes, columns)
  std::vector<uint8_t> excluded;   // (ntypes, ntypes), or empty
  bool by_type, cut;
  std::vector<int64_t> sel;
};

/// Picks the neighbours of a row of type `center` that count, the nearest in each block where there are too many.
template <class T>
void gather(const Environment& e, int64_t center, int64_t slots, const double* vectors, const int64_t* types,
            Neighbors<T>& to) {
  to.real.assign(static_cast<size_t>(e.ntypes), 0);
  to.excluded.assign(static_cast<size_t>(e.ntypes), 0);
  to.slot.clear();
  static thread_local std::vector<int64_t> chosen, start;
  chosen.clear();
  auto square = [&](int64_t k) {
    return vectors[3 * k] * vectors[3 * k] + vectors[3 * k + 1] * vectors[3 * k + 1] +
           vectors[3 * k + 2] * vectors[3 * k + 2];
  };
  bool grouped = true;
  for (int64_t k = 0; k < slots; ++k) {
    const int64_t type = types[k];
    if (type < 0 || (e.cut && square(k) > e.rcut * e.rcut)) continue;
    if (e.by_type && to.real[size_t(type)] >= e.sel[size_t(type)]) continue;
    grouped = grouped && (chosen.empty() || types[chosen.back()] <= type);
    ++to.real[size_t(type)];
    chosen.push_back(k);
  }
  if (!e.by_type && static_cast<int64_t>(chosen.size()) > e.sel[0]) {
    std::stable_sort(chosen.begin(), chosen.end(), [&](int64_t a, int64_t b) { return square(a) < square(b); });
    for (size_t k = size_t(e.sel[0]); k < chosen.size(); ++k) --to.real[size_t(types[chosen[k]])];
    chosen.resize(size_t(e.sel[0]));
    grouped = false;
  }
  if (!e.excluded.empty()) {
    auto out = [&](int64_t k) { return e.excluded[size_t(center * e.ntypes + types[k])] != 0; };
    for (int64_t k : chosen) to.excluded[size_t(types[k])] += out(k);
    chosen.erase(std::remove_if(chosen.begin(), chosen.end(), out), chosen.end());
  }
  to.groups.clear();
  to.count = static_cast<int64_t>(chosen.size());
  start.resize(size_t(e.ntypes));
  int64_t at = 0;
  for (int64_t type = 0; type < e.ntypes; ++type) {
    start[size_t(type)] = at;
    const int64_t here = to.real[size_t(type)] - to.excluded[size_t(type)];
    if (here) to.groups.push_back({type, at, at + here});
    at += here;
  }
  if (grouped) {
    to.slot.assign(chosen.begin(), chosen.end());
  } else {
    to.slot.resize(chosen.size());
    for (int64_t k : chosen) to.slot[size_t(start[size_t(types[k])]++)] = k;
  }
  to.room = padded<T>(std::max<int64_t>(to.count, 1));
  to.data.resize(to.room * Neighbors<T>::kFields);
  T *x = to[Neighbors<T>::kX], *y = to[Neighbors<T>::kY], *z = to[Neighbors<T>::kZ];
  for (int64_t k = 0; k < to.count; ++k) {
    const double* d = vectors + 3 * to.slot[size_t(k)];
    x[k] = T(d[0]), y[k] = T(d[1]), z[k] = T(d[2]);
  }
  for (int64_t k = to.count; k < to.room; ++k) x[k] = T(1), y[k] = z[k] = T(0);
}

/// Fills in the environment matrix of neighbours that were gathered.
template <class T>
void fill_environment(const Environment& e, int64_t center, Neighbors<T>& n) {
  using N = Neighbors<T>;
  const double *davg = &e.davg[size_t(center * e.columns)], *dstd = &e.dstd[size_t(center * e.columns)];
  T scale[4], shift[4];
  for (int c = 0; c < 4; ++c) {
    scale[c] = c < e.columns ? T(1 / dstd[c]) : T(0);
    shift[c] = c < e.columns ? T(davg[c] / dstd[c]) : T(0);
  }
  const T low = T(e.rcut_smth), per = T(1 / (e.rcut - e.rcut_smth)), protection = T(e.protection);
  const Vec<T> zero{}, one = broadcast<T>(T(1));
  for (int64_t k = 0; k < n.room; k += kLanes<T>) {
    const Vec<T> x = load(n[N::kX] + k), y = load(n[N::kY] + k), z = load(n[N::kZ] + k);
    const Vec<T> r = square_root<T>(x * x + y * y + z * z);
    Vec<T> u = (r - low) * per;
    u = lower_of<T>(higher_of<T>(u, zero), one);
    const Vec<T> w = one + u * u * u * (T(-10) + u * (T(15) - T(6) * u));
    const Vec<T> slope = T(-30) * per * u * u * (one - u) * (one - u);
    const Vec<T> inverse = one / (r + protection), radial = w * inverse, angular = radial * inverse;
    store<T>(n[N::kSwitch] + k, w);
    store<T>(n[N::kSwitchSlope] + k, slope);
    store<T>(n[N::kInverse] + k, inverse);
    store<T>(n[N::kOverR] + k, r > zero ? one / r : zero);
    store<T>(n[N::kR0] + k, radial * scale[0] - shift[0]);
    store<T>(n[N::kR1] + k, x * angular * scale[1] - shift[1]);
    store<T>(n[N::kR2] + k, y * angular * scale[2] - shift[2]);
    store<T>(n[N::kR3] + k, z * angular * scale[3] - shift[3]);
  }
}

/// From the derivatives by the rows of R (kBy0 …) and by the switch to those by the vectors, added to gradient (K, 3).
template <class T>
void environment_gradient(const Environment& e, int64_t center, Neighbors<T>& n, double* gradient) {
  using N = Neighbors<T>;
  const double* dstd = &e.dstd[size_t(center * e.columns)];
  T scale[4];
  for (int c = 0; c < 4; ++c) scale[c] = c < e.columns ? T(1 / dstd[c]) : T(0);
  for (int64_t k = 0; k < n.room; k += kLanes<T>) {
    const Vec<T> x = load(n[N::kX] + k), y = load(n[N::kY] + k), z = load(n[N::kZ] + k);
    const Vec<T> w = load(n[N::kSwitch] + k), slope = load(n[N::kSwitchSlope] + k), i = load(n[N::kInverse] + k);
    const Vec<T> b0 = load(n[N::kBy0] + k) * scale[0], b1 = load(n[N::kBy1] + k) * scale[1];
    const Vec<T> b2 = load(n[N::kBy2] + k) * scale[2], b3 = load(n[N::kBy3] + k) * scale[3];
    const Vec<T> along = b0 * (slope - w * i) * i + load(n[N::kBySwitch] + k) * slope +
                         (b1 * x + b2 * y + b3 * z) * (slope - T(2) * w * i) * i * i;
    const Vec<T> by_length = along * load(n[N::kOverR] + k), across = w * i * i;
    store<T>(n[N::kBy1] + k, by_length * x + across * b1);
    store<T>(n[N::kBy2] + k, by_length * y + across * b2);
    store<T>(n[N::kBy3] + k, by_length * z + across * b3);
  }
  for (int64_t k = 0; k < n.count; ++k) {
    double* g = gradient + 3 * n.slot[size_t(k)];
    g[0] += double(n[N::kBy1][k]), g[1] += double(n[N::kBy2][k]), g[2] += double(n[N::kBy3][k]);
  }
}

}  // namespace DP_NAMESPACE
