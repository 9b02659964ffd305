#include "threads.h"

#include <algorithm>
#include <exception>
#include <thread>
#include <vector>

#include "../kernels/thread_setting.h"

namespace dp {

int thread_count() {
  const int count = std::min(thread_setting("INTRA", true), 1024);
  return count ? count : processor_count();
}

void run_threads(int count, const std::function<void(int)>& work) {
  std::vector<std::exception_ptr> errors(count);
  const auto guarded = [&](int t) {
    try {
      work(t);
    } catch (...) {
      errors[t] = std::current_exception();
    }
  };
  std::vector<std::thread> threads;
  threads.reserve(count);
  int started = 1;
  try {
    for (; started < count; ++started) threads.emplace_back(guarded, started);
  } catch (const std::exception&) {  // no more threads may be had; this one does their work
  }
  guarded(0);
  for (int t = started; t < count; ++t) guarded(t);
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
}

}  // namespace dp
