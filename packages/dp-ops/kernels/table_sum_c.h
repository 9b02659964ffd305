// The C functions of the environment matrix for one precision and one place to run. Included by table_sum.cpp and
// cuda.cu, which say what DP_NAME, DP_STREAM and DP_WHERE are.
#define DP_ENVIRONMENT_FUNCTION(T, kind)                                                                               \
  DP_EXPORT void DP_NAME(dp_environment, kind)(int64_t n, int64_t slots, T rcut, T rcut_smth, T protection,            \
                                               const T* davg, const T* dstd, const T* vectors, const int64_t* types,   \
                                               const int64_t* neighbor_types, T* rows, T* jacobian DP_STREAM) {        \
    parallel_for(DP_WHERE, n * slots, slots,                                                                           \
                 EnvironmentOfSlot<T>{slots, rcut, rcut_smth, protection, davg, dstd, vectors, types, neighbor_types,  \
                                      rows, jacobian});                                                                \
  }
