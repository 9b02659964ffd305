// The kernels of training and of tables as operators of TensorFlow. Their gradients are defined where they are used, in
// Python.
//
// layers: for each layer n_in, n_out, past, linear, and 1 or 0 for whether it has b and idt; params: its w, b and idt in
// turn. An input without numbers stands for one that is not there.
#include <algorithm>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "tables.h"
#include "tensorflow_c.h"
#include "training/training.h"

namespace {

struct DeleteStatus {
  void operator()(TF_Status* s) const { TF_DeleteStatus(s); }
};
struct DeleteTensor {
  void operator()(TF_Tensor* t) const { TF_DeleteTensor(t); }
};
using Status = std::unique_ptr<TF_Status, DeleteStatus>;
using Tensor = std::unique_ptr<TF_Tensor, DeleteTensor>;
using Shape = std::vector<int64_t>;

struct Refused : std::exception {
  std::string message;
  explicit Refused(std::string message) : message(std::move(message)) {}
};

Status new_status() { return Status(TF_NewStatus()); }

/// The attributes of a node.
struct Node {
  std::vector<int64_t> layers;
  int64_t keep = 0;
};

void* create(TF_OpKernelConstruction* context) {
  auto status = new_status();
  auto node = std::make_unique<Node>();
  int32_t count = 0, total = 0;
  TF_OpKernelConstruction_GetAttrSize(context, "layers", &count, &total, status.get());
  if (TF_GetCode(status.get()) == TF_OK) {
    node->layers.resize(count);
    TF_OpKernelConstruction_GetAttrInt64List(context, "layers", node->layers.data(), count, status.get());
  }
  if (TF_GetCode(status.get()) == TF_OK)
    TF_OpKernelConstruction_GetAttrInt64(context, "keep", &node->keep, status.get());
  if (TF_GetCode(status.get()) != TF_OK) TF_OpKernelConstruction_Failure(context, status.get());
  return node.release();
}

void destroy(void* node) { delete static_cast<Node*>(node); }

/// One call: its inputs and outputs.
class Arrays {
 public:
  explicit Arrays(TF_OpKernelContext* context) : context_(context) {
    for (int k = 0; k < TF_NumInputs(context); ++k) {
      TF_Tensor* tensor = nullptr;
      auto status = new_status();
      TF_GetInput(context, k, &tensor, status.get());
      if (TF_GetCode(status.get()) != TF_OK) throw Refused("an input is missing");
      inputs_.emplace_back(tensor);
    }
  }

  int64_t elements(int k) const { return TF_TensorElementCount(inputs_[k].get()); }
  /// The numbers of an input; null if it is not there.
  const void* data(int k) const { return elements(k) ? TF_TensorData(inputs_[k].get()) : nullptr; }
  void expect(int k, int64_t count, const char* what, bool may_miss = true) const {
    if (!(may_miss && elements(k) == 0) && elements(k) != count) throw Refused(std::string(what) + " has another size than it should have");
  }
  Shape shape(int k) const {
    Shape dims;
    for (int axis = 0; axis < TF_NumDims(inputs_[k].get()); ++axis) dims.push_back(TF_Dim(inputs_[k].get(), axis));
    return dims;
  }
  bool float64() const { return TF_TensorType(inputs_[0].get()) == TF_DOUBLE; }

  void* output(int k, const Shape& shape) {
    size_t bytes = float64() ? 8 : 4;
    for (int64_t n : shape) bytes *= static_cast<size_t>(n);
    auto status = new_status();
    outputs_.emplace_back(TF_AllocateOutput(context_, k, float64() ? TF_DOUBLE : TF_FLOAT, shape.data(),
                                            int(shape.size()), bytes, status.get()));
    if (TF_GetCode(status.get()) != TF_OK) throw Refused("there is no memory for the output");
    return TF_TensorData(outputs_.back().get());
  }

 private:
  TF_OpKernelContext* context_;

 protected:
  std::vector<Tensor> inputs_, outputs_;
};

/// One call with layers.
class Call : public Arrays {
 public:
  Call(TF_OpKernelContext* context, const Node& node, int first_param) : Arrays(context), node_(node) {
    if (node.layers.size() % 6 || node.layers.empty()) throw Refused("layers needs six numbers for each layer");
    size_t next = first_param;
    const auto param = [&](bool present, int64_t size) -> const void* {
      if (!present) return nullptr;
      if (next >= inputs_.size() || TF_TensorElementCount(inputs_[next].get()) != size)
        throw Refused("the weights do not fit the layers");
      return TF_TensorData(inputs_[next++].get());
    };
    for (size_t k = 0; k < node.layers.size(); k += 6) {
      const int64_t* of = node.layers.data() + k;
      dp_train_layer layer{of[0], of[1], of[2], of[3], nullptr, nullptr, nullptr, nullptr, nullptr, nullptr};
      layer.w = param(true, of[0] * of[1]);
      layer.b = param(of[4], of[1]);
      layer.idt = param(of[5], of[1]);
      layers_.push_back(layer);
    }
  }

  std::vector<dp_train_layer>& layers() { return layers_; }
  bool keeps() const { return node_.keep != 0; }

 private:
  const Node& node_;
  std::vector<dp_train_layer> layers_;
};

int64_t product(const Shape& shape) {
  int64_t n = 1;
  for (int64_t k : shape) n *= k;
  return n;
}

/// Gradients of the weights as outputs from number `next` on.
void add_gradients(Call& call, int next) {
  for (dp_train_layer& layer : call.layers()) {
    layer.grad_w = call.output(next++, {layer.n_in, layer.n_out});
    if (layer.b) layer.grad_b = call.output(next++, {layer.n_out});
    if (layer.idt) layer.grad_idt = call.output(next++, {layer.n_out});
  }
}

/// The embedding sum of a call whose first input is r.
struct Embedding {
  Shape r, sum;
  dp_embedding value;

  explicit Embedding(Call& call) : r(call.shape(0)) {
    if (r.size() != 3 || call.layers()[0].n_in != 1) throw Refused("r needs three axes, and the network one input");
    sum = {r[0], r[2], call.layers().back().n_out};
    value = {r[0], r[1], r[2], call.data(0), int64_t(call.layers().size()), call.layers().data(), call.float64()};
  }
};

void embedding_sum(Call& call) {
  const Embedding e(call);
  void* a = call.output(0, e.sum);
  void* kept = call.output(1, {call.keeps() ? dp_embedding_kept(&e.value) : 0});
  dp_embedding_sum(&e.value, a, call.keeps() ? kept : nullptr);
}

void embedding_slope(Call& call) {
  const Embedding e(call);
  call.expect(1, product(e.sum), "ga", false);
  dp_embedding_slope(&e.value, call.data(1), call.data(2), call.output(0, e.r));
}

void embedding_transposed_slope(Call& call) {
  const Embedding e(call);
  call.expect(1, product(e.r), "v", false);
  dp_embedding_transposed_slope(&e.value, call.data(1), call.data(2), call.output(0, e.sum));
}

void embedding_gradients(Call& call) {
  const Embedding e(call);
  call.expect(1, product(e.sum), "gu");
  call.expect(2, product(e.sum), "ga");
  call.expect(3, product(e.r), "v");
  const bool second = call.data(2) && call.data(3);
  add_gradients(call, 0);
  dp_embedding_gradients(&e.value, call.data(1), second ? call.data(2) : nullptr, second ? call.data(3) : nullptr,
                         call.data(4));
}

/// The network of a call whose first input is x.
struct Network {
  Shape x, y;
  dp_train_network value;
  int64_t kept;

  explicit Network(Call& call) : x(call.shape(0)) {
    if (x.size() != 2 || call.layers()[0].n_in != x[1]) throw Refused("x does not fit the network");
    y = {x[0], call.layers().back().n_out};
    value = {x[0], call.data(0), int64_t(call.layers().size()), call.layers().data(), call.float64()};
    kept = dp_network_kept(&value);
  }
};

void network_value(Call& call) {
  const Network n(call);
  void* y = call.output(0, n.y);
  dp_network_value(&n.value, y, call.output(1, {n.kept}));
}

void network_slope(Call& call) {
  const Network n(call);
  call.expect(1, product(n.y), "gy", false);
  call.expect(2, n.kept, "kept", false);
  dp_network_slope(&n.value, call.data(1), call.data(2), call.output(0, n.x));
}

void network_tangent(Call& call) {
  const Network n(call);
  call.expect(1, product(n.x), "v", false);
  call.expect(2, n.kept, "kept", false);
  void* of_gy = call.output(0, n.y);
  dp_network_tangent(&n.value, call.data(1), call.data(2), of_gy, call.output(1, {n.kept}));
}

void network_gradients(Call& call) {
  const Network n(call);
  call.expect(1, product(n.y), "gu");
  call.expect(2, product(n.y), "gy");
  call.expect(3, product(n.x), "v");
  call.expect(4, n.kept, "kept", false);
  call.expect(5, n.kept, "tangents");
  const bool second = call.data(2) && call.data(3) && call.data(5);
  const auto of_second = [&](int k) { return second ? call.data(k) : nullptr; };
  void* gx = call.output(0, n.x);
  add_gradients(call, 1);
  dp_network_gradients(&n.value, call.data(1), of_second(2), of_second(3), call.data(4), of_second(5), gx);
}

/// A table sum: its inputs begin with r, the coefficients, starts and grid of the table, gates, index and weights.
dp_table table_of(const Arrays& call) {
  const Shape r = call.shape(0), table = call.shape(1);
  if (r.size() != 3 || table.size() != 3 || table[1] != 6) throw Refused("r and the coefficients need three axes");
  call.expect(2, table[0], "starts", false);
  call.expect(3, 10, "grid", false);
  call.expect(5, r[0] * r[1], "index", call.elements(4) == 0);
  call.expect(6, r[0] * r[1], "weights");
  if (call.data(4) && call.shape(4).back() != table[2]) throw Refused("the gates do not fit the table");
  dp_table t{r[0], r[1], r[2], call.data(0), table[0], table[2], call.data(1), call.data(2), {}, call.data(4),
             static_cast<const int64_t*>(call.data(5)), call.data(6), call.float64()};
  std::copy_n(static_cast<const double*>(call.data(3)), 10, t.grid);
  return t;
}

void table_sum(Arrays& call) {
  const dp_table t = table_of(call);
  dp_table_sum(&t, call.output(0, {t.rows, t.components, t.width}));
}

void table_slope(Arrays& call) {
  const dp_table t = table_of(call);
  call.expect(7, t.rows * t.components * t.width, "ga", false);
  void* gr = call.output(0, call.shape(0));
  void* gweights = call.output(1, call.shape(6));
  dp_table_slope(&t, call.data(7), gr, t.weights ? gweights : nullptr);
}

/// function(), whose exceptions become errors of TensorFlow.
template <class F>
void guarded(TF_OpKernelContext* context, const F& function) {
  std::string message;
  try {
    function();
    return;
  } catch (const Refused& refused) {
    message = refused.message;
  } catch (const std::exception& error) {
    message = error.what();
  }
  auto status = new_status();
  TF_SetStatus(status.get(), TF_INVALID_ARGUMENT, message.c_str());
  TF_OpKernelContext_Failure(context, status.get());
}

template <void (*function)(Call&), int first_param>
void compute(void* node, TF_OpKernelContext* context) {
  guarded(context, [&] {
    Call call(context, *static_cast<Node*>(node), first_param);
    function(call);
  });
}

template <void (*function)(Arrays&)>
void compute_table(void*, TF_OpKernelContext* context) {
  guarded(context, [&] {
    Arrays call(context);
    function(call);
  });
}

using Compute = void (*)(void*, TF_OpKernelContext*);

/// Definition and kernels of an operator; those with layers have their weights as the last inputs.
void add(const char* name, const std::vector<const char*>& attributes, const std::vector<const char*>& inputs,
         const std::vector<const char*>& outputs, void* (*create_node)(TF_OpKernelConstruction*), Compute function,
         void (*destroy_node)(void*)) {
  auto status = new_status();
  TF_OpDefinitionBuilder* definition = TF_NewOpDefinitionBuilder(name);
  for (const char* attribute : attributes) TF_OpDefinitionBuilderAddAttr(definition, attribute);
  for (const char* input : inputs) TF_OpDefinitionBuilderAddInput(definition, input);
  for (const char* output : outputs) TF_OpDefinitionBuilderAddOutput(definition, output);
  TF_OpDefinitionBuilderSetShapeInferenceFunction(definition, &TF_ShapeInferenceContextSetUnknownShape);
  TF_RegisterOpDefinition(definition, status.get());
  for (TF_DataType type : {TF_FLOAT, TF_DOUBLE}) {
    TF_KernelBuilder* kernel = TF_NewKernelBuilder(name, "CPU", create_node, function, destroy_node);
    TF_KernelBuilder_TypeConstraint(kernel, "T", type, status.get());
    TF_RegisterKernelBuilder(name, kernel, status.get());
  }
}

void add(const char* name, std::vector<const char*> inputs, const std::vector<const char*>& outputs, Compute function) {
  inputs.push_back("params: N * T");
  add(name, {"T: {float, double}", "N: int >= 1", "layers: list(int)", "keep: int = 0"}, inputs, outputs, &create,
      function, &destroy);
}

void add_table(const char* name, const std::vector<const char*>& more, const std::vector<const char*>& outputs,
               Compute function) {
  std::vector<const char*> inputs = {"r: T", "coefficients: T", "starts: T", "grid: double",
                                     "gates: T", "index: int64", "weights: T"};
  inputs.insert(inputs.end(), more.begin(), more.end());
  add(name, {"T: {float, double}"}, inputs, outputs, nullptr, function, nullptr);
}

struct Registration {
  Registration() {
    add("DpEmbeddingSum", {"r: T"}, {"a: T", "kept: T"}, &compute<&embedding_sum, 1>);
    add("DpEmbeddingSlope", {"r: T", "ga: T", "kept: T"}, {"gr: T"}, &compute<&embedding_slope, 3>);
    add("DpEmbeddingTransposedSlope", {"r: T", "v: T", "kept: T"}, {"of_ga: T"},
        &compute<&embedding_transposed_slope, 3>);
    add("DpEmbeddingGradients", {"r: T", "gu: T", "ga: T", "v: T", "kept: T"}, {"grads: N * T"},
        &compute<&embedding_gradients, 5>);
    add("DpNetworkValue", {"x: T"}, {"y: T", "kept: T"}, &compute<&network_value, 1>);
    add("DpNetworkSlope", {"x: T", "gy: T", "kept: T"}, {"gx: T"}, &compute<&network_slope, 3>);
    add("DpNetworkTangent", {"x: T", "v: T", "kept: T"}, {"of_gy: T", "tangents: T"}, &compute<&network_tangent, 3>);
    add("DpNetworkGradients", {"x: T", "gu: T", "gy: T", "v: T", "kept: T", "tangents: T"},
        {"gx: T", "grads: N * T"}, &compute<&network_gradients, 6>);
    add_table("DpTableSum", {}, {"a: T"}, &compute_table<&table_sum>);
    add_table("DpTableSlope", {"ga: T"}, {"gr: T", "gweights: T"}, &compute_table<&table_slope>);
  }
} registration;

}  // namespace
