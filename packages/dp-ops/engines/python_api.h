// The few functions of CPython that are needed, found at run time in whatever Python there is; it is not linked.
#pragma once

#include <string>

struct _object;
using PyObject = _object;

namespace dp {

struct PythonApi {
  int (*IsInitialized)();
  void (*InitializeEx)(int signal_handlers);
  void (*SetProgramName)(const wchar_t*);  // not in every version
  void* (*SaveThread)();
  int (*GilEnsure)();
  void (*GilRelease)(int);
  PyObject* (*ImportModule)(const char*);
  PyObject* (*CallMethod)(PyObject*, const char* name, const char* format, ...);
  const char* (*AsUtf8)(PyObject*);
  void (*DecRef)(PyObject*);
  void (*ErrFetch)(PyObject**, PyObject**, PyObject**);
  void (*ErrNormalize)(PyObject**, PyObject**, PyObject**);
  PyObject* (*Str)(PyObject*);
};

/// The Python of this process: the one that runs, else one that is started at the first call and never ended. Raises
/// Error where there is none.
const PythonApi& python_api();

/// Holds the interpreter's lock. Any thread may.
class Gil {
 public:
  explicit Gil(const PythonApi& api) : api_(api), state_(api.GilEnsure()) {}
  ~Gil() { api_.GilRelease(state_); }
  Gil(const Gil&) = delete;

 private:
  const PythonApi& api_;
  int state_;
};

}  // namespace dp
