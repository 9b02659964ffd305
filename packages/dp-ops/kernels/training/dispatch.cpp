// The functions of training.h and tables.h by the widest instruction set that this processor has.
#include "training/table.h"

#ifdef DP_X86
namespace dp_v2 {
extern const dp::EmbeddingTable kEmbedding;
extern const dp::NetworkTable kNetwork;
extern const dp::TableTable kTable;
}
namespace dp_v3 {
extern const dp::EmbeddingTable kEmbedding;
extern const dp::NetworkTable kNetwork;
extern const dp::TableTable kTable;
}
namespace dp_v4 {
extern const dp::EmbeddingTable kEmbedding;
extern const dp::NetworkTable kNetwork;
extern const dp::TableTable kTable;
}
#endif

namespace {

struct Tables {
  const dp::EmbeddingTable& embedding;
  const dp::NetworkTable& network;
  const dp::TableTable& table;
};

Tables best() {
#ifdef DP_X86
  __builtin_cpu_init();
  if (__builtin_cpu_supports("x86-64-v4")) return {dp_v4::kEmbedding, dp_v4::kNetwork, dp_v4::kTable};
  if (__builtin_cpu_supports("x86-64-v3")) return {dp_v3::kEmbedding, dp_v3::kNetwork, dp_v3::kTable};
  return {dp_v2::kEmbedding, dp_v2::kNetwork, dp_v2::kTable};
#else
  return {dp_base::kEmbedding, dp_base::kNetwork, dp_base::kTable};
#endif
}

const Tables& tables() {
  static const Tables chosen = best();
  return chosen;
}

const dp::EmbeddingTable& table() { return tables().embedding; }
const dp::NetworkTable& networks() { return tables().network; }

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

int64_t dp_network_kept(const dp_network* n) {
  return networks().kept(n);
}

void dp_network_value(const dp_network* n, void* y, void* kept) {
  networks().value(n, y, kept);
}

void dp_network_slope(const dp_network* n, const void* gy, const void* kept, void* gx) {
  networks().slope(n, gy, kept, gx);
}

void dp_network_tangent(const dp_network* n, const void* v, const void* kept, void* of_gy, void* tangents) {
  networks().tangent(n, v, kept, of_gy, tangents);
}

void dp_network_gradients(const dp_network* n, const void* gu, const void* gy, const void* v, const void* kept,
                          const void* tangents, void* gx) {
  networks().gradients(n, gu, gy, v, kept, tangents, gx);
}

void dp_table_sum(const dp_table* t, void* a) { tables().table.sum(t, a); }

void dp_table_slope(const dp_table* t, const void* ga, void* gr, void* gweights) {
  tables().table.slope(t, ga, gr, gweights);
}
