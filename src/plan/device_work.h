#pragma once

#include <cstddef>

#include "plan/device_rates.h"
#include "plan/engine_profile.h"
#include "plan/model_costs.h"

namespace tandem {

// How long one device takes for its part of a step, by what it reads and computes: the time model's
// smallest pieces. Links, launches and stages come on top (time_model.h).

// Seconds that `device` works on `costs` in one decode step of `batch` sequences at `context`:
//   weights / (efficiency x bandwidth) + unpacking operations / scalar rate
//   + further sequences' products / matrix rate + keys and values / (efficiency x bandwidth).
// The sum, not the maximum, of memory and operations: a matrix-vector kernel reaches the printed
// bandwidth only where arithmetic is plentiful (fitted: docs/planning.md). The maximum is taken
// between reading and matrix products, which overlap (Williams et al., "Roofline", CACM 2009).
// On a processor whose kernels were measured: for each type of weights reading and arithmetic as
// they overlap (kernel_costs.h).
double decode_work_s(const ModelCosts& model, const RangeCosts& costs, const DeviceRates& device,
                     double context, double batch, bool windows);

// Seconds for one micro-batch of `tokens` prompt tokens over `costs`, `context` tokens before it on
// average, by a device that holds `share` of it. All-reduces come on top.
//   products: 2 x weights x tokens / (efficiency x rate), or reading the weights if that is longer;
//             of the layers alone, since only a prompt's last token passes the output matrix
//   power:    operations x energy / watts: what the board's limit adds to them
//   attention: 4 x tokens x context x head width a layer (2 products of 2 operations)
//             + on a processor, what packing the keys and values that it looks at takes
//   traffic:  activations that pass through memory between kernels
double prefill_work_s(const ModelCosts& model, const RangeCosts& costs, const DeviceRates& device,
                      double tokens, double context);

// Factor, 1 or more, by which a power limit slows the decode of a device that works `duty` of the
// time. Under a limit the clock falls so that the draw meets it; a device that works a part of the
// time is hardly limited. Decode draws `decode_power_share` of the board's power on Ampere, and of
// others as much less as their operations need less energy: an RTX 4090 decodes at 58 % of its
// power almost as fast as at 100 %, an RTX 3090 does not.
double power_slowdown(const DeviceRates& device, const EngineProfile& engine, double duty);

// How much more than its part the busiest of `devices` has to do, when each of `tokens` picks
// num_experts_used() of the experts at random and they lie on the devices in equal parts. A device
// gets tokens x k / P picks, give or take sqrt(tokens x k x 1/P x (1 - 1/P)); the largest of P such
// sums exceeds the mean by that times the expected maximum of P normal variables, and
// sqrt(P / (P - 1)) because the sums are bound to one total (David and Nagaraja, "Order
// Statistics", 2003).
double busiest_expert_share(const ModelCosts& model, std::size_t devices, double tokens);

}  // namespace tandem
