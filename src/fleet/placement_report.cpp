// A placement for people and for programs.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "fleet/placement.h"

namespace tandem {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kBarWidth = 60;

// Capitals are in memory from the start, small letters when asked for.
char letter_of(const FleetPlacement& placement, std::size_t model) {
  const char first = placement.models[model].is_resident ? 'A' : 'a';
  return static_cast<char>(first + static_cast<int>(model % 26));
}

std::int64_t bytes_in(const ModelPlacement& model, std::size_t pool) {
  const auto needs = model.needs();
  return pool < needs.size() ? needs[pool] : 0;
}

struct Piece {
  char letter;
  std::int64_t bytes;
};

// Pieces in proportion; what is there at all is seen, and the bar never grows.
std::string bar_of(const std::vector<Piece>& pieces, std::int64_t total) {
  std::string bar;
  std::int64_t before = 0;
  for (const Piece& piece : pieces) {
    const auto edge = [&](std::int64_t bytes) {
      const double share = static_cast<double>(bytes) / static_cast<double>(total);
      return static_cast<std::size_t>(std::lround(share * static_cast<double>(kBarWidth)));
    };
    const std::size_t end = std::max(edge(before + piece.bytes), bar.size() + 1);
    if (piece.bytes > 0) bar.resize(std::min(end, kBarWidth), piece.letter);
    before += piece.bytes;
  }
  return bar;
}

std::string picture_of(const FleetPlacement& placement, std::size_t pool) {
  const MemoryPool& memory = placement.pools[pool];
  std::vector<Piece> pieces;
  std::int64_t used = 0;
  for (const bool resident : {true, false}) {
    for (std::size_t i = 0; i < placement.models.size(); ++i) {
      const ModelPlacement& model = placement.models[i];
      const std::int64_t bytes = bytes_in(model, pool);
      const bool drawn = model.is_resident == resident && used + bytes <= memory.usable_bytes();
      if (!drawn || bytes == 0) continue;
      pieces.push_back({letter_of(placement, i), bytes});
      used += bytes;
    }
  }
  std::string bar = bar_of(pieces, memory.total_bytes);
  const std::string reserve = bar_of({{'r', memory.reserve_bytes}}, memory.total_bytes);
  bar.resize(std::max(bar.size(), kBarWidth - std::min(kBarWidth, reserve.size())), '.');
  bar.resize(kBarWidth, 'r');
  return bar;
}

std::string share_text(const DeviceUse& share) {
  std::string text = fmt::format("{} ({}", share.device, format_bytes(share.total_bytes()));
  if (share.weights_bytes > 0) {
    text += fmt::format(": weights {}, KV cache {}, compute {}", format_bytes(share.weights_bytes),
                        format_bytes(share.kv_bytes), format_bytes(share.compute_bytes));
    if (share.process_bytes > 0)
      text += fmt::format(", driver {}", format_bytes(share.process_bytes));
  }
  return text + ")";
}

std::string pool_text(const FleetPlacement& placement, std::size_t pool) {
  const MemoryPool& memory = placement.pools[pool];
  if (memory.total_bytes == 0) return fmt::format("{}  memory not known\n", memory.name);
  std::int64_t resident = 0;
  for (const ModelPlacement& model : placement.models) {
    if (model.is_resident) resident += bytes_in(model, pool);
  }
  std::string out = fmt::format("{}  {}, {}\n  [{}]\n", memory.name, memory.title,
                                format_bytes(memory.total_bytes), picture_of(placement, pool));
  for (std::size_t i = 0; i < placement.models.size(); ++i) {
    const ModelPlacement& model = placement.models[i];
    if (bytes_in(model, pool) == 0) continue;
    out += fmt::format("   {}  {:<24} {:>10}{}\n", letter_of(placement, i), model.name,
                       format_bytes(bytes_in(model, pool)),
                       model.is_resident             ? ""
                       : model.fits_beside_residents ? "  on demand, beside the others"
                                                     : "  on demand, others make room");
  }
  return out + fmt::format("      {:<24} {:>10}, reserve {}\n", "free",
                           format_bytes(memory.usable_bytes() - resident),
                           format_bytes(memory.reserve_bytes));
}

std::string model_text(const FleetPlacement& placement, std::size_t index) {
  const ModelPlacement& model = placement.models[index];
  std::string out;
  for (std::size_t i = 0; i < model.replicas.size(); ++i) {
    const ReplicaPlacement& replica = model.replicas[i];
    out += fmt::format("{}  {}{}: {}", letter_of(placement, index), model.name,
                       model.replicas.size() > 1 ? fmt::format(" #{}", i) : "",
                       replica.plan ? replica.plan->name : "external worker");
    if (replica.tokens_per_s > 0) out += fmt::format(", {:.0f} tokens/s", replica.tokens_per_s);
    for (const DeviceUse& share : replica.shares) out += "\n     " + share_text(share);
    out += fmt::format("\n     host, the process itself ({})\n", format_bytes(kWorkerProcessBytes));
  }
  if (model.num_missing == 0) return out;
  out += fmt::format("!  {} does not fit: {}\n", model.name, model.why_not);
  if (model.would_fit.empty()) {
    return out + "   no smaller context or cache that was tried would: use more or other devices\n";
  }
  return out + fmt::format("   would fit: {}\n", fmt::join(model.would_fit, "; or "));
}

Json share_json(const FleetPlacement& placement, const DeviceUse& share) {
  return {{"device", share.device},
          {"pool", placement.pools[share.pool].name},
          {"weights_bytes", share.weights_bytes},
          {"kv_bytes", share.kv_bytes},
          {"compute_bytes", share.compute_bytes},
          {"process_bytes", share.process_bytes},
          {"total_bytes", share.total_bytes()}};
}

Json by_pool(const FleetPlacement& placement, const std::vector<std::int64_t>& bytes) {
  Json out = Json::object();
  for (std::size_t pool = 0; pool < bytes.size(); ++pool) {
    if (bytes[pool] > 0) out[placement.pools[pool].name] = bytes[pool];
  }
  return out;
}

Json replica_json(const FleetPlacement& placement, const ReplicaPlacement& replica) {
  Json shares = Json::array();
  for (const DeviceUse& share : replica.shares) shares.push_back(share_json(placement, share));
  return {{"devices", std::move(shares)},
          {"memory", by_pool(placement, replica.pool_bytes)},
          {"gpus", replica.gpus},
          {"cores", replica.cores},
          {"tokens_per_s", replica.tokens_per_s > 0 ? Json(replica.tokens_per_s) : Json(nullptr)},
          {"plan", replica.plan ? to_json(*replica.plan) : Json(nullptr)}};
}

}  // namespace

Json to_json(const FleetPlacement& placement) {
  Json pools = Json::array();
  for (std::size_t pool = 0; pool < placement.pools.size(); ++pool) {
    const MemoryPool& memory = placement.pools[pool];
    std::int64_t resident = 0;
    for (const ModelPlacement& model : placement.models) {
      if (model.is_resident) resident += bytes_in(model, pool);
    }
    const bool known = memory.total_bytes > 0;
    pools.push_back(
        {{"name", memory.name},
         {"title", memory.title},
         {"total_bytes", known ? Json(memory.total_bytes) : Json(nullptr)},
         {"reserve_bytes", memory.reserve_bytes},
         {"resident_bytes", resident},
         {"free_bytes", known ? Json(memory.usable_bytes() - resident) : Json(nullptr)}});
  }
  Json models = Json::array();
  for (const ModelPlacement& model : placement.models) {
    Json replicas = Json::array();
    for (const ReplicaPlacement& replica : model.replicas) {
      replicas.push_back(replica_json(placement, replica));
    }
    models.push_back({{"name", model.name},
                      {"resident", model.is_resident},
                      {"fits", model.num_missing == 0},
                      {"fits_beside_residents", model.fits_beside_residents},
                      {"num_missing_replicas", model.num_missing},
                      {"why_not", model.why_not.empty() ? Json(nullptr) : Json(model.why_not)},
                      {"would_fit", model.would_fit},
                      {"memory", by_pool(placement, model.needs())},
                      {"replicas", std::move(replicas)}});
  }
  return {{"fits", placement.fits()},
          {"objective", placement.value},
          {"optimal", placement.is_optimal},
          {"pools", std::move(pools)},
          {"models", std::move(models)}};
}

std::string placement_text(const FleetPlacement& placement) {
  std::string out;
  for (std::size_t pool = 0; pool < placement.pools.size(); ++pool) {
    out += pool_text(placement, pool) + "\n";
  }
  for (std::size_t i = 0; i < placement.models.size(); ++i) out += model_text(placement, i);
  return out;
}

}  // namespace tandem
