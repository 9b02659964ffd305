// Work in several threads.
#pragma once

#include <functional>

namespace dp {

/// How many threads to use: DP_INTRA_OP_PARALLELISM_THREADS, TF_INTRA_OP_PARALLELISM_THREADS or OMP_NUM_THREADS, the
/// first that is set and not 0, else the processors that this process may use. Throws for what is no number.
int thread_count();

/// Call work(t) for t = 0 … count − 1, each in a thread of its own as far as there are as many that have no other work.
/// The first exception is thrown again.
void run_threads(int count, const std::function<void(int)>& work);

}  // namespace dp
