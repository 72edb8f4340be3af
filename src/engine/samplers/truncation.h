#pragma once

#include <cstddef>
#include <span>

#include "engine/samplers/candidates.h"
#include "engine/samplers/random.h"

namespace tandem {

// The truncating samplers: each removes candidates and leaves at least one, and at least `min_keep`
// where there are so many. Each looks at the softmax of what those before it have left. Formulas,
// and what counts as off, as in llama.cpp's llama-sampling.cpp. (Top-k is Candidates::assign().)

// Forbids tokens whose logit lies more than `n` standard deviations below the best (Tang et al.
// 2024, "Top-nσ"). logits: [vocabulary_size], changed in place. Off where n <= 0.
void apply_top_n_sigma(std::span<float> logits, float n);

// Keeps the tokens whose surprise is nearest to the expected one, of a total probability just above
// `p` (Meister et al. 2022, "Locally typical sampling"). Off where p >= 1.
void apply_typical(Candidates& candidates, float p, std::size_t min_keep);

// Keeps the best tokens of a total probability of at least `p` (Holtzman et al. 2019, "The curious
// case of neural text degeneration"). Off where p >= 1.
void apply_top_p(Candidates& candidates, float p, std::size_t min_keep);

// Keeps the tokens at least `p` times as likely as the likeliest (Nguyen et al. 2024, "Min-p
// sampling"). Off where p <= 0.
void apply_min_p(Candidates& candidates, float p, std::size_t min_keep);

// With `probability`, removes all tokens of at least `threshold` but the least likely of them
// ("Exclude top choices", llama.cpp pull request 9742). One draw, unless off: probability <= 0 or
// threshold > 0.5, beyond which no two tokens can be.
void apply_xtc(Candidates& candidates, float probability, float threshold, std::size_t min_keep,
               Random& random);

}  // namespace tandem
