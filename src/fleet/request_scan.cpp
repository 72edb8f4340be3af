#include "fleet/request_scan.h"

#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>

namespace tandem {
namespace {

constexpr int kMaxDepth = 128;

class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  Result<RequestScan> scan() {
    TANDEM_TRY_STATUS(expect('{', "an object"));
    skip_space();
    if (peek() == '}') {
      ++at_;
    } else {
      TANDEM_TRY_STATUS(members());
    }
    skip_space();
    if (at_ != text_.size()) return wrong("nothing behind the object");
    return scan_;
  }

 private:
  Error wrong(const std::string& expected) const {
    const std::string got =
        at_ < text_.size() ? "\"" + std::string(1, text_[at_]) + "\"" : std::string("its end");
    return malformed("byte " + std::to_string(at_) + " of the body", "the body is not valid JSON",
                     expected, got);
  }
  static Error wrong_model(const std::string& why) {
    return malformed("model", why, "the name of a model, once");
  }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void skip_space() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t')) {
      ++at_;
    }
  }
  Status expect(char c, const char* what) {
    skip_space();
    if (peek() != c || at_ >= text_.size()) return wrong(what);
    ++at_;
    return {};
  }

  // Behind a '{' of the top level, up to and with its '}'.
  Status members() {
    while (true) {
      skip_space();
      const std::size_t key_begin = at_;
      TANDEM_TRY_STATUS(string());
      TANDEM_TRY(const std::string key, decoded(key_begin, at_));
      TANDEM_TRY_STATUS(expect(':', "a colon"));
      skip_space();
      const std::size_t begin = at_;
      TANDEM_TRY_STATUS(value());
      TANDEM_TRY_STATUS(note(key, begin, at_));
      skip_space();
      const char c = peek();
      if (c != ',' && c != '}') return wrong("a comma or a brace");
      ++at_;
      if (c == '}') return {};
    }
  }

  Status note(const std::string& key, std::size_t begin, std::size_t end) {
    const std::string_view value = text_.substr(begin, end - begin);
    if (key == "model") {
      if (std::exchange(has_model_, true)) return wrong_model("the body names a model twice");
      if (value == "null") return {};
      if (value[0] != '"') return wrong_model("is not text");
      TANDEM_TRY(scan_.model, decoded(begin, end));
      scan_.model_begin = begin;
      scan_.model_end = end;
    } else if (key == "stream") {
      scan_.stream = value == "true";
    } else if (key == "max_tokens" || key == "max_completion_tokens" || key == "n_predict") {
      std::int64_t number = 0;
      const auto read = std::from_chars(value.data(), value.data() + value.size(), number);
      if (read.ec == std::errc() && number >= 0) scan_.max_tokens = number;
    } else if (key == "messages" || key == "prompt" || key == "input" || key == "content") {
      scan_.prompt_begin = begin;
      scan_.prompt_end = end;
    }
    return {};
  }

  Result<std::string> decoded(std::size_t begin, std::size_t end) const {
    const std::string_view quoted = text_.substr(begin, end - begin);
    if (quoted.find('\\') == std::string_view::npos) {
      return std::string(quoted.substr(1, quoted.size() - 2));
    }
    const auto json = nlohmann::json::parse(quoted, nullptr, false);
    if (!json.is_string()) return malformed("the body", "an escape that is none");
    return json.get<std::string>();
  }

  // A string, quotes included.
  Status string() {
    if (peek() != '"') return wrong("a string");
    ++at_;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '"') {
        ++at_;
        return {};
      }
      if (static_cast<unsigned char>(c) < 0x20) return wrong("no control character in a string");
      at_ += c == '\\' ? 2 : 1;
    }
    at_ = text_.size();
    return wrong("the end of a string");
  }

  Status value() {
    int depth = 0;
    closers_.clear();
    while (true) {
      skip_space();
      const char c = peek();
      if (c == '{' || c == '[') {
        if (++depth > kMaxDepth) return wrong("at most 128 levels");
        closers_ += c == '{' ? '}' : ']';
        ++at_;
        continue;
      }
      if (c == '"') {
        TANDEM_TRY_STATUS(string());
      } else if (depth > 0 && c == closers_.back()) {
        closers_.pop_back();
        --depth;
        ++at_;
      } else if (depth > 0 && (c == ',' || c == ':')) {
        ++at_;
        continue;
      } else {
        TANDEM_TRY_STATUS(scalar());
      }
      if (depth == 0) return {};
    }
  }

  // A number, true, false or null; which of them is for the reader of the whole to say.
  Status scalar() {
    const std::size_t begin = at_;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      const bool is_part = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-' ||
                           c == '+' || c == '.' || c == 'E';
      if (!is_part) break;
      ++at_;
    }
    if (at_ == begin) return wrong("a value");
    return {};
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::string closers_;
  bool has_model_ = false;
  RequestScan scan_;
};

}  // namespace

Result<RequestScan> scan_request(std::string_view body) {
  return Scanner(body).scan();
}

std::string with_model(std::string_view body, const RequestScan& scan, std::string_view model) {
  const std::string name = nlohmann::json(std::string(model))
                               .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  std::string result;
  result.reserve(body.size() + name.size());
  result += body.substr(0, scan.model_begin);
  result += name;
  result += body.substr(scan.model_end);
  return result;
}

}  // namespace tandem
