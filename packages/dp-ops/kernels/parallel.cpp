#include "parallel.h"

#include <exception>

#include "pool.h"
#include "thread_setting.h"

namespace dp {

int thread_count() {
  static const int count = [] {
    try {
      if (const int n = thread_setting("INTRA", true)) return std::min(n, 1024);
    } catch (const std::exception&) {  // who trains or opens a model is told, see backend.py of dp-core and threads.h
    }
    return processor_count();
  }();
  return count;
}

void run_tasks(int64_t count, void (*task)(void* context, int64_t k, int worker), void* context) {
  run_in_pool(thread_count(), count, task, context);
}

}  // namespace dp
