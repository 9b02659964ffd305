#include "compute_dedn.h"

#include <cstdlib>

#include "error.h"
#include "fix.h"
#include "force.h"
#include "input.h"
#include "modify.h"
#include "pair_deep.h"
#include "update.h"
#include "utils.h"
#include "variable.h"

using namespace LAMMPS_NS;

namespace dp {

ComputeDedn::ComputeDedn(LAMMPS *lmp, int narg, char **arg) : Compute(lmp, narg, arg) {
  const std::string usage = "write `compute ID group deepmd/fparam/dedn SOURCE [DELTA]` with SOURCE v_name, c_ID[i] or f_ID[i]";
  if (narg < 4 || narg > 5) error->all(FLERR, "Illegal compute deepmd/fparam/dedn command: {}", usage);
  const std::string source = arg[3];
  kind_ = source[0];
  if (source.size() < 3 || source[1] != '_' || std::string("vcf").find(kind_) == std::string::npos)
    error->all(FLERR, "Illegal compute deepmd/fparam/dedn source {}: {}", source, usage);
  const auto bracket = source.find('[');
  name_ = source.substr(2, bracket == std::string::npos ? std::string::npos : bracket - 2);
  if (bracket != std::string::npos) {
    index_ = std::atoi(source.c_str() + bracket + 1);
    if (index_ < 1 || source.back() != ']') error->all(FLERR, "Illegal index in {}: {}", source, usage);
  }
  if (narg == 5) delta_ = utils::numeric(FLERR, arg[4], false, lmp);
  if (delta_ <= 0) error->all(FLERR, "compute deepmd/fparam/dedn: the step is {}, but should be > 0", delta_);
  scalar_flag = 1;
  extscalar = 1;
  timeflag = 1;
}

void ComputeDedn::init() {
  pair_ = nullptr;
  for (auto name : {"deepmd", "deepspin"})
    if (!pair_) pair_ = dynamic_cast<PairDeep *>(force->pair_match(name, 1));
  if (!pair_) error->all(FLERR, "compute deepmd/fparam/dedn needs one `pair_style deepmd MODEL`");
  if (!pair_->single_model() || pair_->dim_fparam() != 1)
    error->all(FLERR, "compute deepmd/fparam/dedn needs one model with one frame parameter in pair_style deepmd");
  const bool there = kind_ == 'v'   ? input->variable->find(name_.c_str()) >= 0
                     : kind_ == 'c' ? modify->get_compute_by_id(name_) != nullptr
                                    : modify->get_fix_by_id(name_) != nullptr;
  if (!there) error->all(FLERR, "compute deepmd/fparam/dedn: there is no {}_{}", kind_, name_);
}

double ComputeDedn::source_value() {
  if (kind_ == 'v') return input->variable->compute_equal(input->variable->find(name_.c_str()));
  if (kind_ == 'f') {
    Fix *f = modify->get_fix_by_id(name_);
    return index_ ? f->compute_vector(index_ - 1) : f->compute_scalar();
  }
  Compute *c = modify->get_compute_by_id(name_);
  if (!index_) return c->compute_scalar();
  c->compute_vector();
  return c->vector[index_ - 1];
}

double ComputeDedn::compute_scalar() {
  invoked_scalar = update->ntimestep;
  const double value = source_value();
  scalar = (pair_->energy_at(value + delta_) - pair_->energy_at(value - delta_)) / (2 * delta_);
  return scalar;
}

}  // namespace dp
