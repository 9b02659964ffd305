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

struct AttentionTable {
  decltype(&dp_attention_kept) kept;
  decltype(&dp_attention_value) value;
  decltype(&dp_attention_slope) slope;
  decltype(&dp_attention_tangent) tangent;
  decltype(&dp_attention_gradients) gradients;
};

struct TableTable {
  decltype(&dp_table_sum) sum;
  decltype(&dp_table_slope) slope;
};

}  // namespace dp

namespace DP_NAMESPACE {

/// f of a number of the type that a problem has.
template <class F>
auto by_type(int64_t float64, const F& f) {
  return float64 ? f(double{}) : f(float{});
}

extern const dp::EmbeddingTable kEmbedding;
extern const dp::NetworkTable kNetwork;
extern const dp::AttentionTable kAttention;
extern const dp::TableTable kTable;
}
