// The part of the engine of PyTorch that is compiled against its headers.
#include "engines/torch_adapter.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/script.h>

#include <cstring>
#include <memory>
#include <mutex>
#include <sstream>
#include <streambuf>
#include <thread>

// Of the OpenMP that PyTorch has; null if it has none.
extern "C" __attribute__((weak)) void omp_set_num_threads(int count);

namespace {

using torch::Tensor;

/// While it lives, operations of this thread have so many threads; 0 changes nothing. at::set_num_threads would change
/// them for the whole process, of which this is a guest.
class Threads {
 public:
  explicit Threads(int count) : before_(at::get_num_threads()), changed_(count && omp_set_num_threads) {
    if (changed_) omp_set_num_threads(count);
  }
  ~Threads() {
    if (changed_) omp_set_num_threads(before_);
  }
  Threads(const Threads&) = delete;

 private:
  const int before_;
  const bool changed_;
};

struct Model {
  torch::Device device = torch::kCPU;
  int threads = 0;  // 0: as many as PyTorch has
  virtual ~Model() = default;
  virtual std::vector<Tensor> run(std::vector<Tensor> inputs) = 0;
};

/// Bytes as a stream, without a copy.
struct Memory : std::streambuf {
  Memory(const char* bytes, int64_t size) {
    char* begin = const_cast<char*>(bytes);
    setg(begin, begin, begin + size);
  }
  pos_type seekoff(off_type offset, std::ios_base::seekdir from, std::ios_base::openmode) override {
    char* base = from == std::ios_base::beg ? eback() : from == std::ios_base::cur ? gptr() : egptr();
    setg(eback(), base + offset, egptr());
    return gptr() - eback();
  }
  pos_type seekpos(pos_type place, std::ios_base::openmode mode) override {
    return seekoff(off_type(place), std::ios_base::beg, mode);
  }
};

struct Script : Model {
  torch::jit::Module module;

  Script(const char* path, const char* bytes, int64_t size, torch::Device where) {
    device = where;
    if (bytes) {
      Memory memory(bytes, size);
      std::istream stream(&memory);
      module = torch::jit::load(stream, device);
    } else {
      module = torch::jit::load(path, device);
    }
    module.eval();
  }

  std::vector<Tensor> run(std::vector<Tensor> inputs) override {
    std::vector<torch::jit::IValue> values(inputs.begin(), inputs.end());
    const auto outputs = module.forward(std::move(values)).toTuple();
    std::vector<Tensor> found;
    for (const auto& value : outputs->elements()) found.push_back(value.toTensor());
    return found;
  }
};

/// As many calls at once as there are processors.
size_t runners() { return std::max(1u, std::thread::hardware_concurrency()); }

struct Compiled : Model {
  torch::inductor::AOTIModelPackageLoader loader;

  explicit Compiled(const char* path, int gpu)
      : loader(path, "model", false, runners(), static_cast<c10::DeviceIndex>(gpu)) {
    if (gpu >= 0) device = torch::Device(torch::kCUDA, static_cast<c10::DeviceIndex>(gpu));
  }

  std::vector<Tensor> run(std::vector<Tensor> inputs) override { return loader.run(inputs); }
};

/// The device of a number, modulo how many there are; −1 for the processor.
int gpu_of(int number) {
  const char* wish = std::getenv("DEVICE");
  if (wish && std::string(wish) == "cpu") return -1;
  const int count = at::globalContext().hasCUDA() ? static_cast<int>(at::detail::getCUDAHooks().deviceCount()) : 0;
  return count ? number % count : -1;
}

void set_threads(int inter) {
  if (!inter) return;
  try {
    at::set_num_interop_threads(inter);
  } catch (const c10::Error&) {  // decided already, by this program or an earlier model
  }
}

/// What the user needs of the words of an exception of PyTorch: its first line.
void fail(const std::exception& error, void* receiver, DpTorchReceive receive) {
  const auto* known = dynamic_cast<const c10::Error*>(&error);
  const std::string words = known ? known->what_without_backtrace() : error.what();
  std::istringstream lines(words);
  std::string line, last, first;
  while (std::getline(lines, line)) {
    if (first.empty()) first = line;
    if (!line.empty()) last = line;
  }
  // errors inside a program end with what went wrong, after the place
  const std::string& chosen = first.rfind("The following operation failed", 0) == 0 ? last : first;
  receive(receiver, -1, chosen.data(), static_cast<int64_t>(chosen.size()));
}

Model* with_threads(Model* model, int threads) {
  model->threads = threads;
  return model;
}

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

void* open(const char* path, const char* bytes, int64_t size, int number, int intra, int inter, void* receiver,
           DpTorchReceive receive) {
  try {
    set_threads(inter);
    const Threads threads(intra);
    const int gpu = gpu_of(number);
    if (ends_with(path, ".pt2")) return with_threads(new Compiled(path, gpu), intra);
    const auto device = gpu < 0 ? torch::Device(torch::kCPU) : torch::Device(torch::kCUDA, gpu);
    return with_threads(new Script(path, bytes, size, device), intra);
  } catch (const std::exception& error) {
    fail(error, receiver, receive);
    return nullptr;
  }
}

int run(void* model, const DpTorchTensor* inputs, int count, void* receiver, DpTorchReceive receive) {
  try {
    auto& opened = *static_cast<Model*>(model);
    const Threads threads(opened.threads);
    const c10::InferenceMode guard;
    std::vector<Tensor> tensors;
    for (int k = 0; k < count; ++k) {
      const auto& x = inputs[k];
      const auto type = x.integers ? torch::kInt64 : torch::kFloat64;
      const at::IntArrayRef sizes(x.sizes, static_cast<size_t>(x.dimensions));
      tensors.push_back(torch::from_blob(const_cast<void*>(x.data), sizes, type).to(opened.device));
    }
    const auto outputs = opened.run(std::move(tensors));
    for (size_t k = 0; k < outputs.size(); ++k) {
      const Tensor out = outputs[k].to(torch::kCPU, torch::kFloat64).contiguous();
      receive(receiver, static_cast<int>(k), out.data_ptr(), out.numel());
    }
    return 0;
  } catch (const std::exception& error) {
    fail(error, receiver, receive);
    return 1;
  }
}

int on_gpu(void* model) { return !static_cast<Model*>(model)->device.is_cpu(); }

void close(void* model) { delete static_cast<Model*>(model); }

}  // namespace

extern "C" __attribute__((visibility("default"))) const DpTorchAdapter* dp_torch_adapter() {
  static const DpTorchAdapter adapter{open, run, on_gpu, close};
  return &adapter;
}
