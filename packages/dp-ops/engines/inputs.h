// The arrays of a table in the order in which a frozen graph takes them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "runtime/engine.h"

namespace dp {

/// A view of one array.
struct Input {
  const void* data;
  bool integers;  // int64, else float64
  int dimensions;
  int64_t sizes[3];

  int64_t count() const { return std::accumulate(sizes, sizes + dimensions, int64_t{1}, std::multiplies<int64_t>()); }
  size_t bytes() const { return static_cast<size_t>(count()) * sizeof(double); }
};

/// Views of the arrays of a table, which must outlive them.
class Inputs {
 public:
  Inputs(const Record& record, const Table& table);
  Inputs(const Inputs&) = delete;
  Inputs& operator=(const Inputs&) = delete;

  size_t size() const { return all_.size(); }
  const Input& operator[](size_t k) const { return all_[k]; }

  /// Lengthens the parameters of frames by zeros.
  void pad_frames(int64_t frames);

  /// All that a program compiled for sizes depends on.
  std::vector<int64_t> lengths() const { return lengths_; }

 private:
  std::vector<Input> all_;
  std::vector<int64_t> lengths_;
  std::vector<double> fparam_;
  std::vector<int64_t> lengths_only_;  // what stands in blocks, whose values are not read
};

/// Raises Error if the sizes of a table do not fit each other or the model.
void check_table(const Record& record, const Table& table);

/// Rows with so many slots in all, which depend on what the tables of a model have at most.
int64_t rows_with(const Record& record, int64_t slots);

/// Slots of a table that a processor, or a graphics processor, evaluates best at once.
constexpr int64_t SLOTS_IN_CACHE = 8192, SLOTS_ON_GPU = 1 << 19;

/// Whether the table has no rows; then the outputs are made empty.
bool set_empty(const Record& record, const Table& table, Values& values);

}  // namespace dp
