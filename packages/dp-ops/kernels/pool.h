// Threads that a library keeps: those of its loops, see parallel.h, and those of the runtime.
#pragma once

#include <cstdint>

namespace dp {

/// Calls task(context, k, worker) for k in [0, count) from up to `workers` threads; worker in [0, workers) is different
/// for those of this call that run at the same time. A call from inside a task, or while another thread is in one, runs
/// alone. The first exception that a task throws is thrown here.
void run_in_pool(int workers, int64_t count, void (*task)(void* context, int64_t k, int worker), void* context);

}  // namespace dp
