// Evaluates .pb, .savedmodeltf and .savedmodel with the C library of TensorFlow.
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <set>

#include "engines/buckets.h"
#include "engines/find.h"
#include "engines/inputs.h"
#include "engines/signature.h"
#include "engines/tensorflow_api.h"
#include "kernels/thread_setting.h"
#include "runtime/model_file.h"

namespace dp {
namespace {

/// Programs of XLA that a session keeps: each takes memory maps, of which a process has some 65,000.
constexpr size_t MOST_PROGRAMS = 64;

class Status {
 public:
  explicit Status(const TensorflowApi& api) : api_(api), status_(api.NewStatus()) {}
  ~Status() { api_.DeleteStatus(status_); }
  Status(const Status&) = delete;
  operator TF_Status*() const { return status_; }

  /// Raises Error, which begins with the words, if the last call failed.
  void check(const std::string& words) const {
    if (api_.GetCode(status_) == 0) return;
    const std::string message = api_.Message(status_);
    throw Error(words + ": " + message.substr(0, message.find('\n')));
  }

 private:
  const TensorflowApi& api_;
  TF_Status* status_;
};

/// The options of a session as a ConfigProto: threads, and memory of devices as it is needed.
///
/// With message passing a table is evaluated by many threads. Else the runtime evaluates parts in threads of its own, and
/// each does all of its part; −1 between operations means the thread that calls.
/// Programs of XLA run in threads of the session, whoever calls, so there are as many.
std::string configuration(int device, bool message_passing, bool compiled) {
  std::string config;
  const int intra = message_passing || compiled ? thread_setting("INTRA", true) : 1;
  const int inter = message_passing ? thread_setting("INTER", true) : -1;
  const auto number = [](char key, int64_t value) {
    std::string bytes(1, key);
    auto rest = static_cast<uint64_t>(value);
    for (; rest > 127; rest >>= 7) bytes += static_cast<char>((rest & 127) | 128);
    return bytes + static_cast<char>(rest);
  };
  if (intra) config += number(2 << 3, intra);
  if (inter) config += number(5 << 3, inter);
  std::string gpu = number(4 << 3, 1);  // allow_growth
  if (const int count = devices_in_sight(); count > 1) {
    const std::string name = std::to_string(device % count);
    gpu += number(5 << 3 | 2, static_cast<int64_t>(name.size())) + name;  // visible_device_list
  }
  return config + number(6 << 3 | 2, static_cast<int64_t>(gpu.size())) + gpu;
}

/// A graph with a session that runs it.
class Session {
 public:
  Session(const TensorflowApi& api, const Source& source, const Record& record) : api_(api), status_(api) {
    try {
      open(source, record);
    } catch (...) {
      close();
      throw;
    }
  }
  ~Session() { close(); }
  Session(const Session&) = delete;

  std::vector<TF_Output> inputs, outputs;

  void run(const std::vector<TF_Tensor*>& given, std::vector<TF_Tensor*>& found) const {
    Status status(api_);
    api_.SessionRun(session_, nullptr, inputs.data(), given.data(), static_cast<int>(given.size()), outputs.data(),
                    found.data(), static_cast<int>(found.size()), nullptr, 0, nullptr, status);
    status.check("TensorFlow could not evaluate the model");
  }

  bool on_gpu() const {
    Status status(api_);
    TF_DeviceList* devices = api_.SessionListDevices(session_, status);
    status.check("TensorFlow does not tell its devices");
    bool found = false;
    for (int k = 0; k < api_.DeviceListCount(devices); ++k) {
      const char* type = api_.DeviceListType(devices, k, status);
      found |= type && std::string(type) == "GPU";
    }
    api_.DeleteDeviceList(devices);
    return found;
  }

 private:
  void open(const Source& source, const Record& record) {
    const std::string words = source.path + " does not load in TensorFlow " + api_.Version();
    graph_ = api_.NewGraph();
    options_ = api_.NewSessionOptions();
    const std::string config = configuration(source.device, record.message_passing, suffix_of(source.path) == ".savedmodel");
    api_.SetConfig(options_, config.data(), config.size(), status_);
    status_.check(words);
    Signature signature;
    if (is_folder(source.path)) {
      signature = open_folder(source.path, words);
    } else {
      open_graph(source, words);
    }
    for (const auto& name : record.inputs) inputs.push_back(node(signature.inputs, name, words));
    for (const auto& output : record.outputs) outputs.push_back(node(signature.outputs, output.name, words));
  }

  Signature open_folder(const std::string& path, const std::string& words) {
    const char* tag = "serve";
    TF_Buffer* content = api_.NewBuffer();
    session_ = api_.LoadSessionFromSavedModel(options_, nullptr, path.c_str(), &tag, 1, graph_, content, status_);
    const std::string message(static_cast<const char*>(content->data), content->data ? content->length : 0);
    api_.DeleteBuffer(content);
    status_.check(words);
    return read_signature(message, "serving_default");
  }

  void open_graph(const Source& source, const std::string& words) {
    const std::string read = source.bytes ? "" : read_file(source.path);
    TF_Buffer buffer{source.bytes ? source.bytes : read.data(), source.bytes ? source.size : read.size(), nullptr};
    TF_ImportGraphDefOptions* import = api_.NewImportGraphDefOptions();
    api_.GraphImportGraphDef(graph_, &buffer, import, status_);
    api_.DeleteImportGraphDefOptions(import);
    status_.check(words);
    session_ = api_.NewSession(graph_, options_, status_);
    status_.check(words);
  }

  /// The end of a graph that a name stands for, like `x` or `node:1`.
  TF_Output node(const std::map<std::string, std::string>& names, const std::string& name, const std::string& words) {
    const auto known = names.find(name);
    std::string place = known == names.end() ? name : known->second;
    int number = 0;
    if (const size_t colon = place.find(':'); colon != std::string::npos) {
      number = std::atoi(place.c_str() + colon + 1);
      place.resize(colon);
    }
    TF_Operation* found = api_.GraphOperationByName(graph_, place.c_str());
    if (!found) throw Error(words + ": there is no " + name + " in it. Freeze the model again.");
    return {found, number};
  }

  void close() {
    if (session_) {
      api_.CloseSession(session_, status_);
      api_.DeleteSession(session_, status_);
    }
    if (options_) api_.DeleteSessionOptions(options_);
    if (graph_) api_.DeleteGraph(graph_);
  }

  const TensorflowApi& api_;
  Status status_;
  TF_Graph* graph_ = nullptr;
  TF_SessionOptions* options_ = nullptr;
  TF_Session* session_ = nullptr;
};

/// Tensors that are deleted together.
class Tensors {
 public:
  Tensors(const TensorflowApi& api, size_t count) : all(count), api_(api) {}
  ~Tensors() {
    for (TF_Tensor* tensor : all) {
      if (tensor) api_.DeleteTensor(tensor);
    }
  }
  Tensors(const Tensors&) = delete;
  std::vector<TF_Tensor*> all;

 private:
  const TensorflowApi& api_;
};

class TensorflowEngine : public Engine {
 public:
  explicit TensorflowEngine(const Source& source)
      : frozen_(read_frozen(source)),
        api_(tensorflow_api()),
        // programs of JAX are compiled for each combination of sizes
        compiled_(suffix_of(source.path) == ".savedmodel"),
        source_{source.path, nullptr, 0, source.device},
        session_(std::make_shared<Session>(api_, source, frozen_.record)),
        gpu_(session_->on_gpu()) {
    if (frozen_.record.message_passing && !gpu_) keep_memory();
  }

  const Record& record() const override { return frozen_.record; }
  const std::string& document() const override { return frozen_.document; }
  int64_t rows_at_once() const override { return rows_with(frozen_.record, gpu_ ? SLOTS_ON_GPU : SLOTS_IN_CACHE); }
  bool threaded() const override { return gpu_ || frozen_.record.message_passing; }
  int64_t round_rows(int64_t rows) const override { return compiled_ ? bucket_of_rows(rows) : rows; }
  int64_t round_slots(int64_t slots) const override { return compiled_ ? slots_.round(slots) : slots; }

  void evaluate(const Table& table, Values& values) override {
    if (set_empty(frozen_.record, table, values)) return;
    Inputs inputs(frozen_.record, table);
    if (compiled_) inputs.pad_frames(bucket_of_rows(table.frames));
    const auto session = session_for(inputs);
    Tensors given(api_, inputs.size()), found(api_, frozen_.record.outputs.size());
    for (size_t k = 0; k < inputs.size(); ++k) {
      const Input& x = inputs[k];
      given.all[k] = api_.NewTensor(x.integers ? TF_INT64_TYPE : TF_DOUBLE_TYPE, x.sizes, x.dimensions,
                                    const_cast<void*>(x.data), x.bytes(), [](void*, size_t, void*) {}, nullptr);
    }
    session->run(given.all, found.all);
    values.resize(found.all.size());
    for (size_t k = 0; k < found.all.size(); ++k) {
      if (api_.TensorType(found.all[k]) != TF_DOUBLE_TYPE) {
        throw Error("The output " + frozen_.record.outputs[k].name + " of the model is not of float64. Freeze it again.");
      }
      const auto* numbers = static_cast<const double*>(api_.TensorData(found.all[k]));
      values[k].assign(numbers, numbers + api_.TensorByteSize(found.all[k]) / sizeof(double));
    }
  }

 private:
  /// The session that evaluates these sizes; a new one when that before has compiled for many.
  std::shared_ptr<Session> session_for(const Inputs& inputs) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!compiled_) return session_;
    if (sizes_.insert(inputs.lengths()).second && sizes_.size() > MOST_PROGRAMS) {
      session_ = std::make_shared<Session>(api_, source_, frozen_.record);
      sizes_ = {inputs.lengths()};
    }
    return session_;
  }

  const FrozenFile frozen_;
  const TensorflowApi& api_;
  const bool compiled_;
  const Source source_;
  std::mutex mutex_;
  std::set<std::vector<int64_t>> sizes_;
  std::shared_ptr<Session> session_;
  const bool gpu_;
  mutable SlotBuckets slots_;
};

}  // namespace

extern "C" __attribute__((visibility("default"))) Engine* dp_open_engine(const Source& source) {
  return new TensorflowEngine(source);
}

}  // namespace dp
