#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "plan/advice.h"
#include "plan/search.h"

namespace tandem {

// What `tandem compare` is asked: one model on several machines that could be bought.
struct CompareRequest {
  std::vector<std::string> configurations;  // "2x RTX 3090"
  std::string link;
  std::map<std::string, double> prices;  // dollars a card, by catalogue name; over the catalogue's
  double electricity_per_kwh = 0.30;
  double hours_per_day = 4;
  double years = 3;
  std::int32_t batch = 8;  // sequences at once for the throughput column
  SearchRequest search;
};

struct ComparedConfiguration {
  std::string name;
  bool fits = false;  // on the GPUs alone
  std::string why_not;
  std::optional<Plan> plan;  // the best that fits; with offload where the GPUs alone do not hold it
  bool offload = false;
  double batch_tokens_per_s = 0;
  std::optional<double> price;  // of the cards
  std::string price_note;       // condition and date, or what is missing
  double wall_power_w = 0;
  double tokens_per_joule = 0;
  std::optional<double> cost_per_million_tokens;  // cards over their years, and electricity
  double electricity_per_million_tokens = 0;
  std::optional<double> cost_difference;  // dollars beside the cheapest that runs the model
  // Million tokens after which it has saved its higher price in electricity over the cheapest.
  std::optional<double> break_even_million_tokens;
};

struct Comparison {
  std::vector<ComparedConfiguration> configurations;
  std::string verdict;  // one sentence: which should I buy?
};

// Wall power: the cards while decoding and 80 W for the rest, through a supply of 90 % (80 Plus
// Gold at half load). Cost of a token: (price / (years x 365 x hours a day) + watts x electricity)
// / tokens an hour, one stream; no rest value, no rest of the computer.
Result<Comparison> compare(const ModelSpec& spec, const EngineProfile& engine,
                           const CompareRequest& request);

// "RTX 3090=750" added to `prices` under the catalogue's name. Errors: unknown card (names the
// nearest), a price that is no number of 0 or more.
Status add_price(std::map<std::string, double>& prices, const std::string& text);

std::string comparison_text(const Comparison& comparison, const CompareRequest& request,
                            const std::string& model, const std::string& engine);
nlohmann::json comparison_json(const Comparison& comparison);
// One page: memory, and speed against price.
std::string comparison_html(const Comparison& comparison, const std::string& model);

}  // namespace tandem
