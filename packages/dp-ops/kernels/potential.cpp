// Potentials: descriptors, fitting networks, and a constant for each type, over blocks of rows.
#include <cstdio>
#include <exception>
#include <memory>
#include <vector>

#include "descriptor.h"
#include "potential.h"

namespace DP_NAMESPACE {
namespace {

constexpr double kMostBytes = 256.0 * (1 << 20);  // of the polynomials of all functions together
constexpr double kMostOfOne = 64.0 * (1 << 20);
constexpr int64_t kBlock = 64;  // rows of one block: many enough for products, few enough for the cache

template <class T>
class PotentialOf final : public dp::Potential {
 public:
  explicit PotentialOf(const dp_potential_settings& s)
      : fparam_(s.numb_fparam), aparam_(s.numb_aparam), case_(s.case_embd, s.case_embd + s.dim_case) {
    std::vector<int64_t> order;
    int64_t functions = 1;
    for (int64_t d = 0; d < s.descriptors; ++d) functions += s.descriptor[d].functions;
    // shares are equal, so that results do not depend on which function is needed first
    const double most_bytes = std::min(kMostOfOne, kMostBytes / double(functions));
    for (int64_t d = 0; d < s.descriptors; ++d) {
      descriptors_.push_back(std::make_unique<Descriptor<T>>(s.descriptor[d], most_bytes));
      for (int64_t p = 0; p < descriptors_.back()->size(); ++p)
        order.push_back(described_ + descriptors_.back()->place(p));
      described_ += descriptors_.back()->size();
      state_ += descriptors_.back()->state_size();
    }
    width_ = described_ + fparam_ + aparam_ + s.dim_case;
    for (int64_t p = described_; p < width_; ++p) order.push_back(p);
    stride_ = padded<T>(width_) + kLanes<T>;
    for (int64_t t = 0; t < s.networks; ++t) networks_.emplace_back(s.network[t], order);
    auto copy = [](const double* from, int64_t n) { return std::vector<double>(from, from + n); };
    fparam_avg_ = copy(s.fparam_avg, fparam_), fparam_inv_std_ = copy(s.fparam_inv_std, fparam_);
    aparam_avg_ = copy(s.aparam_avg, aparam_), aparam_inv_std_ = copy(s.aparam_inv_std, aparam_);
    vacuum_.assign(s.vacuum, s.vacuum + s.ntypes);
    factor_ = copy(s.factor, s.ntypes), constant_ = copy(s.constant, s.ntypes);
  }

  void evaluate(const dp::PotentialTable& table, double* energy, double* gradient) const override {
    const int64_t ntypes = static_cast<int64_t>(vacuum_.size());
    std::vector<std::vector<int64_t>> rows(networks_.size());
    std::fill(energy, energy + table.rows, 0.0);
    std::fill(gradient, gradient + table.rows * table.slots * 3, 0.0);
    for (int64_t i = 0; i < table.rows; ++i) {
      const int64_t type = table.types[i];
      if (type < 0 || type >= ntypes) continue;
      if (factor_[size_t(type)] == 0)
        energy[i] = constant_[size_t(type)];
      else
        rows[networks_.size() == 1 ? 0 : size_t(type)].push_back(i);
    }
    static thread_local Memory memory;
    for (size_t net = 0; net < rows.size(); ++net) {
      const int64_t all = static_cast<int64_t>(rows[net].size());
      for (int64_t k = 0; k < all; k += kBlock)
        evaluate_block(networks_[net], table, &rows[net][size_t(k)], std::min(kBlock, all - k), memory, energy,
                       gradient);
    }
  }

 private:
  struct Memory {
    typename Descriptor<T>::Memory descriptor;
    typename Network<T>::Memory network;
    Buffer<T> x, dx, state, out;
  };

  Row row_of(const dp::PotentialTable& table, int64_t i) const {
    const int64_t ntypes = static_cast<int64_t>(vacuum_.size());
    const int64_t* types = table.neighbor_types + i * table.slots;
    int64_t lowest = 0;
    for (int64_t k = 0; k < table.slots; ++k) lowest = std::min(lowest, types[k]);
    const int64_t first = lowest < -1 ? -2 - lowest : ntypes;
    return {table.types[i], first, table.slots, table.vectors + i * table.slots * 3, types};
  }

  void evaluate_block(const Network<T>& network, const dp::PotentialTable& table, const int64_t* rows, int64_t count,
                      Memory& memory, double* energy, double* gradient) const {
    memory.x.resize(count * stride_ + kLanes<T>);
    memory.dx.resize(count * stride_ + kLanes<T>);
    memory.state.resize(count * state_);
    memory.out.resize(count);
    for (int64_t k = 0; k < count; ++k) {
      const Row row = row_of(table, rows[k]);
      T *x = &memory.x[k * stride_], *state = &memory.state[k * state_];
      int64_t at = 0;
      for (const auto& d : descriptors_) {
        d->forward(row, memory.descriptor, state, x + at);
        at += d->size(), state += d->state_size();
      }
      parameters(table, rows[k], x + at);
    }
    network.forward(count, memory.x.data(), stride_, memory.network, memory.out.data());
    network.backward(count, memory.network, memory.dx.data(), stride_);
    bool vacuum = false;
    for (int64_t k = 0; k < count; ++k) {
      const size_t type = size_t(table.types[rows[k]]);
      energy[rows[k]] = double(memory.out[k]) * factor_[type] + constant_[type];
      vacuum = vacuum || vacuum_[type];
      T *dx = &memory.dx[k * stride_], *state = &memory.state[k * state_];
      const Row row = row_of(table, rows[k]);
      for (const auto& d : descriptors_) {
        d->backward(row, memory.descriptor, state, dx, gradient + rows[k] * table.slots * 3);
        dx += d->size(), state += d->state_size();
      }
    }
    if (!vacuum) return;
    for (int64_t k = 0; k < count; ++k) std::fill(&memory.x[k * stride_], &memory.x[k * stride_] + described_, T(0));
    network.forward(count, memory.x.data(), stride_, memory.network, memory.out.data());
    for (int64_t k = 0; k < count; ++k)
      if (vacuum_[size_t(table.types[rows[k]])])
        energy[rows[k]] -= double(memory.out[k]) * factor_[size_t(table.types[rows[k]])];
  }

  void parameters(const dp::PotentialTable& table, int64_t i, T* x) const {
    const double *f = table.fparam + (fparam_ ? table.frame[i] * fparam_ : 0), *a = table.aparam + i * aparam_;
    for (int64_t p = 0; p < fparam_; ++p) *x++ = T((f[p] - fparam_avg_[size_t(p)]) * fparam_inv_std_[size_t(p)]);
    for (int64_t p = 0; p < aparam_; ++p) *x++ = T((a[p] - aparam_avg_[size_t(p)]) * aparam_inv_std_[size_t(p)]);
    for (double c : case_) *x++ = T(c);
  }

  int64_t fparam_, aparam_, described_ = 0, state_ = 0, width_ = 0, stride_ = 0;
  std::vector<double> case_, fparam_avg_, fparam_inv_std_, aparam_avg_, aparam_inv_std_, factor_, constant_;
  std::vector<uint8_t> vacuum_;
  std::vector<std::unique_ptr<Descriptor<T>>> descriptors_;
  std::vector<Network<T>> networks_;
};

}  // namespace

dp::Potential* make_potential(const dp_potential_settings& settings) {
  if (settings.single) return new PotentialOf<float>(settings);
  return new PotentialOf<double>(settings);
}

}  // namespace DP_NAMESPACE
