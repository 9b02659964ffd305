// The functions of training.h and tables.h by the instruction set that is used.
#include "table_of_kernels.h"

namespace {

const dp::EmbeddingTable& table() { return dp::kernels().embedding; }
const dp::NetworkTable& networks() { return dp::kernels().network; }
const dp::AttentionTable& attention() { return dp::kernels().attention; }

}  // namespace

int64_t dp_embedding_kept(const dp_embedding* e) { return table().kept(e); }

void dp_embedding_sum(const dp_embedding* e, void* a, void* kept) { table().sum(e, a, kept); }

void dp_embedding_slope(const dp_embedding* e, const void* ga, const void* kept, void* gr) {
  table().slope(e, ga, kept, gr);
}

void dp_embedding_transposed_slope(const dp_embedding* e, const void* v, const void* kept, void* of_ga) {
  table().transposed_slope(e, v, kept, of_ga);
}

void dp_embedding_gradients(const dp_embedding* e, const void* gu, const void* ga, const void* v, const void* kept) {
  table().gradients(e, gu, ga, v, kept);
}

int64_t dp_network_kept(const dp_train_network* n) {
  return networks().kept(n);
}

void dp_network_value(const dp_train_network* n, void* y, void* kept) {
  networks().value(n, y, kept);
}

void dp_network_slope(const dp_train_network* n, const void* gy, const void* kept, void* gx) {
  networks().slope(n, gy, kept, gx);
}

void dp_network_tangent(const dp_train_network* n, const void* v, const void* kept, void* of_gy, void* tangents) {
  networks().tangent(n, v, kept, of_gy, tangents);
}

void dp_network_gradients(const dp_train_network* n, const void* gu, const void* gy, const void* v, const void* kept,
                          const void* tangents, void* gx) {
  networks().gradients(n, gu, gy, v, kept, tangents, gx);
}

int64_t dp_attention_kept(const dp_attention* p) { return attention().kept(p); }

void dp_attention_value(const dp_attention* p, void* value, void* kept) { attention().value(p, value, kept); }

void dp_attention_slope(const dp_attention* p, const void* gy, const void* kept, void* of_g, void* of_direction,
                        void* of_weight) {
  attention().slope(p, gy, kept, of_g, of_direction, of_weight);
}

void dp_attention_tangent(const dp_attention* p, const void* v, const void* v_direction, const void* v_weight,
                          const void* kept, void* of_gy, void* tangents) {
  attention().tangent(p, v, v_direction, v_weight, kept, of_gy, tangents);
}

void dp_attention_gradients(const dp_attention* p, const void* gu, const void* gy, const void* v,
                            const void* v_direction, const void* v_weight, const void* kept, const void* tangents,
                            void* of_g) {
  attention().gradients(p, gu, gy, v, v_direction, v_weight, kept, tangents, of_g);
}

void dp_table_sum(const dp_table* t, void* a) { dp::kernels().table.sum(t, a); }

void dp_table_slope(const dp_table* t, const void* ga, void* gr, void* gweights) {
  dp::kernels().table.slope(t, ga, gr, gweights);
}
