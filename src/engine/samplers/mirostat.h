#pragma once

#include <cstddef>

#include "engine/samplers/candidates.h"
#include "engine/samplers/random.h"
#include "engine/sampling_params.h"

namespace tandem {

// Mirostat, version 2 (Basu et al. 2021): leaves out tokens whose surprise is above a bound `mu`,
// and moves the bound so that the surprise of what is chosen stays near tau bits.
class Mirostat {
 public:
  explicit Mirostat(const MirostatParams& params) : params_(params), mu_(2.0 * params.tau) {}

  // Removes candidates, chooses one and moves the bound. The list must not be empty. Returns the
  // index. One draw.
  std::size_t draw(Candidates& candidates, Random& random);

  double mu() const { return mu_; }

 private:
  MirostatParams params_;
  double mu_;  // bits
};

}  // namespace tandem
