// Evaluates .pth and .pt2 with PyTorch, through the adapter that is compiled for the version of PyTorch that is found.
#include <dlfcn.h>

#include <filesystem>
#include <fstream>

#include "engines/find.h"
#include "engines/inputs.h"
#include "engines/torch_adapter.h"
#include "kernels/thread_setting.h"
#include "runtime/model_file.h"

namespace dp {
namespace {
namespace fs = std::filesystem;

/// A PyTorch: the folder `torch` of packages, and its version without what follows a plus.
struct Torch {
  std::string folder, version;
};

std::string version_in(const std::string& folder) {
  std::ifstream file(folder + "/version.py");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("__version__", 0) != 0) continue;
    const size_t start = line.find('\'') + 1;
    return line.substr(start, line.find_first_of("+'", start) - start);
  }
  return "";
}

Torch find_torch() {
  // a second copy in one process would not work with the first
  if (const std::string path = loaded_library("libtorch_cpu.so"); !path.empty()) {
    const std::string folder = fs::path(path).parent_path().parent_path().string();
    return {folder, version_in(folder)};
  }
  for (const auto& packages : package_folders()) {
    const std::string folder = packages + "/torch";
    if (is_file(folder + "/lib/libtorch_cpu.so")) return {folder, version_in(folder)};
  }
  throw Error(
      "The model needs PyTorch, and there is none: not in this process, in the Python that dp-ops is installed in, nor in "
      "that of python3. Install it: pip install torch; or give the path of the python that has it as DP_PYTHON.");
}

/// The adapter for a version: beside this library, or what `python -m dp_ops.build torch` made.
std::string find_adapter(const Torch& torch) {
  const std::string place = "torch-" + torch.version + "/libdp_torch.so";
  const std::string chosen = environment("XDG_CACHE_HOME");
  const std::string cache = chosen.empty() ? environment("HOME") + "/.cache" : chosen;
  const std::string places[] = {own_folder() + "/" + place, cache + "/dp-ops/" DP_OPS_VERSION "/" + place};
  for (const auto& path : places) {
    if (is_file(path)) return path;
  }
  std::string versions;
  for (const auto& path : places) {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(fs::path(path).parent_path().parent_path(), ignored)) {
      const std::string name = entry.path().filename().string();
      if (name.rfind("torch-", 0) != 0 || !is_file(entry.path().string() + "/libdp_torch.so")) continue;
      versions += (versions.empty() ? "" : ", ") + name.substr(6);
    }
  }
  throw Error("dp-ops is compiled for PyTorch " + (versions.empty() ? "of no version" : versions) + ", and " +
              torch.version + " is installed in " + torch.folder +
              ". Compile it for this one: python -m dp_ops.build torch (it needs g++).");
}

const DpTorchAdapter& adapter() {
  static const DpTorchAdapter& found = []() -> const DpTorchAdapter& {
    const Torch torch = find_torch();
    const std::string path = find_adapter(torch);
    // the adapter names its libraries only; those of this folder have these names from now on
    void* library = dlopen((torch.folder + "/lib/libtorch.so").c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library) library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library) throw Error("PyTorch " + torch.version + " does not load: " + dlerror() + ".");
    using Function = const DpTorchAdapter* (*)();
    const auto function = reinterpret_cast<Function>(dlsym(library, "dp_torch_adapter"));
    if (!function) throw Error(path + " is damaged. Remove it, and run: python -m dp_ops.build torch");
    return *function();
  }();
  return found;
}

/// What the adapter gives back.
struct Received {
  Values* values;
  std::string error;

  static void take(void* receiver, int k, const void* data, int64_t count) {
    auto& self = *static_cast<Received*>(receiver);
    if (k < 0) {
      self.error.assign(static_cast<const char*>(data), static_cast<size_t>(count));
    } else if (static_cast<size_t>(k) < self.values->size()) {
      const auto* numbers = static_cast<const double*>(data);
      (*self.values)[static_cast<size_t>(k)].assign(numbers, numbers + count);
    }
  }
};

class TorchEngine : public Engine {
 public:
  explicit TorchEngine(const Source& source)
      : frozen_(read_frozen(source)), adapter_(adapter()), threaded_(frozen_.record.message_passing) {
    // PyTorch itself obeys OMP_NUM_THREADS; where the runtime evaluates parts in threads, each has one
    const int intra = threaded_ ? thread_setting("INTRA", false) : 1;
    const int inter = thread_setting("INTER", false);
    Received got{nullptr, ""};
    model_ = adapter_.open(source.path.c_str(), source.bytes, static_cast<int64_t>(source.size), source.device, intra,
                           inter, &got, &Received::take);
    if (!model_) throw Error(source.path + " does not load in PyTorch: " + got.error + " Freeze it again, on this machine.");
    gpu_ = adapter_.on_gpu(model_);
    threaded_ |= gpu_;
    if (frozen_.record.message_passing && !gpu_) keep_memory();
  }
  ~TorchEngine() override { adapter_.close(model_); }

  const Record& record() const override { return frozen_.record; }
  const std::string& document() const override { return frozen_.document; }
  int64_t rows_at_once() const override { return rows_with(frozen_.record, gpu_ ? SLOTS_ON_GPU : SLOTS_IN_CACHE); }
  bool threaded() const override { return threaded_; }

  void evaluate(const Table& table, Values& values) override {
    if (set_empty(frozen_.record, table, values)) return;
    const Inputs inputs(frozen_.record, table);
    std::vector<DpTorchTensor> tensors;
    for (size_t k = 0; k < inputs.size(); ++k) {
      const Input& x = inputs[k];
      tensors.push_back({x.data, {x.sizes[0], x.sizes[1], x.sizes[2]}, x.dimensions, x.integers});
    }
    values.resize(frozen_.record.outputs.size());
    Received got{&values, ""};
    if (adapter_.run(model_, tensors.data(), static_cast<int>(tensors.size()), &got, &Received::take)) {
      throw Error("PyTorch could not evaluate the model: " + got.error);
    }
  }

 private:
  const FrozenFile frozen_;
  const DpTorchAdapter& adapter_;
  bool threaded_, gpu_ = false;
  void* model_ = nullptr;
};

}  // namespace

extern "C" __attribute__((visibility("default"))) Engine* dp_open_engine(const Source& source) {
  return new TorchEngine(source);
}

}  // namespace dp
