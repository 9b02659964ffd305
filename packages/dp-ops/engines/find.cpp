#include "engines/find.h"

#include <dlfcn.h>
#include <link.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "runtime/engine.h"

#ifdef __GLIBC__
#include <malloc.h>

#include <climits>
#endif

namespace dp {
namespace fs = std::filesystem;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

void set_default(const char* name, const char* value) { setenv(name, value, 0); }

std::string own_folder() {
  Dl_info info;
  if (!dladdr(reinterpret_cast<void*>(&own_folder), &info) || !info.dli_fname) return ".";
  std::error_code ignored;
  const fs::path path = fs::canonical(info.dli_fname, ignored);
  return path.parent_path().string();
}

std::string loaded_library(const std::string& beginning) {
  struct Search {
    const std::string& beginning;
    std::string found;
  } search{beginning, ""};
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* data) {
        auto* s = static_cast<Search*>(data);
        const std::string path = info->dlpi_name ? info->dlpi_name : "";
        if (path.substr(path.rfind('/') + 1).rfind(s->beginning, 0) != 0) return 0;
        s->found = path;
        return 1;
      },
      &search);
  return search.found;
}

bool is_file(const std::string& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

bool is_folder(const std::string& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

namespace {

/// The installation with this prefix: one for each version of Python below it, the newest first.
std::vector<Python> below(const fs::path& prefix) {
  std::vector<Python> found;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(prefix / "lib", ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.rfind("python3.", 0) != 0 || !is_folder(entry.path().string())) continue;
    Python python{prefix.string(), name.substr(6), {}};
    for (const fs::path& folder : {entry.path() / "site-packages", entry.path() / "dist-packages",
                                   prefix / "local/lib" / name / "dist-packages", prefix / "lib/python3/dist-packages",
                                   fs::path(environment("HOME") + "/.local/lib") / name / "site-packages"}) {
      if (is_folder(folder.string())) python.folders.push_back(folder.string());
    }
    found.push_back(python);
  }
  std::sort(found.begin(), found.end(), [](const Python& a, const Python& b) {
    return std::stoi("0" + a.version.substr(2)) > std::stoi("0" + b.version.substr(2));
  });
  return found;
}

/// The prefix of an executable: its own if it is that of an environment, else that of the file behind its links.
fs::path prefix_of(const fs::path& executable) {
  const fs::path own = executable.parent_path().parent_path();
  std::error_code ignored;
  if (is_file((own / "pyvenv.cfg").string())) return own;
  const fs::path target = fs::canonical(executable, ignored);
  return target.empty() ? own : target.parent_path().parent_path();
}

void add(std::vector<Python>& all, const std::vector<Python>& more) {
  for (const auto& python : more) {
    const bool known = std::any_of(all.begin(), all.end(), [&](const Python& other) {
      return other.prefix == python.prefix && other.version == python.version;
    });
    if (!known) all.push_back(python);
  }
}

/// The installation whose packages this library is among, if it is.
std::vector<Python> around() {
  const fs::path packages = fs::path(own_folder()).parent_path().parent_path();  // …/dp_ops/lib/libdp_engine_NAME.so
  const std::string name = packages.filename().string();
  if (name != "site-packages" && name != "dist-packages") return {};
  auto found = below(packages.parent_path().parent_path().parent_path());  // …/lib/python3.x/site-packages
  const std::string python = packages.parent_path().filename().string();
  if (python.rfind("python", 0) != 0) return {};  // …/lib/python3/dist-packages has no version: none is the one
  const std::string version = python.substr(6);
  found.erase(std::remove_if(found.begin(), found.end(), [&](const Python& p) { return p.version != version; }),
              found.end());
  return found;
}

}  // namespace

std::vector<Python> pythons() {
  const std::string chosen = environment("DP_PYTHON");
  if (!chosen.empty()) {
    auto found = below(prefix_of(chosen));
    if (found.empty()) throw Error("DP_PYTHON is '" + chosen + "', which is not the executable of a Python.");
    return found;
  }
  auto all = around();
  for (const char* name : {"VIRTUAL_ENV", "CONDA_PREFIX"}) {
    if (const std::string prefix = environment(name); !prefix.empty()) add(all, below(prefix));
  }
  const std::string path = environment("PATH");
  for (size_t start = 0; start < path.size();) {
    const size_t end = std::min(path.find(':', start), path.size());
    const fs::path executable = fs::path(path.substr(start, end - start)) / "python3";
    start = end + 1;
    if (!is_file(executable.string())) continue;
    add(all, below(prefix_of(executable)));
    break;  // what the user means by python3
  }
  return all;
}

std::vector<std::string> package_folders() {
  std::vector<std::string> folders;
  for (const auto& python : pythons()) {
    for (const auto& folder : python.folders) {
      if (std::find(folders.begin(), folders.end(), folder) == folders.end()) folders.push_back(folder);
    }
  }
  return folders;
}

void keep_memory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
  mallopt(M_TOP_PAD, 1 << 26);
#endif
}

int devices_in_sight() {
  if (std::getenv("CUDA_VISIBLE_DEVICES")) {
    const std::string list = environment("CUDA_VISIBLE_DEVICES");
    if (list.empty() || list[0] == '-') return 0;
    return 1 + static_cast<int>(std::count(list.begin(), list.end(), ','));
  }
  int count = 0;
  while (fs::exists("/dev/nvidia" + std::to_string(count))) ++count;
  return count;
}

}  // namespace dp
