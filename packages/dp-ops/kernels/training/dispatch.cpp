// The functions of training.h and tables.h by the instruction set that is used.
#include <exception>

#include "table_of_kernels.h"

namespace {

const dp::EmbeddingTable& table() { return dp::kernels().embedding; }
const dp::NetworkTable& networks() { return dp::kernels().network; }
const dp::AttentionTable& attention() { return dp::kernels().attention; }

/// 0; 1 if the function throws, since memory is all that it may lack. Nothing may pass through the caller, which is C.
template <class Function>
int guarded(const Function& function) {
  try {
    function();
    return 0;
  } catch (const std::exception&) {
    return 1;
  }
}

}  // namespace

int64_t dp_embedding_kept(const dp_embedding* e) { return table().kept(e); }

int dp_embedding_sum(const dp_embedding* e, void* a, void* kept) {
  return guarded([&] { table().sum(e, a, kept); });
}

int dp_embedding_slope(const dp_embedding* e, const void* ga, const void* kept, void* gr) {
  return guarded([&] { table().slope(e, ga, kept, gr); });
}

int dp_embedding_transposed_slope(const dp_embedding* e, const void* v, const void* kept, void* of_ga) {
  return guarded([&] { table().transposed_slope(e, v, kept, of_ga); });
}

int dp_embedding_gradients(const dp_embedding* e, const void* gu, const void* ga, const void* v, const void* kept) {
  return guarded([&] { table().gradients(e, gu, ga, v, kept); });
}

int64_t dp_network_kept(const dp_train_network* n) {
  return networks().kept(n);
}

int dp_network_value(const dp_train_network* n, void* y, void* kept) {
  return guarded([&] { networks().value(n, y, kept); });
}

int dp_network_slope(const dp_train_network* n, const void* gy, const void* kept, void* gx) {
  return guarded([&] { networks().slope(n, gy, kept, gx); });
}

int dp_network_tangent(const dp_train_network* n, const void* v, const void* kept, void* of_gy, void* tangents) {
  return guarded([&] { networks().tangent(n, v, kept, of_gy, tangents); });
}

int dp_network_gradients(const dp_train_network* n, const void* gu, const void* gy, const void* v, const void* kept,
                         const void* tangents, void* gx) {
  return guarded([&] { networks().gradients(n, gu, gy, v, kept, tangents, gx); });
}

int64_t dp_attention_kept(const dp_attention* p) { return attention().kept(p); }

int dp_attention_value(const dp_attention* p, void* value, void* kept) {
  return guarded([&] { attention().value(p, value, kept); });
}

int dp_attention_slope(const dp_attention* p, const void* gy, const void* kept, void* of_g, void* of_direction,
                       void* of_weight) {
  return guarded([&] { attention().slope(p, gy, kept, of_g, of_direction, of_weight); });
}

int dp_attention_tangent(const dp_attention* p, const void* v, const void* v_direction, const void* v_weight,
                         const void* kept, void* of_gy, void* tangents) {
  return guarded([&] { attention().tangent(p, v, v_direction, v_weight, kept, of_gy, tangents); });
}

int dp_attention_gradients(const dp_attention* p, const void* gu, const void* gy, const void* v,
                           const void* v_direction, const void* v_weight, const void* kept, const void* tangents,
                           void* of_g) {
  return guarded([&] { attention().gradients(p, gu, gy, v, v_direction, v_weight, kept, tangents, of_g); });
}

int dp_table_sum(const dp_table* t, void* a) {
  return guarded([&] { dp::kernels().table.sum(t, a); });
}

int dp_table_slope(const dp_table* t, const void* ga, void* gr, void* gweights) {
  return guarded([&] { dp::kernels().table.slope(t, ga, gr, gweights); });
}
