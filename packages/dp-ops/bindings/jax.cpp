// The kernels of training and of tables as functions that JAX calls through XLA's foreign function interface. Their
// derivatives are defined where they are used, in Python.
//
// Each is exported as dp_jax_NAME. The attribute `layers` of those with weights: see operations.h.
#include <exception>
#include <string_view>

#include "isa.h"
#include "operations.h"
#include "xla_ffi.h"

namespace {

using dp::Refused;
using dp::Shape;
using xla_ffi::Buffer;
using xla_ffi::CallFrame;
using xla_ffi::Type;

class XlaCall : public dp::Call {
 public:
  explicit XlaCall(const CallFrame& frame) : frame_(frame) {
    const xla_ffi::Attributes& given = frame.attributes;
    for (int64_t k = 0; k < given.size; ++k) {
      if (given.kinds[k] != 1 || std::string_view(given.names[k]->begin, given.names[k]->size) != "layers") continue;
      const auto& array = *static_cast<const xla_ffi::Array*>(given.values[k]);
      if (array.type != Type::kS64) throw Refused("layers needs whole numbers of 64 bits");
      const auto* numbers = static_cast<const int64_t*>(array.data);
      layers_.assign(numbers, numbers + array.size);
    }
    if (type() != Type::kF32 && type() != Type::kF64) throw Refused("numbers need to be float32 or float64");
  }

  int inputs() const override { return int(frame_.arguments.size); }
  Shape shape(int k) const override { return shape_of(input(k)); }
  bool float64() const override { return type() == Type::kF64; }
  const void* numbers(int k) const override { return content(k, type()); }
  const double* doubles(int k) const override { return static_cast<const double*>(content(k, Type::kF64)); }
  const int64_t* integers(int k) const override { return static_cast<const int64_t*>(content(k, Type::kS64)); }
  const std::vector<int64_t>& layers() const override { return layers_; }
  bool keeps() const override { return shape_of(result(1)) != Shape{0}; }

  void* output(int k, const Shape& shape) override {
    const Buffer& buffer = result(k);
    if (buffer.type != type() || shape_of(buffer) != shape)
      throw Refused("an output has another type or shape than it should have");
    return buffer.data;
  }

 private:
  static Shape shape_of(const Buffer& buffer) { return Shape(buffer.dims, buffer.dims + buffer.rank); }
  static const Buffer& of(const xla_ffi::Buffers& buffers, int64_t k, const char* missing) {
    if (k >= buffers.size) throw Refused(missing);
    return *buffers.buffers[k];
  }
  const Buffer& input(int k) const { return of(frame_.arguments, k, "an input is missing"); }
  const Buffer& result(int k) const { return of(frame_.results, k, "an output is missing"); }
  Type type() const { return input(0).type; }
  const void* content(int k, Type type) const {
    if (elements(k) == 0) return nullptr;
    if (input(k).type != type) throw Refused("an input has another type than it should have");
    return input(k).data;
  }

  const CallFrame& frame_;
  std::vector<int64_t> layers_;
};

/// Answers what the runtime asks of a function before it is called: the version that it was written for.
void tell(const CallFrame& frame) {
  auto* asked = reinterpret_cast<xla_ffi::MetadataExtension*>(frame.extension_start)->metadata;
  // what is used has been the same in all versions of this major number, so that the function fits the runtime's
  const bool known = frame.api && frame.api->version.major == 0;
  asked->version = {sizeof(xla_ffi::Version), nullptr, 0, known ? frame.api->version.minor : 1};
  asked->traits = 0;
}

template <dp::Operation operation>
xla_ffi::Error* run(const CallFrame& frame) {
  if (frame.extension_start && frame.extension_start->type == 1) {
    tell(frame);
    return nullptr;
  }
  const auto error = [&](const char* message) {
    xla_ffi::ErrorToCreate made{sizeof(made), nullptr, message, xla_ffi::Code::kInvalidArgument};
    return frame.api->create_error(&made);
  };
  try {
    XlaCall call(frame);
    operation(call);
    return nullptr;
  } catch (const std::exception& problem) {
    return error(problem.what());
  } catch (...) {  // nothing may pass through the runtime, which is C
    return error("a kernel failed");
  }
}

}  // namespace

extern "C" {

DP_EXPORT void* dp_jax_embedding_sum(const CallFrame* frame) { return run<&dp::embedding_sum>(*frame); }
DP_EXPORT void* dp_jax_embedding_slope(const CallFrame* frame) { return run<&dp::embedding_slope>(*frame); }
DP_EXPORT void* dp_jax_embedding_transposed_slope(const CallFrame* frame) {
  return run<&dp::embedding_transposed_slope>(*frame);
}
DP_EXPORT void* dp_jax_embedding_gradients(const CallFrame* frame) { return run<&dp::embedding_gradients>(*frame); }
DP_EXPORT void* dp_jax_network_value(const CallFrame* frame) { return run<&dp::network_value>(*frame); }
DP_EXPORT void* dp_jax_network_slope(const CallFrame* frame) { return run<&dp::network_slope>(*frame); }
DP_EXPORT void* dp_jax_network_tangent(const CallFrame* frame) { return run<&dp::network_tangent>(*frame); }
DP_EXPORT void* dp_jax_network_gradients(const CallFrame* frame) { return run<&dp::network_gradients>(*frame); }
DP_EXPORT void* dp_jax_attention_value(const CallFrame* frame) { return run<&dp::attention_value>(*frame); }
DP_EXPORT void* dp_jax_attention_slope(const CallFrame* frame) { return run<&dp::attention_slope>(*frame); }
DP_EXPORT void* dp_jax_attention_tangent(const CallFrame* frame) { return run<&dp::attention_tangent>(*frame); }
DP_EXPORT void* dp_jax_attention_gradients(const CallFrame* frame) { return run<&dp::attention_gradients>(*frame); }
DP_EXPORT void* dp_jax_table_sum(const CallFrame* frame) { return run<&dp::table_sum>(*frame); }
DP_EXPORT void* dp_jax_table_slope(const CallFrame* frame) { return run<&dp::table_slope>(*frame); }
}
