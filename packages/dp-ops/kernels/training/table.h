// The functions of training.h and tables.h as one instruction set has them.
#pragma once

#include "tables.h"
#include "training/training.h"

namespace dp {

/// The type of a function that throws where the one of C returns a number.
template <class... Arguments>
void (*throwing(int (*)(Arguments...)))(Arguments...);

struct EmbeddingTable {
  decltype(&dp_embedding_kept) kept;
  decltype(throwing(&dp_embedding_sum)) sum;
  decltype(throwing(&dp_embedding_slope)) slope;
  decltype(throwing(&dp_embedding_transposed_slope)) transposed_slope;
  decltype(throwing(&dp_embedding_gradients)) gradients;
};

struct NetworkTable {
  decltype(&dp_network_kept) kept;
  decltype(throwing(&dp_network_value)) value;
  decltype(throwing(&dp_network_slope)) slope;
  decltype(throwing(&dp_network_tangent)) tangent;
  decltype(throwing(&dp_network_gradients)) gradients;
};

struct AttentionTable {
  decltype(&dp_attention_kept) kept;
  decltype(throwing(&dp_attention_value)) value;
  decltype(throwing(&dp_attention_slope)) slope;
  decltype(throwing(&dp_attention_tangent)) tangent;
  decltype(throwing(&dp_attention_gradients)) gradients;
};

struct TableTable {
  decltype(throwing(&dp_table_sum)) sum;
  decltype(throwing(&dp_table_slope)) slope;
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
