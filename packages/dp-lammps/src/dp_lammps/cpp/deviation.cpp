#include "deviation.h"

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cmath>
#include <cstring>
#include <stdexcept>

namespace dp {

std::vector<double> vector_deviation(const std::vector<std::vector<double>> &vectors, size_t n,
                                     std::optional<double> level) {
  const double models = static_cast<double>(vectors.size());
  std::vector<double> result(n);
  for (size_t i = 0; i < n; ++i) {
    double mean[3] = {}, sum = 0;
    for (auto &f : vectors)
      for (int d = 0; d < 3; ++d) mean[d] += f[3 * i + d] / models;
    for (auto &f : vectors)
      for (int d = 0; d < 3; ++d) sum += (f[3 * i + d] - mean[d]) * (f[3 * i + d] - mean[d]);
    result[i] = std::sqrt(sum / models);
    if (level) result[i] /= std::sqrt(mean[0] * mean[0] + mean[1] * mean[1] + mean[2] * mean[2]) + *level;
  }
  return result;
}

Range virial_deviation(const std::vector<std::vector<double>> &virials, std::optional<double> level) {
  const double models = static_cast<double>(virials.size());
  Range range;
  double squares = 0;
  for (int c = 0; c < 9; ++c) {
    double mean = 0, sum = 0;
    for (auto &v : virials) mean += v[c] / models;
    for (auto &v : virials) sum += (v[c] - mean) * (v[c] - mean);
    double s = std::sqrt(sum / models);
    if (level) s /= std::fabs(mean) + *level;
    range.max = c ? std::max(range.max, s) : s;
    range.min = c ? std::min(range.min, s) : s;
    squares += s * s;
  }
  range.avg = std::sqrt(squares / 9);
  return range;
}

void DeviationFile::open(const std::string &path, bool append, const std::vector<std::string> &names,
                         const std::string &atomic) {
  close();
  file_ = std::fopen(path.c_str(), append ? "a" : "w");
  if (!file_)
    throw std::runtime_error("cannot write " + path + " (" + std::strerror(errno) +
                             "): name another file with `out_file NAME` on the pair_style line");
  std::fseek(file_, 0, SEEK_END);
  if (append && std::ftell(file_) > 0) return;
  std::fprintf(file_, "#%11s", "step");
  for (auto &name : names) std::fprintf(file_, "%19s", name.c_str());
  if (!atomic.empty()) std::fprintf(file_, "%19s", atomic.c_str());
  std::fprintf(file_, "\n");
  std::fflush(file_);
}

void DeviationFile::close() {
  if (file_) std::fclose(file_);
  file_ = nullptr;
}

void DeviationFile::write(int64_t step, const std::vector<double> &values) {
  if (!file_) return;
  std::fprintf(file_, "%12" PRId64, step);
  for (double value : values) std::fprintf(file_, " %18.6e", value);
  std::fprintf(file_, "\n");
  std::fflush(file_);
}

}  // namespace dp
