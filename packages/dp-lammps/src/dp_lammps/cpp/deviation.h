// How far several models are from each other, and the file that says so. It knows nothing of LAMMPS.
#pragma once

#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

namespace dp {

struct Range {
  double max = 0, min = 0, avg = 0;
};

/// The deviation of the vectors of each atom: sqrt of the mean of |f − mean f|² over the models.
///
/// vectors[k]: (n, 3) of model k. level: the deviation is divided by |mean f| + level.
std::vector<double> vector_deviation(const std::vector<std::vector<double>> &vectors, size_t n,
                                     std::optional<double> level);

/// Standard deviations of the nine components; avg is their root mean square. virials[k]: (9,) of model k, per atom.
Range virial_deviation(const std::vector<std::vector<double>> &virials, std::optional<double> level);

/// The file of deviations; closed files write nothing.
class DeviationFile {
 public:
  DeviationFile() = default;
  ~DeviationFile() { close(); }
  DeviationFile(const DeviationFile &) = delete;
  DeviationFile &operator=(const DeviationFile &) = delete;

  /// Opens the file at its end, or anew; an empty one gets a header. atomic: name of further columns, or empty. Raises
  /// std::runtime_error.
  void open(const std::string &path, bool append, const std::vector<std::string> &names, const std::string &atomic);
  void close();

  /// Writes one line, and sees to it that it reaches the disk.
  void write(int64_t step, const std::vector<double> &values);

 private:
  FILE *file_ = nullptr;
};

}  // namespace dp
