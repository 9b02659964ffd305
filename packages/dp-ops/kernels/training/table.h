// The functions of training.h and tables.h as one instruction set has them.
#pragma once

#include "tables.h"
#include "training/training.h"

namespace dp {

struct EmbeddingTable {
  decltype(&dp_embedding_kept) kept;
  decltype(&dp_embedding_sum) sum;
  decltype(&dp_embedding_slope) slope;
  decltype(&dp_embedding_transposed_slope) transposed_slope;
  decltype(&dp_embedding_gradients) gradients;
};

struct NetworkTable {
  decltype(&dp_network_kept) kept;
  decltype(&dp_network_value) value;
  decltype(&dp_network_slope) slope;
  decltype(&dp_network_tangent) tangent;
  decltype(&dp_network_gradients) gradients;
};

struct RowsTable {
  decltype(&dp_rows_value) value;
  decltype(&dp_rows_slope) slope;
  decltype(&dp_rows_second) second;
};

struct TableTable {
  decltype(&dp_table_sum) sum;
  decltype(&dp_table_slope) slope;
};

}  // namespace dp

namespace DP_NAMESPACE {
extern const dp::EmbeddingTable kEmbedding;
extern const dp::NetworkTable kNetwork;
extern const dp::RowsTable kRows;
extern const dp::TableTable kTable;
}
