#pragma once

#include <cstdint>

namespace tandem::cuda {

// What decides in which parts a matrix is summed beside the arithmetic that makes it. The same for
// every rank of a group.
struct OverlapTerms {
  int num_multiprocessors = 1;  // of the largest GPU of the group
  std::int64_t fixed_rows = 0;  // more than 0: parts of so many rows, whatever they are (tests)
};

// In parts of how many rows a matrix of float32 [rows, columns] is multiplied and summed, with the
// last part taking what is left; `rows` where it is better done as a whole.
//
// In C parts a product that takes P and a sum that takes S take about max(P, S) + min(P, S) / C
// in place of P + S, and the products that follow begin a part earlier as well; a part costs its
// launches, some 10 us. So parts should be few, of
// - enough rows for as many blocks of threads as the GPU has multiprocessors: with less, part of it
//   would stand idle in every part (tiles of 64 rows of x by 128 of the weight);
// - at least 2 MiB: what a link of 200 GB/s sums in 20 us (PCIe 4.0 x16 in 200), more than a part
//   costs;
// - at least cuda::kManyFrom rows, from which on a row's bits do not depend on how many there are.
// These are estimates: no GPU has measured them yet.
std::int64_t overlapped_rows(std::int64_t rows, std::int64_t columns, const OverlapTerms& terms);

}  // namespace tandem::cuda
