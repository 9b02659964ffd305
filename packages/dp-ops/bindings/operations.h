// What the operators of all frameworks compute: kernels of training and of tables, on the inputs and outputs of a call.
//
// An input without numbers stands for one that is not there. Operations on networks have their weights as the last
// inputs: w, b and idt of each layer in turn, those that there are; shift is one of them if there is kind. Calls that do
// not fit together are refused.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <vector>

namespace dp {

using Shape = std::vector<int64_t>;

struct Refused : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// One call, as its framework has it. Numbers are those of the type of the first input, float or double.
class Call {
 public:
  virtual ~Call() = default;
  virtual int inputs() const = 0;
  virtual Shape shape(int k) const = 0;
  virtual bool float64() const = 0;
  /// The content of an input; null if it is not there.
  virtual const void* numbers(int k) const = 0;
  virtual const double* doubles(int k) const = 0;
  virtual const int64_t* integers(int k) const = 0;
  /// The memory of an output of that shape.
  virtual void* output(int k, const Shape& shape) = 0;
  /// For each layer n_in, n_out, past, linear, and 1 or 0 for whether it has b and idt.
  virtual const std::vector<int64_t>& layers() const = 0;
  /// Whether a sum keeps what its derivatives need.
  virtual bool keeps() const = 0;

  int64_t elements(int k) const;
  /// Refuses an input that has not so many numbers; it may be missing, unless said otherwise.
  void expect(int k, int64_t count, const char* what, bool may_miss = true) const;
};

using Operation = void (*)(Call&);

void embedding_sum(Call&);               // r, kind -> a, kept
void embedding_slope(Call&);             // r, kind, ga, kept -> gr
void embedding_transposed_slope(Call&);  // r, kind, v, kept -> of_ga
void embedding_gradients(Call&);         // r, kind, gu, ga, v, kept -> gradients of the weights
void network_value(Call&);               // x -> y, kept
void network_slope(Call&);               // x, gy, kept -> gx
void network_tangent(Call&);             // x, v, kept -> of_gy, tangents
void network_gradients(Call&);           // x, gu, gy, v, kept, tangents -> gx, gradients of the weights
// g, direction, weight, valid, spare, and settings, numbers of 64 bits: scale, eps, normalize, smooth; and
void attention_value(Call&);             // nothing more -> value, kept
void attention_slope(Call&);             // gy, kept -> of_g, of_direction, of_weight
void attention_tangent(Call&);           // v, v_direction, v_weight, kept -> of_gy, tangents
void attention_gradients(Call&);         // gu, gy, v, v_direction, v_weight, kept, tangents -> of_g, those of weights
void table_sum(Call&);                   // r, coefficients, starts, grid, gates, index, weights -> a
void table_slope(Call&);                 // the same and ga -> gr, gweights

}  // namespace dp
