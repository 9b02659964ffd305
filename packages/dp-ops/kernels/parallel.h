// parallel_for over a range: threads of this library on a processor, threads of a kernel on a graphics processor.
//
// The threads are our own and not those of OpenMP: a process that has loaded PyTorch, TensorFlow or LAMMPS may hold
// several OpenMP runtimes already, of which each spins on all processors, and a wheel would have to bring another. The
// pool is started by the first call that needs it and sleeps between calls.
#pragma once

#include <algorithm>
#include <cstdint>

#include "isa.h"

namespace dp {

/// How many threads a call uses: those of thread_setting.h, else, and if they are no number, as many as there are
/// processors for this process.
int thread_count();

/// `run_in_pool` with so many workers.
void run_tasks(int64_t count, void (*task)(void* context, int64_t k, int worker), void* context);

}  // namespace dp

namespace DP_NAMESPACE {

/// Where a loop runs.
struct Cpu {};

/// body(begin, end, worker) for parts of [0, n) of at most `grain`, which threads take as they become free.
template <class Body>
void parallel_parts(int64_t n, int64_t grain, const Body& body) {
  struct Context {
    int64_t n, grain;
    const Body* body;
  } context{n, grain, &body};
  auto task = [](void* c, int64_t k, int worker) {
    auto* at = static_cast<Context*>(c);
    (*at->body)(k * at->grain, std::min(at->n, (k + 1) * at->grain), worker);
  };
  dp::run_tasks((n + grain - 1) / grain, task, &context);
}

/// body(i) for i in [0, n), in parts of `grain`.
template <class Body>
void parallel_for(Cpu, int64_t n, int64_t grain, const Body& body) {
  parallel_parts(n, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) body(i);
  });
}

#ifdef __CUDACC__
struct Gpu {
  cudaStream_t stream = nullptr;
};

template <class Body>
__global__ void each_of(int64_t n, Body body) {
  for (int64_t i = blockIdx.x * int64_t(blockDim.x) + threadIdx.x; i < n; i += int64_t(gridDim.x) * blockDim.x) body(i);
}

/// The same on a graphics processor; the body is copied there. `grain` means nothing here.
template <class Body>
void parallel_for(Gpu gpu, int64_t n, int64_t, const Body& body) {
  if (n == 0) return;
  const int64_t threads = 128;
  each_of<<<unsigned(std::min<int64_t>((n + threads - 1) / threads, 65535)), threads, 0, gpu.stream>>>(n, body);
}
#endif

}  // namespace DP_NAMESPACE
