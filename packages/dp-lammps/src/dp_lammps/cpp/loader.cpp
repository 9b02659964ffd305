// The file that LAMMPS opens. It depends on no release of LAMMPS: it asks the running one which it is, and opens the
// library of styles compiled for exactly that one, because classes of LAMMPS change between updates of one release.
// Where there is none, the styles exist all the same, and using one is an error that says what to do.
#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "plugin_record.h"

namespace {

constexpr int kErrorOfAllRanks = 2;  // LMP_ERROR_ALL of LAMMPS' library.h

std::string problem;  // why there are no styles; a sentence

/// Raises an error of LAMMPS on all ranks.
[[noreturn]] void refuse(void *lmp) {
  using Raise = void (*)(void *, int, const char *);
  if (auto raise = reinterpret_cast<Raise>(dlsym(RTLD_DEFAULT, "lammps_error")))
    raise(lmp, kErrorOfAllRanks, problem.c_str());
  throw std::runtime_error(problem);
}

void *refuse_without_arguments(void *lmp) { refuse(lmp); }

void *refuse_with_arguments(void *lmp, int, char **) { refuse(lmp); }

void register_refusals(void *lmp, void *handle, dp::RegisterStyle add, const char *version) {
  const char *const styles[][2] = {{"pair", "deepmd"},
                                   {"pair", "deepspin"},
                                   {"kspace", "pppm/dplr"},
                                   {"compute", "deeptensor/atom"},
                                   {"compute", "deepmd/fparam/dedn"},
                                   {"fix", "dplr"}};
  for (auto &style : styles) {
    const std::string kind = style[0];
    dp::PluginRecord record{version, style[0], style[1], "deep potentials (not loaded)", "dp", {nullptr}, handle};
    if (kind == "pair" || kind == "kspace")
      record.creator.v1 = refuse_without_arguments;
    else
      record.creator.v2 = refuse_with_arguments;
    add(&record, lmp);
  }
}

std::string folder_of_this_file() {
  Dl_info info;
  if (!dladdr(reinterpret_cast<void *>(&folder_of_this_file), &info)) return ".";
  const std::string path = info.dli_fname;
  const auto end = path.rfind('/');
  return end == std::string::npos ? "." : path.substr(0, end);
}

std::string setting(const char *name) {
  const char *value = std::getenv(name);
  return value ? value : "";
}

/// Opens the inference library of dp-ops for everyone, as the styles are not linked with it. Empty: done.
std::string open_models(const std::string &folder) {
  const std::string given = setting("DP_C_LIBRARY");
  const std::vector<std::string> usual{folder + "/../dp_ops/lib/libdeepmd_c.so", "libdeepmd_c.so"};
  const std::vector<std::string> places = given.empty() ? usual : std::vector<std::string>{given};
  std::string reason;
  for (auto &place : places) {
    if (dlopen(place.c_str(), RTLD_NOW | RTLD_GLOBAL)) return "";
    reason += (reason.empty() ? "" : "; ") + std::string(dlerror());
  }
  return "dp-lammps cannot open libdeepmd_c.so of dp-ops (" + reason +
         "): install it beside dp-lammps with `pip install dp-ops`, or give its path in the environment variable "
         "DP_C_LIBRARY.";
}

/// The LAMMPS that runs: its git description, as stable_22Jul2025_update4, or its version, as 4Feb2025, where it was not
/// built from a checkout of git.
std::string running_release(void *lmp) {
  const auto describe = reinterpret_cast<dp::ReleaseOf>(dlsym(RTLD_DEFAULT, "_ZN9LAMMPS_NS6LAMMPS14git_descriptorEv"));
  const std::string description = describe ? describe() : "(unknown)";
  if (description != "(unknown)") return description;
  using Extract = void *(*)(void *, const char *);
  const auto extract = reinterpret_cast<Extract>(dlsym(RTLD_DEFAULT, "lammps_extract_global"));
  const auto version = extract ? static_cast<const char *>(extract(lmp, "lammps_version")) : nullptr;
  std::string release = version ? version : "unknown";
  release.erase(std::remove(release.begin(), release.end(), ' '), release.end());
  return release;
}

std::string cache_folder() {
  const std::string cache = setting("XDG_CACHE_HOME");
  return (cache.empty() ? setting("HOME") + "/.cache" : cache) + "/dp-lammps";
}

}  // namespace

extern "C" void lammpsplugin_init(void *lmp, void *handle, void *regfunc) {
  const auto add = reinterpret_cast<dp::RegisterStyle>(regfunc);
  const std::string release = running_release(lmp);
  const std::string folder = folder_of_this_file();
  const std::string no_models = open_models(folder);
  problem = no_models;
  for (auto &place : {setting("DP_LAMMPS_STYLES"), folder, cache_folder()}) {
    const std::string file = place + "/styles-" + release + ".so";
    if (!no_models.empty() || place.empty() || access(file.c_str(), R_OK) != 0) continue;
    void *library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library) {
      problem = "dp-lammps cannot open " + file + " (" + dlerror() + "): compile it again with `python -m dp_lammps.build`.";
      continue;
    }
    const auto built_for = reinterpret_cast<dp::ReleaseOf>(dlsym(library, dp::kReleaseSymbol));
    const auto register_all = reinterpret_cast<dp::RegisterAll>(dlsym(library, dp::kRegisterSymbol));
    if (built_for && register_all && release == built_for()) {
      register_all(lmp, handle, regfunc, "dp-lammps");
      return;
    }
    problem = "dp-lammps: " + file + " was compiled for LAMMPS " + (built_for ? built_for() : "unknown") +
              ", but this is " + release + ": compile it again with `python -m dp_lammps.build`.";
  }
  if (problem.empty())
    problem = "dp-lammps has no styles for this LAMMPS, " + release +
              ": classes of LAMMPS differ between updates. For a LAMMPS that pip installed, compile them with `python -m "
              "dp_lammps.build` (seconds; needs g++), or get back its own with `pip install --force-reinstall dp-lammps`; "
              "for one built from source, compile them with cmake -DLAMMPS_SOURCE_DIR=.../src -DLAMMPS_RELEASE=" +
              release + " (docs/lammps.md).";
  register_refusals(lmp, handle, add, "dp-lammps");
}
