#include "support/cuda_gpus.h"

namespace tandem::test {

const std::vector<SplitChoice>& cuda_splits() {
  static const std::vector<SplitChoice> all = {
      {"one", {{1}}},
      {"tensor2", {{1, 1}}},
      {"uneven3", {{3, 1, 2}}},
      {"tensor5", {{1, 1, 1, 1, 1}}},
      {"tensor8", {{1, 1, 1, 1, 1, 1, 1, 1}}},
      {"pipeline2", {{1}, {1}}},
      {"hybrid2x2", {{1, 1}, {1, 1}}},
      {"hybrid3and1", {{2, 1, 1}, {2}}},
      {"experts2", {{1, 1}}, true},
      {"experts3", {{1, 1, 1}}, true},
  };
  return all;
}

}  // namespace tandem::test
