#include "pool.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

namespace dp {
namespace {

/// Threads that sleep until there is work, and end with the process. There are as many as the largest call wanted and
/// the system gave.
class Pool {
 public:
  const pid_t owner = getpid();

  /// Runs the tasks in `workers` threads, that of the caller included; false if it is in use.
  bool run(int workers, int64_t count, void (*task)(void*, int64_t, int), void* context) {
    if (in_use_.exchange(true)) return false;
    grow(workers);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      task_ = task, context_ = context, count_ = count, next_ = 0;
      workers_ = workers;
      ++round_;
    }
    for (int w = 1; w < std::min(workers, threads()); ++w) wake_[size_t(w - 1)].notify_one();
    work(0);
    std::unique_lock<std::mutex> lock(mutex_);
    workers_ = 0;  // those that wake up late sleep on
    done_.wait(lock, [this] { return busy_ == 0; });
    const std::exception_ptr error = std::exchange(error_, nullptr);
    lock.unlock();
    in_use_ = false;
    if (error) std::rethrow_exception(error);
    return true;
  }

 private:
  int threads() const { return 1 + static_cast<int>(wake_.size()); }

  void grow(int workers) {
    while (threads() < workers) {
      const size_t before = wake_.size();
      try {
        std::condition_variable& wake = wake_.emplace_back();
        std::thread([this, &wake, worker = threads() - 1] { serve(worker, wake); }).detach();
      } catch (const std::exception&) {  // no more threads may be had now; the next call tries again
        wake_.resize(before);
        return;
      }
    }
  }

  void serve(int worker, std::condition_variable& wake) {
    uint64_t seen = 0;
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      wake.wait(lock, [&] { return worker < workers_ && round_ != seen; });
      seen = round_;
      ++busy_;
      lock.unlock();
      work(worker);
      lock.lock();
      if (--busy_ == 0) done_.notify_one();
    }
  }

  void work(int worker) {
    for (int64_t k; (k = next_++) < count_;) {
      try {
        task_(context_, k, worker);
      } catch (...) {
        std::lock_guard<std::mutex> lock(mutex_);
        if (!error_) error_ = std::current_exception();
        next_ = count_;
      }
    }
  }

  std::atomic<bool> in_use_{false};  // by one caller at a time, who alone changes the next two
  std::deque<std::condition_variable> wake_;  // of every thread but the caller's
  std::mutex mutex_;  // for what follows
  std::condition_variable done_;
  void (*task_)(void*, int64_t, int) = nullptr;
  void* context_ = nullptr;
  int64_t count_ = 0;
  std::atomic<int64_t> next_{0};
  int workers_ = 0;  // those below it may take part
  uint64_t round_ = 0;
  int busy_ = 0;
  std::exception_ptr error_;
};

/// The pool of this process. Threads do not live on after a fork, and those that used the pool then never leave it, so
/// that a child makes its own.
Pool& pool() {
  static std::atomic<Pool*> current{nullptr};
  Pool* found = current;
  while (!found || found->owner != getpid()) {
    auto made = std::make_unique<Pool>();
    if (current.compare_exchange_strong(found, made.get())) return *made.release();
  }
  return *found;
}

}  // namespace

void run_in_pool(int workers, int64_t count, void (*task)(void* context, int64_t k, int worker), void* context) {
  const int used = static_cast<int>(std::min<int64_t>(workers, count));
  if (used > 1 && pool().run(used, count, task, context)) return;
  for (int64_t k = 0; k < count; ++k) task(context, k, 0);
}

}  // namespace dp
