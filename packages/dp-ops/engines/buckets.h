// Few sizes for programs that are compiled for every size, about those that dp-jax pads to.
#pragma once

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <set>

namespace dp {

/// The count, at least 1, enlarged to a multiple of 8 with no more than `per_octave` sizes between n and 2n.
inline int64_t bucket(int64_t count, int64_t per_octave) {
  count = std::max<int64_t>(count, 1);
  int64_t power = 1;
  while (power < count) power *= 2;
  const int64_t step = std::max<int64_t>(8, power / (2 * per_octave));
  return (count + step - 1) / step * step;
}

inline int64_t bucket_of_rows(int64_t rows) { return bucket(rows, 4); }

/// Sizes of blocks of slots, in finer steps because slots cost most. One that was used before is taken again if it is
/// not much larger, so that numbers of neighbours that vary from part to part need few programs.
class SlotBuckets {
 public:
  int64_t round(int64_t slots) {
    const int64_t size = bucket(slots, 8);
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto used = used_.lower_bound(size);
    if (used != used_.end() && *used <= size + std::max<int64_t>(8, size / 8)) return *used;
    used_.insert(size);
    return size;
  }

 private:
  std::mutex mutex_;
  std::set<int64_t> used_;
};

}  // namespace dp
