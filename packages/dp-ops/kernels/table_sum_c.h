// The C functions of table_sum.h for one precision and one place to run. Included by table_sum.cpp and cuda.cu, which
// say what DP_NAME, DP_STREAM and DP_WHERE are.
#define DP_TABLE_FUNCTIONS(T, kind)                                                                                    \
  DP_EXPORT void DP_NAME(dp_table_sum, kind)(int64_t n, int64_t slots, const T* rows, const T* table, int64_t count,   \
                                             int64_t width, const T* info, T* out DP_STREAM) {                         \
    const Table<T> t{table, count, width, info[0], info[1], info[2], info[3], info[4]};                               \
    parallel_for(DP_WHERE, n * width, width, SumOfTable<T>{t, slots, rows, out});                                      \
  }                                                                                                                    \
  DP_EXPORT void DP_NAME(dp_table_sum_gradient, kind)(int64_t n, int64_t slots, const T* rows, const T* table,         \
                                                      int64_t count, int64_t width, const T* info, const T* by_out,    \
                                                      T* by_rows DP_STREAM) {                                          \
    const Table<T> t{table, count, width, info[0], info[1], info[2], info[3], info[4]};                               \
    parallel_for(DP_WHERE, n * slots, slots, GradientOfTable<T>{t, slots, rows, by_out, by_rows});                     \
  }                                                                                                                    \
  DP_EXPORT void DP_NAME(dp_environment, kind)(int64_t n, int64_t slots, T rcut, T rcut_smth, T protection,            \
                                               const T* davg, const T* dstd, const T* vectors, const int64_t* types,   \
                                               const int64_t* neighbor_types, T* rows, T* jacobian DP_STREAM) {        \
    parallel_for(DP_WHERE, n * slots, slots,                                                                           \
                 EnvironmentOfSlot<T>{slots, rcut, rcut_smth, protection, davg, dstd, vectors, types, neighbor_types,  \
                                      rows, jacobian});                                                                \
  }
