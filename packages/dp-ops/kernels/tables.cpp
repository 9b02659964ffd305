#include "table_sum.h"
#include "training/table.h"

namespace DP_NAMESPACE {

const dp::TableTable kTable = {
    [](const dp_table* t, void* a) { any_table_sum(Cpu{}, *t, a); },
    [](const dp_table* t, const void* ga, void* gr, void* gweights) { any_table_slope(Cpu{}, *t, ga, gr, gweights); },
};

}  // namespace DP_NAMESPACE
