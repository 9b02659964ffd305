#include "engines/python_api.h"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "engines/find.h"
#include "runtime/engine.h"

namespace dp {
namespace {
namespace fs = std::filesystem;

/// The prefix of the installation that an environment is made of, else its own.
fs::path base_of(const fs::path& prefix) {
  std::ifstream settings(prefix / "pyvenv.cfg");
  for (std::string line; std::getline(settings, line);) {
    const size_t equals = line.find('=');
    if (equals == std::string::npos || line.rfind("home", 0) != 0) continue;
    return fs::path(line.substr(line.find_first_not_of(" =", equals))).parent_path();
  }
  return prefix;
}

/// libpython of an installation, all of whose symbols modules can see; NULL if it has none.
void* open_library(const Python& python, std::string& problem) {
  const std::string name = "libpython" + python.version + ".so.1.0";
  std::error_code ignored;
  fs::path base = base_of(python.prefix);
  const fs::path target = fs::canonical(base / "bin" / ("python" + python.version), ignored);
  for (const fs::path& folder : {base / "lib", target.parent_path().parent_path() / "lib"}) {
    if (!is_file((folder / name).string())) continue;
    if (void* library = dlopen((folder / name).c_str(), RTLD_NOW | RTLD_GLOBAL)) return library;
    problem = dlerror();
  }
  if (void* library = dlopen(name.c_str(), RTLD_NOW | RTLD_GLOBAL)) return library;
  if (problem.empty()) problem = dlerror();
  return nullptr;
}

bool has_dp(const Python& python) {
  for (const auto& folder : python.folders) {
    if (is_folder(folder + "/dp_core")) return true;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(folder, ignored)) {  // installed as a link to its sources
      if (entry.path().filename().string().rfind("dp_core-", 0) == 0) return true;
    }
  }
  return false;
}

template <class Function>
bool resolve(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  return function != nullptr;
}

PythonApi functions_of(void* library) {
  PythonApi api;
  resolve(library, "Py_SetProgramName", api.SetProgramName);
  const bool all = resolve(library, "Py_IsInitialized", api.IsInitialized) &&
                   resolve(library, "Py_InitializeEx", api.InitializeEx) &&
                   resolve(library, "PyEval_SaveThread", api.SaveThread) &&
                   resolve(library, "PyGILState_Ensure", api.GilEnsure) &&
                   resolve(library, "PyGILState_Release", api.GilRelease) &&
                   resolve(library, "PyImport_ImportModule", api.ImportModule) &&
                   resolve(library, "PyObject_CallMethod", api.CallMethod) &&
                   resolve(library, "PyUnicode_AsUTF8", api.AsUtf8) &&
                   resolve(library, "Py_DecRef", api.DecRef) &&
                   resolve(library, "PyErr_Fetch", api.ErrFetch) &&
                   resolve(library, "PyErr_NormalizeException", api.ErrNormalize) &&
                   resolve(library, "PyObject_Str", api.Str);
  if (!all) throw Error("The library of Python lacks functions that are needed. Use CPython 3.11 or later.");
  return api;
}

/// Starts the first Python that has dp.
PythonApi start() {
  std::string problem;
  for (const auto& python : pythons()) {
    if (!has_dp(python)) continue;
    void* library = open_library(python, problem);
    if (!library) continue;
    const PythonApi api = functions_of(library);
    // from its name Python finds the environment that it belongs to; the string must stay
    static const std::wstring name = fs::path(python.prefix + "/bin/python3").wstring();
    if (api.SetProgramName) api.SetProgramName(name.c_str());
    api.InitializeEx(0);  // signals remain the program's
    api.SaveThread();
    return api;
  }
  if (!problem.empty()) {
    throw Error("Python does not load: " + problem + ". Install the shared library of that version of Python.");
  }
  throw Error(
      "The model is evaluated by dp-core, and no Python has it: not the one that dp-ops is installed in, nor python3. "
      "Install it: pip install dp-core; or give the path of the python that has it as DP_PYTHON.");
}

PythonApi load() {
  void* whole = dlopen(nullptr, RTLD_LAZY);
  if (!dlsym(whole, "Py_IsInitialized")) {
    const std::string path = loaded_library("libpython3.");
    if (path.empty()) return start();
    whole = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
  }
  const PythonApi api = functions_of(whole);
  if (!api.IsInitialized()) {
    api.InitializeEx(0);
    api.SaveThread();
  }
  return api;
}

}  // namespace

const PythonApi& python_api() {
  static const PythonApi api = load();  // tried again at the next call if it raises
  return api;
}

}  // namespace dp
