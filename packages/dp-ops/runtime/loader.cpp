#include "loader.h"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <sstream>
#include <vector>

#include "document.h"
#include "model_file.h"

namespace dp {
namespace {

namespace fs = std::filesystem;

/// Engines by suffix; where there are several, the first that can evaluate the model.
const std::map<std::string, std::vector<std::string>> kEngines = {
    {".dp", {"native", "python"}},  {".yaml", {"python"}},      {".yml", {"python"}},
    {".pth", {"torch"}},            {".pt2", {"torch"}},        {".pb", {"tensorflow"}},
    {".savedmodeltf", {"tensorflow"}}, {".savedmodel", {"tensorflow"}}, {".hlo", {"python"}},
};

std::string known_suffixes() {
  std::string names;
  for (const auto& [suffix, engines] : kEngines) names += (names.empty() ? "" : ", ") + suffix;
  return names;
}

/// Places of an engine in the order in which they are tried.
std::vector<std::string> places(const std::string& name) {
  const std::string file = "libdp_engine_" + name + ".so";
  std::vector<std::string> found;
  if (const char* folders = std::getenv("DP_BACKEND_PLUGIN_PATH")) {
    std::istringstream list(folders);
    for (std::string folder; std::getline(list, folder, ':');) {
      if (!folder.empty()) found.push_back(folder + "/" + file);
    }
  }
  found.push_back(library_folder() + "/" + file);
  return found;
}

/// Raises OtherEngine where there is no such engine.
OpenEngine load_library(const std::string& name) {
  std::string problem;
  for (const std::string& place : places(name)) {
    std::error_code ignored;
    if (!fs::exists(place, ignored)) continue;
    void* library = dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL);  // never closed: frameworks cannot be unloaded
    if (!library) {
      problem = dlerror();
      continue;
    }
    if (void* open = dlsym(library, "dp_open_engine")) return reinterpret_cast<OpenEngine>(open);
    problem = place + " is no engine";
  }
  if (!problem.empty()) throw OtherEngine("the engine '" + name + "' cannot be loaded: " + problem);
  throw OtherEngine("the engine '" + name + "' is not installed: libdp_engine_" + name + ".so is neither in " + library_folder() +
                    " nor in a folder of DP_BACKEND_PLUGIN_PATH");
}

void check_exists(const Source& source) {
  if (source.size) return;
  std::error_code ignored;
  if (!fs::exists(source.path, ignored)) throw Error(source.path + " does not exist. Check the path.");
}

/// Refuse damaged documents for what they are before engines tell, one after the other, that they cannot read them, and
/// before one of them starts Python.
void check_document(const Source& source) {
  if (suffix_of(source.path) != ".dp") return;
  const std::string bytes = source_bytes(source);
  try {
    read_document(bytes);
  } catch (const Error& error) {
    throw Error(source.path + ": " + error.what() + ". Copy or write it again.");
  }
}

}  // namespace

std::string library_folder() {
  Dl_info info;
  if (!dladdr(reinterpret_cast<void*>(&library_folder), &info) || !info.dli_fname) return ".";
  return fs::absolute(fs::path(info.dli_fname)).parent_path().string();
}

std::unique_ptr<Engine> open_engine(const Source& source) {
  const std::string suffix = suffix_of(source.path);
  const auto known = kEngines.find(suffix);
  if (known == kEngines.end()) {
    throw Error(source.path + " has " + (suffix.empty() ? "no suffix" : "the suffix '" + suffix + "'") +
                ", which tells no kind of model. Known: " + known_suffixes());
  }
  check_exists(source);
  check_document(source);
  std::string reasons;
  for (const std::string& name : known->second) {
    const bool last = name == known->second.back();
    try {
      return std::unique_ptr<Engine>(load_library(name)(source));
    } catch (const OtherEngine& error) {
      reasons += (last && reasons.empty() ? "" : name + ": ") + error.what() + (last ? "" : "; ");
    } catch (const std::exception& error) {  // it knows the model, and what is wrong with it
      reasons += (reasons.empty() ? "" : name + ": ") + std::string(error.what());
      break;
    }
  }
  // engines name the file where it matters
  throw Error(reasons.find(source.path) == std::string::npos ? source.path + " cannot be evaluated: " + reasons : reasons);
}

}  // namespace dp
