#include "pool.h"

#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>

namespace dp {
namespace {

/// Threads that sleep until there is work, and end with the process.
class Pool {
 public:
  explicit Pool(int workers) : workers(workers) {
    try {
      for (int w = 1; w < workers; ++w) std::thread([this, w] { serve(w); }).detach();
    } catch (const std::exception&) {  // no more threads may be had; there are fewer workers
    }
  }

  const int workers;

  void run(int64_t count, void (*task)(void*, int64_t, int), void* context) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      task_ = task, context_ = context, count_ = count, next_ = 0, error_ = nullptr;
      ++round_;
    }
    wake_.notify_all();
    work(0);
    std::unique_lock<std::mutex> lock(mutex_);
    count_ = 0;  // those that wake up late find nothing to do
    done_.wait(lock, [this] { return busy_ == 0; });
    if (error_) std::rethrow_exception(error_);
  }

 private:
  void serve(int worker) {
    uint64_t seen = 0;
    for (;;) {
      {
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, [&] { return round_ != seen; });
        seen = round_;
        if (count_ == 0) continue;
        ++busy_;
      }
      work(worker);
      std::lock_guard<std::mutex> lock(mutex_);
      if (--busy_ == 0) done_.notify_all();
    }
  }

  void work(int worker) {
    for (int64_t k; (k = next_++) < count_;) {
      try {
        task_(context_, k, worker);
      } catch (...) {
        std::lock_guard<std::mutex> lock(mutex_);
        if (!error_) error_ = std::current_exception();
        next_ = count_.load();
      }
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_, done_;
  void (*task_)(void*, int64_t, int) = nullptr;
  void* context_ = nullptr;
  std::atomic<int64_t> count_{0}, next_{0};
  uint64_t round_ = 0;
  int busy_ = 0;
  std::exception_ptr error_;
};

std::mutex in_use;  // one caller at a time has the pool
thread_local bool inside = false;

/// The pool of this process, of at least so many workers. Threads do not live on after a fork, so that a child makes its
/// own; those of a smaller pool sleep on.
Pool& pool(int workers) {
  static Pool* made = nullptr;
  static pid_t owner = 0;
  if (!made || owner != getpid() || made->workers < workers) {
    made = new Pool(workers);
    owner = getpid();
  }
  return *made;
}

}  // namespace

void run_in_pool(int workers, int64_t count, void (*task)(void* context, int64_t k, int worker), void* context) {
  std::unique_lock<std::mutex> lock(in_use, std::defer_lock);
  if (count <= 1 || workers <= 1 || inside || !lock.try_lock()) {
    for (int64_t k = 0; k < count; ++k) task(context, k, 0);
    return;
  }
  inside = true;
  try {
    pool(workers).run(count, task, context);
  } catch (...) {
    inside = false;
    throw;
  }
  inside = false;
}

}  // namespace dp
