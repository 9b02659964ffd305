#include "threads.h"

#include <algorithm>

#include "../kernels/pool.h"
#include "../kernels/thread_setting.h"

namespace dp {

int thread_count() {
  const int count = std::min(thread_setting("INTRA", true), 1024);
  return count ? count : processor_count();
}

void run_threads(int count, const std::function<void(int)>& work) {
  const auto task = [](void* context, int64_t k, int) {
    (*static_cast<const std::function<void(int)>*>(context))(static_cast<int>(k));
  };
  run_in_pool(count, count, task, const_cast<void*>(static_cast<const void*>(&work)));
}

}  // namespace dp
