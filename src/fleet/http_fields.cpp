#include "fleet/http_fields.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <vector>

#include "machine/text_scan.h"

namespace tandem {
namespace {

constexpr std::array<std::string_view, 12> kHopByHop = {
    "connection", "keep-alive",        "proxy-connection", "proxy-authenticate",
    "te",         "transfer-encoding", "trailer",          "proxy-authorization",
    "upgrade",    "content-length",    "expect",           "host"};

}  // namespace

void remove_hop_by_hop(HttpHeaders& headers) {
  std::vector<std::string> named;
  for (const auto& [name, value] : headers) {
    if (name != "connection") continue;
    std::string_view rest = value;
    while (!rest.empty()) {
      const std::string_view part = rest.substr(0, rest.find(','));
      rest.remove_prefix(std::min(rest.size(), part.size() + 1));
      named.push_back(lower_case(trim(part)));
    }
  }
  std::erase_if(headers, [&](const auto& field) {
    return std::ranges::find(kHopByHop, field.first) != kHopByHop.end() ||
           std::ranges::find(named, field.first) != named.end();
  });
}

void remove_unsafe(HttpHeaders& headers) {
  const auto is_control = [](char c) {
    return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f;
  };
  std::erase_if(headers, [&](const auto& field) {
    return field.first.empty() || std::ranges::any_of(field.first, is_control) ||
           field.first.find_first_of(": \t") != std::string::npos ||
           std::ranges::any_of(field.second, is_control);
  });
}

std::string percent_encode(std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || c == '-' || c == '.' || c == '_' || c == '~') {
      result += c;
    } else {
      result += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return result;
}

}  // namespace tandem
