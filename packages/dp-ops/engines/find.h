// Where the frameworks of the user are: libraries that this process has, or those of a Python installation.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace dp {

/// The value of an environment variable, or an empty string.
std::string environment(const char* name);

/// Sets an environment variable that is not set.
void set_default(const char* name, const char* value);

/// The folder of the library that this function is in.
std::string own_folder();

/// The path of a loaded library whose file name begins so; empty if there is none.
std::string loaded_library(const std::string& beginning);

/// A Python installation. The folders are those of its packages.
struct Python {
  std::string prefix;  // of a virtual environment, or of the installation itself
  std::string version;  // like 3.11
  std::vector<std::string> folders;
};

/// Python installations in the order in which they are asked: that of $DP_PYTHON (an executable) alone if it is set;
/// else the one that dp-ops is installed in, an active environment, `python3` on the PATH.
std::vector<Python> pythons();

/// The folders of packages of all of them.
std::vector<std::string> package_folders();

bool is_file(const std::string& path);
bool is_folder(const std::string& path);

/// The number of NVIDIA devices that the process may use, without asking a driver.
int devices_in_sight();

/// Lets the C library keep freed memory: mapping every large array anew takes half of the time of whole tables.
void keep_memory();

}  // namespace dp
