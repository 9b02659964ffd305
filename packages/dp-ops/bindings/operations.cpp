#include "operations.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <string>

#include "tables.h"
#include "training/training.h"

namespace dp {
namespace {

int64_t product(const Shape& shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<int64_t>());
}

/// The layers of a call, whose weights begin with input `next`.
std::vector<dp_train_layer> layers_of(const Call& call, int next) {
  const std::vector<int64_t>& numbers = call.layers();
  if (numbers.size() % 6 || numbers.empty()) throw Refused("layers needs six numbers for each layer");
  const auto param = [&](bool present, int64_t size) -> const void* {
    if (!present) return nullptr;
    if (next >= call.inputs() || call.elements(next) != size) throw Refused("the weights do not fit the layers");
    return call.numbers(next++);
  };
  std::vector<dp_train_layer> layers;
  for (size_t k = 0; k < numbers.size(); k += 6) {
    const int64_t* of = numbers.data() + k;
    dp_train_layer layer{of[0], of[1], of[2], of[3], nullptr, nullptr, nullptr, nullptr, nullptr, nullptr};
    layer.w = param(true, of[0] * of[1]);
    layer.b = param(of[4], of[1]);
    layer.idt = param(of[5], of[1]);
    layers.push_back(layer);
  }
  return layers;
}

/// Gradients of the weights, which begin with input `param`, as outputs from number `next` on; the number of the output
/// after them.
int add_gradients(Call& call, std::vector<dp_train_layer>& layers, int param, int next) {
  const auto like_param = [&] { return call.output(next++, call.shape(param++)); };
  for (dp_train_layer& layer : layers) {
    layer.grad_w = like_param();
    if (layer.b) layer.grad_b = like_param();
    if (layer.idt) layer.grad_idt = like_param();
  }
  return next;
}

/// The embedding sum of a call whose first inputs are r and kind; with kinds, shift comes after the weights.
struct Embedding {
  std::vector<dp_train_layer> layers;
  Shape r, sum;
  dp_embedding value{};

  Embedding(Call& call, int first_param) : layers(layers_of(call, first_param)), r(call.shape(0)) {
    if (r.size() != 3 || layers[0].n_in != 1) throw Refused("r needs three axes, and the network one input");
    sum = {r[0], r[2], layers.back().n_out};
    value.rows = r[0], value.slots = r[1], value.components = r[2];
    value.r = call.numbers(0);
    value.layers = int64_t(layers.size()), value.layer = layers.data();
    value.float64 = call.float64();
    if (!call.elements(1)) return;
    call.expect(1, r[0] * r[1], "kind", false);
    const Shape shift = call.shape(call.inputs() - 1);
    if (shift.size() != 2 || shift[1] != layers[0].n_out) throw Refused("shift does not fit the first layer");
    value.kinds = shift[0], value.kind = call.integers(1), value.shift = call.numbers(call.inputs() - 1);
  }
  /// The numbers that were kept, if there are any.
  const void* kept(const Call& call, int k) const {
    call.expect(k, dp_embedding_kept(&value), "kept");
    return call.numbers(k);
  }
};

/// The network of a call whose first input is x.
struct Network {
  std::vector<dp_train_layer> layers;
  Shape x, y;
  dp_train_network value{};
  int64_t kept;

  Network(Call& call, int first_param) : layers(layers_of(call, first_param)), x(call.shape(0)) {
    if (x.size() != 2 || layers[0].n_in != x[1]) throw Refused("x does not fit the network");
    y = {x[0], layers.back().n_out};
    value = {x[0], call.numbers(0), int64_t(layers.size()), layers.data(), call.float64()};
    kept = dp_network_kept(&value);
  }
};

/// The layer of attention of a call, whose first inputs are g, direction, weight, valid, spare and settings.
struct Attention {
  std::vector<dp_train_layer> layers;
  Shape g, direction, weight;
  dp_attention value{};
  int64_t kept;

  Attention(Call& call, int first_param)
      : layers(layers_of(call, first_param)), g(call.shape(0)), direction(call.shape(1)), weight(call.shape(2)) {
    if (g.size() != 3 || direction.size() != 3 || direction[0] != g[0] || direction[1] != g[1])
      throw Refused("g and the directions need three axes, and the same rows and slots");
    const int64_t slots = g[0] * g[1];
    call.expect(2, slots, "weight", false);
    call.expect(3, slots, "valid", false);
    call.expect(4, g[0], "spare", false);
    call.expect(5, 4, "settings", false);
    if (layers.size() != 3 || !layers[2].b) throw Refused("an attention has two projections and a norm");
    const int64_t width = g[2], hidden = layers[1].n_in;
    if (layers[0].n_in != width || layers[0].n_out != 3 * hidden || layers[1].n_out != width ||
        layers[2].n_in != 1 || layers[2].n_out != width)
      throw Refused("g does not fit the attention");
    if (layers[0].idt || layers[1].idt || layers[2].idt) throw Refused("the layers of an attention have no idt");
    const double* settings = call.doubles(5);  // scale, eps, normalize, smooth
    value = {g[0], g[1], width, hidden, direction[2], call.numbers(0), call.numbers(1), call.numbers(2),
             call.numbers(3), call.numbers(4), layers.data(), settings[0], settings[1], settings[2] != 0,
             settings[3] != 0, call.float64()};
    kept = dp_attention_kept(&value);
  }
  /// Refuses inputs from number k on that are not like those by which the attention is derived.
  void expect_like(const Call& call, int k, bool may_miss) const {
    call.expect(k, product(g), "v", may_miss);
    call.expect(k + 1, product(direction), "v_direction", may_miss);
    call.expect(k + 2, product(weight), "v_weight", may_miss);
  }
};

/// Refuses a call whose kernel found no memory, from what it returned.
void finish(int failed) {
  if (failed) throw Refused("there is no memory for the kernel: give it fewer atoms or frames at once");
}

/// The table sum of a call.
dp_table table_of(const Call& call) {
  const Shape r = call.shape(0), table = call.shape(1);
  if (r.size() != 3 || table.size() != 3 || table[1] != 6) throw Refused("r and the coefficients need three axes");
  call.expect(2, table[0], "starts", false);
  call.expect(3, 10, "grid", false);
  call.expect(5, r[0] * r[1], "index", call.elements(4) == 0);
  call.expect(6, r[0] * r[1], "weights");
  const Shape gates = call.shape(4);
  if (call.elements(4) && (gates.empty() || gates.back() != table[2])) throw Refused("the gates do not fit the table");
  dp_table t{r[0], r[1], r[2], call.numbers(0), table[0], table[2], call.numbers(1), call.numbers(2), {},
             call.numbers(4), call.integers(5), call.numbers(6), call.float64()};
  std::copy_n(call.doubles(3), 10, t.grid);
  return t;
}

}  // namespace

int64_t Call::elements(int k) const { return product(shape(k)); }

void Call::expect(int k, int64_t count, const char* what, bool may_miss) const {
  if (!(may_miss && elements(k) == 0) && elements(k) != count)
    throw Refused(std::string(what) + " has another size than it should have");
}

void embedding_sum(Call& call) {
  const Embedding e(call, 2);
  void* a = call.output(0, e.sum);
  void* kept = call.output(1, {call.keeps() ? dp_embedding_kept(&e.value) : 0});
  finish(dp_embedding_sum(&e.value, a, call.keeps() ? kept : nullptr));
}

void embedding_slope(Call& call) {
  const Embedding e(call, 4);
  call.expect(2, product(e.sum), "ga", false);
  finish(dp_embedding_slope(&e.value, call.numbers(2), e.kept(call, 3), call.output(0, e.r)));
}

void embedding_transposed_slope(Call& call) {
  const Embedding e(call, 4);
  call.expect(2, product(e.r), "v", false);
  finish(dp_embedding_transposed_slope(&e.value, call.numbers(2), e.kept(call, 3), call.output(0, e.sum)));
}

void embedding_gradients(Call& call) {
  Embedding e(call, 6);
  call.expect(2, product(e.sum), "gu");
  call.expect(3, product(e.sum), "ga");
  call.expect(4, product(e.r), "v");
  const bool second = call.elements(3) && call.elements(4);
  const auto of_second = [&](int k) { return second ? call.numbers(k) : nullptr; };
  const int next = add_gradients(call, e.layers, 6, 0);
  if (e.value.kinds) e.value.grad_shift = call.output(next, call.shape(call.inputs() - 1));
  finish(dp_embedding_gradients(&e.value, call.numbers(2), of_second(3), of_second(4), e.kept(call, 5)));
}

void network_value(Call& call) {
  const Network n(call, 1);
  void* y = call.output(0, n.y);
  finish(dp_network_value(&n.value, y, call.output(1, {n.kept})));
}

void network_slope(Call& call) {
  const Network n(call, 3);
  call.expect(1, product(n.y), "gy", false);
  call.expect(2, n.kept, "kept", false);
  finish(dp_network_slope(&n.value, call.numbers(1), call.numbers(2), call.output(0, n.x)));
}

void network_tangent(Call& call) {
  const Network n(call, 3);
  call.expect(1, product(n.x), "v", false);
  call.expect(2, n.kept, "kept", false);
  void* of_gy = call.output(0, n.y);
  finish(dp_network_tangent(&n.value, call.numbers(1), call.numbers(2), of_gy, call.output(1, {n.kept})));
}

void network_gradients(Call& call) {
  Network n(call, 6);
  call.expect(1, product(n.y), "gu");
  call.expect(2, product(n.y), "gy");
  call.expect(3, product(n.x), "v");
  call.expect(4, n.kept, "kept", false);
  call.expect(5, n.kept, "tangents");
  const bool second = call.elements(2) && call.elements(3) && call.elements(5);
  const auto of_second = [&](int k) { return second ? call.numbers(k) : nullptr; };
  void* gx = call.output(0, n.x);
  add_gradients(call, n.layers, 6, 1);
  finish(dp_network_gradients(&n.value, call.numbers(1), of_second(2), of_second(3), call.numbers(4), of_second(5),
                              gx));
}

void attention_value(Call& call) {
  const Attention a(call, 6);
  void* value = call.output(0, a.g);
  finish(dp_attention_value(&a.value, value, call.output(1, {a.kept})));
}

void attention_slope(Call& call) {
  const Attention a(call, 8);
  call.expect(6, product(a.g), "gy", false);
  call.expect(7, a.kept, "kept", false);
  void *of_g = call.output(0, a.g), *of_direction = call.output(1, a.direction);
  finish(dp_attention_slope(&a.value, call.numbers(6), call.numbers(7), of_g, of_direction, call.output(2, a.weight)));
}

void attention_tangent(Call& call) {
  const Attention a(call, 10);
  a.expect_like(call, 6, false);
  call.expect(9, a.kept, "kept", false);
  void* of_gy = call.output(0, a.g);
  finish(dp_attention_tangent(&a.value, call.numbers(6), call.numbers(7), call.numbers(8), call.numbers(9), of_gy,
                              call.output(1, {a.kept})));
}

void attention_gradients(Call& call) {
  Attention a(call, 13);
  call.expect(6, product(a.g), "gu");
  call.expect(7, product(a.g), "gy");
  a.expect_like(call, 8, true);
  call.expect(11, a.kept, "kept", false);
  call.expect(12, a.kept, "tangents");
  bool second = true;
  for (int k : {7, 8, 9, 10, 12}) second = second && call.elements(k);
  const auto of_second = [&](int k) { return second ? call.numbers(k) : nullptr; };
  void* of_g = call.output(0, a.g);
  add_gradients(call, a.layers, 13, 1);
  finish(dp_attention_gradients(&a.value, call.numbers(6), of_second(7), of_second(8), of_second(9), of_second(10),
                                call.numbers(11), of_second(12), of_g));
}

void table_sum(Call& call) {
  const dp_table t = table_of(call);
  finish(dp_table_sum(&t, call.output(0, {t.rows, t.components, t.width})));
}

void table_slope(Call& call) {
  const dp_table t = table_of(call);
  call.expect(7, t.rows * t.components * t.width, "ga", false);
  void* gr = call.output(0, call.shape(0));
  void* gweights = call.output(1, call.shape(6));
  finish(dp_table_slope(&t, call.numbers(7), gr, t.weights ? gweights : nullptr));
}

}  // namespace dp
