#include "handle.h"

#include <cstdio>
#include <cstring>
#include <exception>
#include <new>

namespace dp {
namespace {

/// Refuse models that give something else than the object is for.
void check_kind(Kind kind, const Model& model, const std::string& path) {
  const OutputDef& output = model.output();
  const std::string what = output.kind.empty() ? output.name : output.kind;
  const bool energy = what == "energy", spin = !model.record().spin_scale.empty();
  if (energy != (kind == Kind::energy || kind == Kind::spin)) {
    throw Error(path + " is a model of " + what + (energy ? "; open it as a DeepPot." : ", not of energies; open it as a DeepTensor."));
  }
  if (kind == Kind::energy && spin) throw Error(path + " is a model of atoms with spins; open it as a DeepSpin.");
  if (kind == Kind::spin && !spin) throw Error(path + " is a model of atoms without spins; open it as a DeepPot.");
  if (kind == Kind::dipole && model.components() != 3) throw Error(path + " is a model of " + what + ", not of dipoles.");
}

void check_alike(const std::vector<std::unique_ptr<Model>>& models, const char* const* paths) {
  for (size_t k = 1; k < models.size(); ++k) {
    const Record &a = models[0]->record(), &b = models[k]->record();
    if (a.rcut != b.rcut || a.type_map.size() != b.type_map.size() || a.numb_fparam != b.numb_fparam ||
        a.numb_aparam != b.numb_aparam || a.dim_chg_spin != b.dim_chg_spin) {
      throw Error(std::string(paths[0]) + " and " + paths[k] +
                  " differ in cutoff, number of types or parameters; models are compared only where these are the same.");
    }
  }
}

/// The text with question marks in place of bytes that are not UTF-8, as a damaged file may put into a message.
std::string as_utf8(std::string text) {
  for (size_t i = 0; i < text.size();) {
    const auto byte = [&](size_t at) { return at < text.size() ? static_cast<unsigned char>(text[at]) : 0; };
    const int first = byte(i);
    const size_t length = first < 0x80 ? 1 : first >= 0xC2 && first < 0xE0 ? 2 : first >= 0xE0 && first < 0xF0 ? 3 : first >= 0xF0 && first < 0xF5 ? 4 : 0;
    bool whole = length > 0;
    for (size_t k = 1; k < length; ++k) whole = whole && (byte(i + k) & 0xC0) == 0x80;
    // overlong forms, surrogates, and numbers beyond the last
    if (length > 2) whole = whole && !(first == 0xE0 && byte(i + 1) < 0xA0) && !(first == 0xED && byte(i + 1) > 0x9F) &&
                            !(first == 0xF0 && byte(i + 1) < 0x90) && !(first == 0xF4 && byte(i + 1) > 0x8F);
    if (!whole) text[i] = '?';
    i += whole ? length : 1;
  }
  return text;
}

}  // namespace

Model& Handle::model() {
  if (models.empty()) throw Error("The object has no model, because it could not be opened.");
  return *models[0];
}

Handle* handle_of(const void* object) {
  if (!object) return nullptr;
  uint64_t magic;
  std::memcpy(&magic, object, sizeof(magic));
  return magic == Handle::kMagic ? const_cast<Handle*>(static_cast<const Handle*>(object)) : nullptr;
}

void delete_handle(void* object) { delete handle_of(object); }

void report(const std::string& message) { std::fprintf(stderr, "dp: %s\n", message.c_str()); }

std::string current_message() {
  try {
    throw;
  } catch (const std::bad_alloc&) {
    return "The memory is not enough.";
  } catch (const std::exception& error) {
    return as_utf8(error.what());
  } catch (...) {
    return "Something unknown went wrong.";
  }
}

const char* copied(const std::string& text) {
  char* copy = new (std::nothrow) char[text.size() + 1];
  if (copy) std::memcpy(copy, text.c_str(), text.size() + 1);
  return copy;
}

Handle* open_models(Kind kind, const char* const* paths, int count, int device, const char* const* contents, const int* sizes) {
  Handle* handle = new (std::nothrow) Handle;
  guarded(handle, [&](Handle& h) {
    if (!paths || count < 1) throw Error("No model file was named.");
    std::vector<std::unique_ptr<Model>> models;
    for (int k = 0; k < count; ++k) {
      if (!paths[k]) throw Error("No model file was named.");
      Source source;
      source.path = paths[k];
      source.device = device;
      if (contents && sizes && contents[k] && sizes[k] > 0) {
        source.bytes = contents[k];
        source.size = static_cast<size_t>(sizes[k]);
      }
      models.push_back(std::make_unique<Model>(source));
      check_kind(kind, *models.back(), source.path);
      std::printf("load model from: %s to cpu\n", source.path.c_str());
    }
    std::fflush(stdout);
    check_alike(models, paths);
    if (kind == Kind::tensor || kind == Kind::dipole) h.selected_types = models[0]->selected_types();
    h.models = std::move(models);
  });
  return handle;
}

}  // namespace dp
