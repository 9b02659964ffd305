// Evaluates .dp, .yaml, .hlo and checkpoints with dp-core, in the Python of this process or in one that is started.
#include <memory>

#include "engines/buckets.h"
#include "engines/inputs.h"
#include "engines/python_api.h"
#include "runtime/model_file.h"

namespace dp {
namespace {

/// As dp_core.embedded reads it.
struct PythonTable {
  int64_t rows, slots, frames, row_blocks, slot_blocks;
  const void *vectors, *index, *types, *neighbor_types, *frame, *fparam, *aparam, *weight, *blocks;
};

/// What calls from Python write to, in the thread that called it.
struct Received {
  std::string record, document;
  int64_t number = 0;
  Values* values = nullptr;
};
thread_local Received* received = nullptr;

void receive(int64_t which, const void* data, int64_t size) {
  const auto* text = static_cast<const char*>(data);
  if (which == -1) {
    received->record.assign(text, static_cast<size_t>(size));
  } else if (which == -2) {
    received->document.assign(text, static_cast<size_t>(size));
  } else if (received->values) {
    const auto* numbers = static_cast<const double*>(data);
    (*received->values)[static_cast<size_t>(which)].assign(numbers, numbers + size);
  } else {
    received->number = which;
  }
}

/// Owns a reference; the lock must be held.
struct Reference {
  const PythonApi& api;
  PyObject* object;
  ~Reference() {
    if (object) api.DecRef(object);
  }
};

/// The words of the exception that was raised, which is forgotten.
std::string exception(const PythonApi& api) {
  PyObject *kind = nullptr, *value = nullptr, *trace = nullptr;
  api.ErrFetch(&kind, &value, &trace);
  api.ErrNormalize(&kind, &value, &trace);
  const Reference owned[] = {{api, kind}, {api, value}, {api, trace}, {api, value ? api.Str(value) : nullptr}};
  const char* text = owned[3].object ? api.AsUtf8(owned[3].object) : nullptr;
  return text ? text : "unknown exception";
}

/// Raises Error with the sentence that a function of dp_core.embedded gave.
void check(const PythonApi& api, PyObject* result) {
  if (!result) throw Error("Python raised an exception: " + exception(api));
  const Reference owned{api, result};
  const char* text = api.AsUtf8(result);
  const std::string sentence = text ? text : exception(api);
  if (!sentence.empty()) throw Error(sentence);
}

long long address(const void* pointer) { return reinterpret_cast<long long>(pointer); }

class PythonEngine : public Engine {
 public:
  explicit PythonEngine(const Source& source)
      : api_(python_api()), path_(source.path), compiled_(suffix_of(source.path) == ".hlo") {
    const Gil lock(api_);
    module_ = api_.ImportModule("dp_core.embedded");
    if (!module_) {
      throw Error("dp-core does not load in the Python of this process: " + exception(api_) +
                  ". Install it: pip install dp-core");
    }
    Received got;
    received = &got;
    check(api_, api_.CallMethod(module_, "open_model", "sLLL", source.path.c_str(), address(source.bytes),
                                static_cast<long long>(source.size), address(reinterpret_cast<void*>(&receive))));
    record_ = parse_record(got.record, source.path);
    document_ = std::move(got.document);
    number_ = got.number;
  }

  ~PythonEngine() override {
    if (!api_.IsInitialized()) return;  // Python ended before this object
    const Gil lock(api_);
    PyObject* result = api_.CallMethod(module_, "close", "L", static_cast<long long>(number_));
    if (result) api_.DecRef(result);
    api_.DecRef(module_);
  }

  const Record& record() const override { return record_; }
  const std::string& document() const override { return document_; }
  int64_t rows_at_once() const override { return 256; }
  bool threaded() const override { return true; }  // one thread holds the lock of the interpreter
  int64_t round_rows(int64_t rows) const override { return compiled_ ? bucket_of_rows(rows) : rows; }
  int64_t round_slots(int64_t slots) const override { return compiled_ ? slots_.round(slots) : slots; }

  void evaluate(const Table& table, Values& values) override {
    if (set_empty(record_, table, values)) return;
    check_table(record_, table);
    std::vector<int64_t> blocks(table.row_blocks);
    blocks.insert(blocks.end(), table.slot_blocks.begin(), table.slot_blocks.end());
    const PythonTable given{table.rows,
                            table.slots,
                            table.frames,
                            static_cast<int64_t>(table.row_blocks.size()),
                            static_cast<int64_t>(table.slot_blocks.size()),
                            table.vectors,
                            table.index,
                            table.types,
                            table.neighbor_types,
                            table.frame,
                            table.fparam,
                            table.aparam,
                            record_.weighted ? table.weight : nullptr,
                            blocks.data()};
    values.resize(record_.outputs.size());
    Received got;
    got.values = &values;
    const Gil lock(api_);
    received = &got;
    try {
      check(api_, api_.CallMethod(module_, "evaluate", "LLL", static_cast<long long>(number_), address(&given),
                                  address(reinterpret_cast<void*>(&receive))));
    } catch (const Error& error) {
      throw Error(path_ + " could not be evaluated: " + error.what());
    }
  }

 private:
  const PythonApi& api_;
  const std::string path_;
  const bool compiled_;
  PyObject* module_ = nullptr;
  Record record_;
  std::string document_;
  int64_t number_ = 0;
  mutable SlotBuckets slots_;
};

}  // namespace

extern "C" __attribute__((visibility("default"))) Engine* dp_open_engine(const Source& source) {
  return new PythonEngine(source);
}

}  // namespace dp
