// Sums over neighbours of an embedded number, as they are trained: values, their derivative by the input, and the
// gradients of both by the weights. C interface; float and double; every function is thread-safe. Those that return int
// return 0, or 1 if there was no memory for what they need beside the arrays; their outputs then mean nothing.
//
// A = Σ_k R_k ⊗ G(R_k0): R is (rows, slots, components), A (rows, components, width); slots with R = 0 are empty. G is a
// stack of layers x -> past(x) + idt · tanh(x w + b) of one number. Results do not depend on the number of threads, to
// the last bit.
#pragma once

#include <cstdint>

#include "isa.h"

extern "C" {

/// A layer; b and idt may be null. past: 1 adds the input to the output, 2 adds [x, x], 0 nothing. linear: without tanh,
/// in networks of rows alone.
struct dp_train_layer {
  int64_t n_in, n_out, past, linear;
  const void *w, *b, *idt;            // (n_in, n_out), (n_out,), (n_out,)
  void *grad_w, *grad_b, *grad_idt;  // for gradients: overwritten; as many as there are weights
};

/// An embedding sum: its sizes and network. float64: whether numbers are double.
struct dp_embedding {
  int64_t rows, slots, components;
  const void* r;
  int64_t layers;
  const dp_train_layer* layer;
  int64_t float64;
  // slots of several kinds: row kind[row, slot] of shift (kinds, n_out of the first layer) joins the b of that layer
  int64_t kinds = 0;               // 0: all slots are alike, and the others are null
  const int64_t* kind = nullptr;   // (rows, slots), read where slots are not empty
  const void* shift = nullptr;
  void* grad_shift = nullptr;      // for gradients: overwritten
};

/// How many numbers `kept` has room for: what a network leaves for its derivatives.
DP_EXPORT int64_t dp_embedding_kept(const dp_embedding* e);

/// The sum a (rows, components, width). kept may be null: derivatives then evaluate the network again.
DP_EXPORT int dp_embedding_sum(const dp_embedding* e, void* a, void* kept);

/// The derivative by r (rows, slots, components) of Σ ga · A; 0 in empty slots.
DP_EXPORT int dp_embedding_slope(const dp_embedding* e, const void* ga, const void* kept, void* gr);

/// The derivative by ga, (rows, components, width), of Σ v · slope(ga), for v like r.
DP_EXPORT int dp_embedding_transposed_slope(const dp_embedding* e, const void* v, const void* kept, void* of_ga);

/// Gradients of the weights of Σ gu · A + Σ v · slope(ga). gu may be null, and ga and v together.
DP_EXPORT int dp_embedding_gradients(const dp_embedding* e, const void* gu, const void* ga, const void* v,
                                     const void* kept);

/// A network of rows: x is (rows, n_in of the first layer), its value y (rows, n_out of the last).
struct dp_train_network {
  int64_t rows;
  const void* x;
  int64_t layers;
  const dp_train_layer* layer;
  int64_t float64;
};

/// How many numbers `kept` and `tangents` have room for.
DP_EXPORT int64_t dp_network_kept(const dp_train_network* n);

/// The value, and what its derivatives need.
DP_EXPORT int dp_network_value(const dp_train_network* n, void* y, void* kept);

/// The derivative by x of Σ gy · y.
DP_EXPORT int dp_network_slope(const dp_train_network* n, const void* gy, const void* kept, void* gx);

/// The derivative by gy of Σ v · slope(gy), for v like x: the derivative of the value along v.
DP_EXPORT int dp_network_tangent(const dp_train_network* n, const void* v, const void* kept, void* of_gy,
                                 void* tangents);

/// Gradients of the weights and of x, of Σ gu · y + Σ v · slope(gy). gu may be null, and gy, v and tangents together.
DP_EXPORT int dp_network_gradients(const dp_train_network* n, const void* gu, const void* gy, const void* v,
                                   const void* kept, const void* tangents, void* gx);

/// A layer of attention among the slots of every row, with its residual and norm, see ``nn/attention.py`` of dp-core; g
/// and its value are (rows, slots, width). Slots that do not take part get 0.
struct dp_attention {
  int64_t rows, slots, width, hidden, components;
  const void* g;
  const void* direction;  // (rows, slots, components): slots j and k are gated by the product of theirs
  const void* weight;     // (rows, slots): of the logits, where they are smooth
  const void* valid;      // (rows, slots): 0 in slots that do not take part
  const void* spare;      // (rows,): added to every denominator
  // three: width -> query, key, value; value -> width; w and b of the norm. Only w, b and their gradients are read
  const dp_train_layer* layer;
  double scale, eps;            // of the logits; of the norm
  int64_t normalize, smooth, float64;
};

/// How many numbers `kept` and `tangents` have room for.
DP_EXPORT int64_t dp_attention_kept(const dp_attention* p);

/// The value, and what its derivatives need.
DP_EXPORT int dp_attention_value(const dp_attention* p, void* value, void* kept);

/// The derivatives of Σ gy · value by g, direction and weight.
DP_EXPORT int dp_attention_slope(const dp_attention* p, const void* gy, const void* kept, void* of_g,
                                 void* of_direction, void* of_weight);

/// The derivative by gy of Σ v · slope(gy), v one for each of its results: the derivative of the value along v.
DP_EXPORT int dp_attention_tangent(const dp_attention* p, const void* v, const void* v_direction,
                                   const void* v_weight, const void* kept, void* of_gy, void* tangents);

/// Gradients of the weights and of g, of Σ gu · value + Σ v · slope(gy). gu may be null, and all from gy to tangents.
DP_EXPORT int dp_attention_gradients(const dp_attention* p, const void* gu, const void* gy, const void* v,
                                     const void* v_direction, const void* v_weight, const void* kept,
                                     const void* tangents, void* of_g);
}
