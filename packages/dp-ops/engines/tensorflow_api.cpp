#include "engines/tensorflow_api.h"

#include <dlfcn.h>

#include "engines/find.h"
#include "runtime/engine.h"

namespace dp {
namespace {

/// Opens a library; NULL, with the words of the loader, if it is not there or does not load.
void* open_library(const std::string& path, std::string& problem) {
  void* library = dlopen(path.c_str(), RTLD_LAZY | RTLD_LOCAL);
  if (!library) problem = dlerror();
  return library;
}

void* find_library() {
  // a second copy in one process would register everything twice, which ends it
  for (const char* name : {"libtensorflow_cc.so", "libtensorflow.so"}) {
    const std::string path = loaded_library(name);
    if (!path.empty()) return dlopen(path.c_str(), RTLD_LAZY | RTLD_NOLOAD);
  }
  std::string problem;
  if (const std::string path = environment("DP_TENSORFLOW_LIB"); !path.empty()) {
    if (void* library = open_library(path, problem)) return library;
    throw Error("DP_TENSORFLOW_LIB is '" + path + "', which does not load: " + problem + ".");
  }
  for (const auto& folder : package_folders()) {
    const std::string path = folder + "/tensorflow/libtensorflow_cc.so.2";
    if (!is_file(path)) continue;
    if (void* library = open_library(path, problem)) return library;
    throw Error("TensorFlow does not load: " + problem + ". Install it again: pip install --force-reinstall tensorflow");
  }
  for (const char* name : {"libtensorflow.so.2", "libtensorflow_cc.so.2"}) {
    if (void* library = open_library(name, problem)) return library;
  }
  throw Error(
      "The model needs TensorFlow, and there is none: not in this process, in the Python that dp-ops is installed in, in "
      "that of python3, nor among the libraries of the system. Install it: pip install tensorflow-cpu; or give the path "
      "of libtensorflow.so.2 as DP_TENSORFLOW_LIB, or of the python that has it as DP_PYTHON.");
}

template <class Function>
void resolve(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  if (!function) throw Error(std::string("The library of TensorFlow has no ") + name + ". Use version 2.12 or later.");
}

TensorflowApi load() {
  // what TensorFlow reads when it is loaded: no remarks, the same numbers as in Python, no rounding to TF32
  set_default("TF_CPP_MIN_LOG_LEVEL", "3");
  set_default("TF_ENABLE_ONEDNN_OPTS", "0");
  set_default("NVIDIA_TF32_OVERRIDE", "0");
  void* library = find_library();
  TensorflowApi api;
#define DP_RESOLVE(name) resolve(library, "TF_" #name, api.name)
  DP_RESOLVE(Version);
  DP_RESOLVE(NewStatus);
  DP_RESOLVE(DeleteStatus);
  DP_RESOLVE(GetCode);
  DP_RESOLVE(Message);
  DP_RESOLVE(NewBuffer);
  DP_RESOLVE(DeleteBuffer);
  DP_RESOLVE(NewGraph);
  DP_RESOLVE(DeleteGraph);
  DP_RESOLVE(NewImportGraphDefOptions);
  DP_RESOLVE(DeleteImportGraphDefOptions);
  DP_RESOLVE(GraphImportGraphDef);
  DP_RESOLVE(GraphOperationByName);
  DP_RESOLVE(NewSessionOptions);
  DP_RESOLVE(DeleteSessionOptions);
  DP_RESOLVE(SetConfig);
  DP_RESOLVE(NewSession);
  DP_RESOLVE(LoadSessionFromSavedModel);
  DP_RESOLVE(CloseSession);
  DP_RESOLVE(DeleteSession);
  DP_RESOLVE(SessionRun);
  DP_RESOLVE(SessionListDevices);
  DP_RESOLVE(DeviceListCount);
  DP_RESOLVE(DeviceListType);
  DP_RESOLVE(DeleteDeviceList);
  DP_RESOLVE(NewTensor);
  DP_RESOLVE(DeleteTensor);
  DP_RESOLVE(TensorData);
  DP_RESOLVE(TensorByteSize);
  DP_RESOLVE(TensorType);
#undef DP_RESOLVE
  return api;
}

}  // namespace

const TensorflowApi& tensorflow_api() {
  static const TensorflowApi api = load();  // tried again at the next call if it raises
  return api;
}

}  // namespace dp
