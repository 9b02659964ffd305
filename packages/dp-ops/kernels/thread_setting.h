// How many threads the environment asks for: one rule for the kernels, the runtime and the engines.
#pragma once

#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace dp {

/// The first of DP_<kind>_OP_PARALLELISM_THREADS, the same with TF_, and with `openmp` OMP_NUM_THREADS that is set and
/// not 0; 0 if none is. kind: INTRA or INTER. Throws std::runtime_error for what is no number.
inline int thread_setting(const std::string& kind, bool openmp) {
  std::vector<std::string> names;
  for (const char* program : {"DP_", "TF_"}) names.push_back(program + kind + "_OP_PARALLELISM_THREADS");
  if (openmp) names.push_back("OMP_NUM_THREADS");
  for (const std::string& name : names) {
    const char* set = std::getenv(name.c_str());
    std::string value = set ? set : "";
    // OpenMP takes a list, for loops inside loops
    if (name == "OMP_NUM_THREADS") value = value.substr(0, value.find(','));
    if (value.size() > 4 || value.find_first_not_of("0123456789") != std::string::npos) {
      throw std::runtime_error(name + " is '" + value +
                               "'; give a number of threads, 0 for the choice of the framework.");
    }
    if (const int count = value.empty() ? 0 : std::stoi(value)) return count;
  }
  return 0;
}

/// The processors that this process may use.
inline int processor_count() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace dp
