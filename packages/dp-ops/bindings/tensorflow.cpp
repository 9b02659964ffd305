// The kernels of training and of tables as operators of TensorFlow. Their gradients are defined where they are used, in
// Python. The attribute `layers` and the order of the inputs: see operations.h.
#include "operations.h"

#include <memory>
#include <string>

#include "tensorflow_c.h"

namespace {

using dp::Refused;
using dp::Shape;

struct DeleteStatus {
  void operator()(TF_Status* s) const { TF_DeleteStatus(s); }
};
struct DeleteTensor {
  void operator()(TF_Tensor* t) const { TF_DeleteTensor(t); }
};
using Status = std::unique_ptr<TF_Status, DeleteStatus>;
using Tensor = std::unique_ptr<TF_Tensor, DeleteTensor>;

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

class TensorflowCall : public dp::Call {
 public:
  TensorflowCall(TF_OpKernelContext* context, const Node& node) : context_(context), node_(node) {
    for (int k = 0; k < TF_NumInputs(context); ++k) {
      TF_Tensor* tensor = nullptr;
      auto status = new_status();
      TF_GetInput(context, k, &tensor, status.get());
      if (TF_GetCode(status.get()) != TF_OK) throw Refused("an input is missing");
      inputs_.emplace_back(tensor);
    }
  }

  int inputs() const override { return int(inputs_.size()); }
  Shape shape(int k) const override {
    Shape dims;
    for (int axis = 0; axis < TF_NumDims(inputs_[k].get()); ++axis) dims.push_back(TF_Dim(inputs_[k].get(), axis));
    return dims;
  }
  bool float64() const override { return TF_TensorType(inputs_[0].get()) == TF_DOUBLE; }
  const void* numbers(int k) const override {
    return TF_TensorElementCount(inputs_[k].get()) ? TF_TensorData(inputs_[k].get()) : nullptr;
  }
  const double* doubles(int k) const override { return static_cast<const double*>(numbers(k)); }
  const int64_t* integers(int k) const override { return static_cast<const int64_t*>(numbers(k)); }
  const std::vector<int64_t>& layers() const override { return node_.layers; }
  bool keeps() const override { return node_.keep != 0; }

  void* output(int k, const Shape& shape) override {
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
  const Node& node_;
  std::vector<Tensor> inputs_, outputs_;
};

using Compute = void (*)(void*, TF_OpKernelContext*);

/// Runs an operation, whose exceptions become errors of TensorFlow. Operators without attributes have no node.
template <dp::Operation operation>
void compute(void* node, TF_OpKernelContext* context) {
  static const Node none;
  const auto fail = [&](const char* message) {
    auto status = new_status();
    TF_SetStatus(status.get(), TF_INVALID_ARGUMENT, message);
    TF_OpKernelContext_Failure(context, status.get());
  };
  try {
    TensorflowCall call(context, node ? *static_cast<const Node*>(node) : none);
    operation(call);
  } catch (const std::exception& error) {
    fail(error.what());
  } catch (...) {  // nothing may pass through the runtime, which calls by C
    fail("a kernel failed");
  }
}

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

void add_attention(const char* name, const std::vector<const char*>& more, const std::vector<const char*>& outputs,
                   Compute function) {
  std::vector<const char*> inputs = {"g: T", "direction: T", "weight: T", "valid: T", "spare: T", "settings: double"};
  inputs.insert(inputs.end(), more.begin(), more.end());
  add(name, inputs, outputs, function);
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
    add("DpEmbeddingSum", {"r: T", "kind: int64"}, {"a: T", "kept: T"}, &compute<&dp::embedding_sum>);
    add("DpEmbeddingSlope", {"r: T", "kind: int64", "ga: T", "kept: T"}, {"gr: T"}, &compute<&dp::embedding_slope>);
    add("DpEmbeddingTransposedSlope", {"r: T", "kind: int64", "v: T", "kept: T"}, {"of_ga: T"},
        &compute<&dp::embedding_transposed_slope>);
    add("DpEmbeddingGradients", {"r: T", "kind: int64", "gu: T", "ga: T", "v: T", "kept: T"}, {"grads: N * T"},
        &compute<&dp::embedding_gradients>);
    add("DpNetworkValue", {"x: T"}, {"y: T", "kept: T"}, &compute<&dp::network_value>);
    add("DpNetworkSlope", {"x: T", "gy: T", "kept: T"}, {"gx: T"}, &compute<&dp::network_slope>);
    add("DpNetworkTangent", {"x: T", "v: T", "kept: T"}, {"of_gy: T", "tangents: T"}, &compute<&dp::network_tangent>);
    add("DpNetworkGradients", {"x: T", "gu: T", "gy: T", "v: T", "kept: T", "tangents: T"},
        {"gx: T", "grads: N * T"}, &compute<&dp::network_gradients>);
    add_attention("DpAttentionValue", {}, {"value: T", "kept: T"}, &compute<&dp::attention_value>);
    add_attention("DpAttentionSlope", {"gy: T", "kept: T"}, {"of_g: T", "of_direction: T", "of_weight: T"},
                  &compute<&dp::attention_slope>);
    add_attention("DpAttentionTangent", {"v: T", "v_direction: T", "v_weight: T", "kept: T"},
                  {"of_gy: T", "tangents: T"}, &compute<&dp::attention_tangent>);
    add_attention("DpAttentionGradients",
                  {"gu: T", "gy: T", "v: T", "v_direction: T", "v_weight: T", "kept: T", "tangents: T"},
                  {"of_g: T", "grads: N * T"}, &compute<&dp::attention_gradients>);
    add_table("DpTableSum", {}, {"a: T"}, &compute<&dp::table_sum>);
    add_table("DpTableSlope", {"ga: T"}, {"gr: T", "gweights: T"}, &compute<&dp::table_slope>);
  }
} registration;

}  // namespace
