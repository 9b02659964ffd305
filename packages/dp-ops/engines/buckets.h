// Few sizes for programs that are compiled for every size, the same as dp-jax pads to.
#pragma once

#include <algorithm>
#include <cstdint>

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
inline int64_t bucket_of_slots(int64_t slots) { return bucket(slots, 8); }  // finer, because slots cost most

}  // namespace dp
