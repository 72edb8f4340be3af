#pragma once

#include "plan/time_terms.h"

namespace tandem {

// Seconds of one prompt of the workload. Micro-batches follow one another through the stages: with
// p stages and m micro-batches the ideal time is (m + p - 1) turns instead of m x p, a bubble of
// (p-1)/(m+p-1) (Huang et al., "GPipe", 2019). Engines reach `pipeline_overlap` of that gain.
double prefill_seconds(const TimeTerms& terms);

// In how many parts of rows a matrix of `tokens` rows of `row_bytes` each is multiplied and summed
// at the same time, at most `most_parts`; 1: as a whole. The rule of the CUDA groups
// (comm/cuda/overlap.h): parts of at least 2 MiB and of three tiles of 64 rows. How many
// multiprocessors a part has to fill is not known here: small matrices on large GPUs are cut less.
int reduction_parts(double tokens, double row_bytes, int most_parts);

// What a reduction of reduction_s adds to the product of product_s that makes its matrix, when both
// are done in `parts` parts: the product takes its time while the sums of the parts before go on,
// so that the two take max(P, S) + min(P, S) / parts instead of P + S. Hidden is therefore the
// shorter of both but for one part's: the last sum, or the first product, has nothing beside it.
double unhidden_reduction_s(double reduction_s, double product_s, int parts);

}  // namespace tandem
