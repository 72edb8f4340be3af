#include "plan/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "machine/gpu_catalogue.h"
#include "plan/device_rates.h"
#include "plan/machine_text.h"

namespace tandem {
namespace {

constexpr double kRestOfComputerW = 80;
constexpr double kSupplyEfficiency = 0.9;
constexpr double kMillion = 1e6;

// Adds the cards' prices; what is missing is said, not guessed.
void add_card_prices(ComparedConfiguration& out, const Machine& machine,
                     const std::map<std::string, double>& own) {
  double sum = 0;
  for (const MachineDevice& device : machine.devices) {
    if (device.kind != MachineDeviceKind::kGpu) continue;
    const auto given = own.find(device.name);
    const GpuModel* model = find_gpu_model(device.name, device.memory_bytes);
    if (given != own.end()) {
      sum += given->second;
      out.price_note = "as given";
    } else if (model != nullptr && model->price) {
      sum += model->price->usd;
      out.price_note = model->price->condition + ", " + model->price->date;
    } else {
      out.price_note =
          "no price known of " + device.name + ": give --price \"" + device.name + "=N\"";
      return;
    }
  }
  out.price = sum;
}

double electricity_per_million(const ComparedConfiguration& out, const CompareRequest& request,
                               double tokens_per_s) {
  return out.wall_power_w / 1000 * request.electricity_per_kwh / 3600 / tokens_per_s * kMillion;
}

void add_costs(ComparedConfiguration& out, const CompareRequest& request) {
  const double rate = out.plan->predicted->decode_tokens_per_s;
  out.wall_power_w = (out.plan->power_w.value_or(0) + kRestOfComputerW) / kSupplyEfficiency;
  out.tokens_per_joule = rate / out.wall_power_w;
  out.electricity_per_million_tokens = electricity_per_million(out, request, rate);
  if (!out.price) return;
  const double hours = request.years * 365 * request.hours_per_day;
  const double cards = *out.price / hours / (rate * 3600) * kMillion;
  out.cost_per_million_tokens = cards + out.electricity_per_million_tokens;
}

Result<ComparedConfiguration> compare_one(const ModelSpec& spec, const EngineProfile& engine,
                                          const CompareRequest& request, const std::string& name) {
  ComparedConfiguration out;
  out.name = name;
  auto machine = machine_from_text({{name}, request.link, true});
  if (!machine.ok()) return machine.error().at("\"" + name + "\"");
  SearchRequest single = request.search;
  // llama.cpp splits by layers unless told otherwise.
  single.layer_only = engine.name.starts_with("llama.cpp") && !single.plan.split;
  TANDEM_TRY(SearchResult found, search_plans(spec, *machine, engine, single));
  out.fits = found.plans.front().fits;
  if (out.fits) {
    out.plan = std::move(found.plans.front());
  } else {
    out.why_not = found.plans.front().why_not;
    out.plan = offload_plan(spec, *machine, engine, single);
    out.offload = out.plan.has_value();
  }
  add_card_prices(out, *machine, request.prices);
  if (!out.plan) return out;
  if (single.layer_only && out.fits) {
    TANDEM_TRY(const SearchResult any, search_plans(spec, *machine, engine, request.search));
    const Plan& other = any.plans.front();
    if (other.fits && other.name != out.plan->name) {
      out.plan->notes.push_back(fmt::format("{} would give {:.1f} tokens/s (-sm tensor)",
                                            other.name, other.predicted->decode_tokens_per_s));
    }
  }
  SearchRequest batched = single;
  batched.allow_offload = out.offload;
  batched.objective = Objective::kThroughput;
  batched.workload.concurrency = request.batch;
  batched.plan.max_sequences = request.batch;
  // Each of the sequences has its part of the context, so that the cache is the same.
  if (!batched.plan.context_tokens) {
    batched.plan.context_tokens =
        std::max<std::int64_t>(256, kDefaultContextTokens / request.batch);
  }
  TANDEM_TRY(const SearchResult many, search_plans(spec, *machine, engine, batched));
  if (many.plans.front().fits) {
    out.batch_tokens_per_s = many.plans.front().predicted->decode_tokens_per_s;
  }
  add_costs(out, request);
  return out;
}

// Beside the cheapest configuration that holds the model (else the cheapest that runs it).
void add_differences(Comparison& comparison) {
  const ComparedConfiguration* cheapest = nullptr;
  for (const ComparedConfiguration& one : comparison.configurations) {
    if (!one.plan || !one.price) continue;
    const bool better = cheapest == nullptr || (one.fits && !cheapest->fits) ||
                        (one.fits == cheapest->fits && *one.price < *cheapest->price);
    if (better) cheapest = &one;
  }
  if (cheapest == nullptr) return;
  const double base_price = *cheapest->price;
  const double base_running = cheapest->electricity_per_million_tokens;
  for (ComparedConfiguration& one : comparison.configurations) {
    if (!one.plan || !one.price) continue;
    one.cost_difference = *one.price - base_price;
    const double saved = base_running - one.electricity_per_million_tokens;
    if (*one.cost_difference > 0 && saved > 0) {
      one.break_even_million_tokens = *one.cost_difference / saved;
    }
  }
}

std::string verdict_of(const Comparison& comparison) {
  const ComparedConfiguration* best = nullptr;
  const ComparedConfiguration* fastest = nullptr;
  for (const ComparedConfiguration& one : comparison.configurations) {
    if (!one.fits) continue;
    if (fastest == nullptr ||
        one.plan->predicted->decode_tokens_per_s > fastest->plan->predicted->decode_tokens_per_s) {
      fastest = &one;
    }
    if (!one.cost_per_million_tokens) continue;
    if (best == nullptr || *one.cost_per_million_tokens < *best->cost_per_million_tokens) {
      best = &one;
    }
  }
  if (fastest == nullptr) {
    return "Buy none of these for this model: no one holds it in its GPUs' memory.";
  }
  const auto rate = [](const ComparedConfiguration& one) {
    return one.plan->predicted->decode_tokens_per_s;
  };
  std::string misfits;
  for (const ComparedConfiguration& one : comparison.configurations) {
    if (one.fits) continue;
    misfits += (misfits.empty() ? "" : ", ") + one.name;
  }
  const std::string tail = misfits.empty() ? "." : "; " + misfits + " cannot hold the model.";
  if (best == nullptr || best == fastest) {
    return fmt::format("Buy {}: {:.1f} tokens/s{}{}", fastest->name, rate(*fastest),
                       best == nullptr || comparison.configurations.size() < 2
                           ? ""
                           : ", the fastest and the cheapest a token",
                       tail);
  }
  return fmt::format(
      "Buy {}: {:.2f} dollars a million tokens at {:.1f} tokens/s, unless {:.1f} tokens/s of {} "
      "are "
      "worth {:.0f} dollars more to you{}",
      best->name, *best->cost_per_million_tokens, rate(*best), rate(*fastest), fastest->name,
      fastest->price.value_or(0) - *best->price, tail);
}

}  // namespace

Status add_price(std::map<std::string, double>& prices, const std::string& text) {
  const std::size_t equals = text.rfind('=');
  if (equals == std::string::npos) {
    return invalid_argument("--price needs a card and a price", "\"RTX 3090=750\"", text);
  }
  const std::string name = text.substr(0, equals);
  const GpuModel* model = find_gpu_model(name);
  if (model == nullptr) {
    return Error{ErrorCode::kNotFound,
                 "unknown GPU; the nearest names are " + nearest_gpu_names(name),
                 "--price",
                 {},
                 name};
  }
  double price = 0;
  const char* begin = text.data() + equals + 1;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(begin, end, price);
  if (error != std::errc() || stop != end || !std::isfinite(price) || price < 0) {
    return invalid_argument("a price is a number of 0 or more", {}, text);
  }
  prices[model->name] = price;
  return {};
}

Result<Comparison> compare(const ModelSpec& spec, const EngineProfile& engine,
                           const CompareRequest& request) {
  const auto positive = [](double value) { return std::isfinite(value) && value > 0; };
  if (request.configurations.empty()) {
    return invalid_argument("nothing to compare", "machines such as \"2x RTX 3090\"");
  }
  if (!std::isfinite(request.electricity_per_kwh) || request.electricity_per_kwh < 0) {
    return invalid_argument("--electricity is a price of 0 or more");
  }
  if (!positive(request.hours_per_day) || request.hours_per_day > 24) {
    return invalid_argument("--hours-per-day lies above 0 and up to 24");
  }
  if (!positive(request.years) || request.years > 100) {
    return invalid_argument("--years lies above 0 and up to 100");
  }
  Comparison comparison;
  for (const std::string& name : request.configurations) {
    TANDEM_TRY(ComparedConfiguration one, compare_one(spec, engine, request, name));
    comparison.configurations.push_back(std::move(one));
  }
  add_differences(comparison);
  comparison.verdict = verdict_of(comparison);
  return comparison;
}

}  // namespace tandem
