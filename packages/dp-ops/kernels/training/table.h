// The functions of training.h as one instruction set has them.
#pragma once

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

}  // namespace dp

namespace DP_NAMESPACE {
extern const dp::EmbeddingTable kEmbedding;
extern const dp::NetworkTable kNetwork;
}
