// Any text as a request's body: the router must see in it what a reader of the whole sees. The
// first byte chooses the name that is put in.

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/check.h"
#include "fleet/request_scan.h"

namespace {

using Json = nlohmann::json;

// What the scan refuses as no JSON is none. Nesting is limited, a byte order mark is not taken, a
// zero is not the end as it is for the other reader, and what is wrong with the model alone is no
// matter of JSON.
void check_refusal(const tandem::Error& error, std::string_view body, const Json& json) {
  const bool is_about_json = error.where != "model" && error.expected != "at most 128 levels" &&
                             !body.starts_with("\xEF\xBB\xBF") &&
                             body.find('\0') == std::string_view::npos;
  TANDEM_CHECK(!is_about_json || !json.is_object(), error.to_string());
}

void check_answer(const tandem::RequestScan& scan, std::string_view body, const Json& json,
                  const std::string& name) {
  TANDEM_CHECK(scan.prompt_begin <= scan.prompt_end && scan.prompt_end <= body.size(), "prompt");
  TANDEM_CHECK(scan.model_begin <= scan.model_end && scan.model_end <= body.size(), "model");
  const auto model = json.is_object() ? json.find("model") : json.end();
  if (json.is_object()) {
    const bool is_named = model != json.end() && !model->is_null();
    TANDEM_CHECK(is_named == scan.model.has_value(), "a model is named");
    if (is_named) TANDEM_CHECK(*model == *scan.model, *scan.model);
  }
  if (!scan.model) return;
  const std::string other = tandem::with_model(body, scan, name);
  const auto again = tandem::scan_request(other);
  TANDEM_CHECK(again.ok() && again->model == name, other);
  if (!json.is_object()) return;
  Json expected = json;
  expected["model"] = name;
  TANDEM_CHECK(Json::parse(other, nullptr, false) == expected, other);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view body(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::string name = data[0] % 2 == 0 ? "a/b \"c\"" : "m\\\n";
  const auto scan = tandem::scan_request(body);
  const Json json = Json::parse(body, nullptr, false);
  if (scan.ok()) {
    check_answer(*scan, body, json, name);
  } else {
    check_refusal(scan.error(), body, json);
  }
  return 0;
}
