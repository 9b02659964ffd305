// What calls of run_in_pool find of its threads, as lines "name number".
#include "pool.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>

namespace {

int threads_of_process() {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line))
    if (line.rfind("Threads:", 0) == 0) return std::stoi(line.substr(8));
  return -1;
}

struct Seen {
  std::atomic<int> tasks{0}, most{0};
  std::atomic<int64_t> sum{0};
};

void look(void* context, int64_t k, int worker) {
  auto* seen = static_cast<Seen*>(context);
  for (int most = seen->most; worker > most && !seen->most.compare_exchange_weak(most, worker);) {
  }
  ++seen->tasks;
  seen->sum += k;
  usleep(200);
}

/// Calls from inside a task.
void nest(void* context, int64_t, int) { dp::run_in_pool(4, 10, look, context); }

void fail(void*, int64_t k, int) {
  usleep(200);
  if (k == 7) throw std::runtime_error("seven");
}

void report(const char* name, int64_t number) { std::printf("%s %lld\n", name, static_cast<long long>(number)); }

}  // namespace

int main() {
  for (int workers = 2; workers <= 24; ++workers) {
    Seen seen;
    dp::run_in_pool(workers, workers, look, &seen);
  }
  report("threads_after_growing", threads_of_process());
  int most = 0;
  for (int round = 0; round < 20; ++round) {
    Seen seen;
    dp::run_in_pool(3, 30, look, &seen);
    if (seen.tasks != 30 || seen.sum != 435) return 1;
    most = std::max<int>(most, seen.most);
  }
  report("largest_of_three", most);
  Seen nested;
  dp::run_in_pool(4, 8, nest, &nested);
  report("tasks_from_inside", nested.tasks);
  try {
    dp::run_in_pool(4, 100, fail, nullptr);
  } catch (const std::runtime_error& error) {
    report(error.what(), 1);
  }
  std::atomic<bool> begun{false}, end{false};
  std::atomic<bool>* flags[] = {&begun, &end};
  std::thread other([&] {
    const auto hold = [](void* c, int64_t, int) {
      auto** flag = static_cast<std::atomic<bool>**>(c);
      *flag[0] = true;
      while (!*flag[1]) usleep(100);
    };
    dp::run_in_pool(2, 2, hold, flags);
  });
  while (!begun) usleep(100);
  Seen beside;
  dp::run_in_pool(4, 20, look, &beside);
  report("largest_beside_another_call", beside.most);
  std::fflush(stdout);
  if (const pid_t child = fork()) {
    int status = 0;
    waitpid(child, &status, 0);
    end = true;
    other.join();
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
  }
  Seen of_child;
  dp::run_in_pool(3, 30, look, &of_child);
  report("threads_of_child", threads_of_process());
  std::fflush(stdout);
  _exit(0);
}
