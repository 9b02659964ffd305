// What the opaque pointers of the C interface point to, and the border that no exception crosses.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "model.h"

namespace dp {

/// One or several models. All objects of the C interface that hold models are this.
struct Handle {
  static constexpr uint64_t kMagic = 0x6470206d6f64656cULL;

  uint64_t magic = kMagic;  // tells objects from what callers hand over by mistake
  std::string message;
  std::vector<std::unique_ptr<Model>> models;
  std::vector<int> selected_types;  // of models of tensors

  ~Handle() { magic = 0; }
  /// The first model. Raises Error if there is none.
  Model& model();
};

/// What a pointer of the C interface points to; null if it is no such object.
Handle* handle_of(const void* object);

/// Free an object; what is none is left alone.
void delete_handle(void* object);

/// Print a message to stderr.
void report(const std::string& message);

/// The message of the exception that is being handled.
std::string current_message();

/// A copy of a text for the caller, to be freed with delete[].
const char* copied(const std::string& text);

/// Do something with an object. Its message is cleared before, and set if something goes wrong.
template <class Work>
void guarded(const void* object, Work work) {
  Handle* handle = handle_of(object);
  if (!handle) {
    report("A function was called without an object, or with one that was freed.");
    return;
  }
  handle->message.clear();
  try {
    work(*handle);
  } catch (...) {
    handle->message = current_message();
    report(handle->message);
  }
}

/// A value of the first model; `otherwise` without one.
template <class Value, class Ask>
Value asked(const void* object, Value otherwise, Ask ask) {
  const Handle* handle = handle_of(object);
  if (!handle || handle->models.empty()) return otherwise;
  try {
    return ask(*handle->models[0]);
  } catch (...) {
    report(current_message());
    return otherwise;
  }
}

enum class Kind { energy, spin, tensor, dipole };

/// An object with models from files, or with the message why there are none.
///
/// contents, sizes: the bytes of each file, where the size is not 0; may be null.
Handle* open_models(Kind kind, const char* const* paths, int count, int device, const char* const* contents, const int* sizes);

}  // namespace dp
