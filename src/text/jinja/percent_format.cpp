// Python's printf-style formatting.
#include <cmath>
#include <cstdio>

#include "text/jinja/operators.h"
#include "text/jinja/py_string.h"
#include "text/jinja/text_form.h"

namespace tandem::jinja {
namespace {

constexpr int kMaxWidth = 4096;

struct Field {
  std::string flags;
  int width = 0;
  int precision = -1;
  char type = 's';

  bool has(char flag) const { return flags.find(flag) != std::string::npos; }
};

class Formatter {
 public:
  Formatter(Budget& budget, std::string_view format, const Value& values)
      : budget_(budget), format_(format), values_(values) {
    const auto* tuple = values.as_sequence();
    if (tuple && tuple->kind == SequenceKind::kTuple) {
      items_ = tuple->items;
    } else {
      items_ = {values};
    }
  }

  Result<std::string> run() {
    while (at_ < format_.size()) {
      if (format_[at_] != '%') {
        const std::size_t end = std::min(format_.find('%', at_), format_.size());
        out_.append(format_.substr(at_, end - at_));
        at_ = end;
        continue;
      }
      ++at_;
      TANDEM_TRY_STATUS(write_field());
    }
    const bool all_used = next_ == items_.size() || used_name_ || values_.as_dict() != nullptr;
    if (!all_used) return render_error("not all arguments converted during string formatting");
    return std::move(out_);
  }

 private:
  char peek() const { return at_ < format_.size() ? format_[at_] : '\0'; }

  Result<int> read_count() {
    int count = 0;
    while (peek() >= '0' && peek() <= '9') {
      count = count * 10 + (format_[at_++] - '0');
      if (count > kMaxWidth) return render_error("width too large in a format");
    }
    return count;
  }

  Result<Value> next_value() {
    if (next_ >= items_.size()) return render_error("not enough arguments for format string");
    return items_[next_++];
  }

  Result<Value> named_value() {
    const std::size_t end = format_.find(')', at_);
    const auto* dict = values_.as_dict();
    if (end == std::string_view::npos) return render_error("incomplete format key");
    if (!dict) return render_error("format requires a mapping");
    const Value* found = dict->find(format_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    used_name_ = true;
    if (!found) return render_error("missing key in a format");
    return *found;
  }

  Status write_field() {
    if (peek() == '%') {
      ++at_;
      out_ += '%';
      return {};
    }
    const bool named = peek() == '(';
    Value value;
    if (named) {
      TANDEM_TRY(value, named_value());
    }
    Field field;
    while (std::string_view("-+ 0#").find(peek()) != std::string_view::npos && peek() != '\0') {
      field.flags += format_[at_++];
    }
    TANDEM_TRY(field.width, read_count());
    if (peek() == '.') {
      ++at_;
      TANDEM_TRY(field.precision, read_count());
    }
    field.type = peek();
    ++at_;
    if (!named) {
      TANDEM_TRY(value, next_value());
    }
    TANDEM_TRY(const std::string text, text_of(field, value));
    const std::size_t length = num_code_points(text);
    const auto width = static_cast<std::size_t>(field.width);
    const std::string padding(width > length ? width - length : 0, ' ');
    TANDEM_TRY_STATUS(budget_.allocate(text.size() + padding.size()));
    out_ += field.has('-') ? text + padding : padding + text;
    return {};
  }

  Result<std::string> text_of(const Field& field, const Value& value) {
    switch (field.type) {
      case 's':
      case 'r': {
        TANDEM_TRY(std::string text,
                   field.type == 's' ? to_text(budget_, value) : repr_of(budget_, value));
        if (field.precision < 0) return text;
        std::string cut;
        for (const auto character : code_points(text)) {
          if (static_cast<int>(num_code_points(cut)) >= field.precision) break;
          cut += character;
        }
        return cut;
      }
      case 'd':
      case 'i':
      case 'u':
      case 'x':
      case 'X':
      case 'o':
        return integer_text(field, value);
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G':
        return float_text(field, value);
      default:
        return render_error("unsupported format character");
    }
  }

  Result<std::string> integer_text(const Field& field, const Value& value) {
    const auto number = value.as_number();
    if (!number || !(std::abs(*number) < 9.2e18)) {
      return render_error("a number is required in a format (and of at most 63 bits)");
    }
    const auto exact = value.as_int().value_or(static_cast<Int>(*number));
    const long long magnitude = static_cast<long long>(exact < 0 ? -exact : exact);
    const char* form = field.type == 'x'   ? "%llx"
                       : field.type == 'X' ? "%llX"
                       : field.type == 'o' ? "%llo"
                                           : "%lld";
    char buffer[32];
    std::snprintf(buffer, sizeof buffer, form, magnitude);
    std::string digits = buffer;
    const auto missing =
        static_cast<std::size_t>(std::max(0, field.precision - static_cast<int>(digits.size())));
    digits.insert(0, missing, '0');
    return with_sign(field, exact < 0, digits);
  }

  Result<std::string> float_text(const Field& field, const Value& value) {
    const auto number = value.as_number();
    if (!number) return render_error("must be real number, not " + std::string(type_name(value)));
    const int precision = std::min(field.precision < 0 ? 6 : field.precision, 300);
    const char form[] = {'%', '.', '*', field.type, '\0'};
    char buffer[700];  // 309 digits before the point and 300 after
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    std::snprintf(buffer, sizeof buffer, form, precision, std::abs(*number));
#pragma GCC diagnostic pop
    return with_sign(field, std::signbit(*number), buffer);
  }

  static std::string with_sign(const Field& field, bool negative, std::string digits) {
    const std::string sign = negative ? "-" : field.has('+') ? "+" : field.has(' ') ? " " : "";
    const int wanted =
        field.has('0') && !field.has('-') ? field.width - static_cast<int>(sign.size()) : 0;
    const int missing = std::max(0, wanted - static_cast<int>(digits.size()));
    return sign + std::string(static_cast<std::size_t>(missing), '0') + digits;
  }

  Budget& budget_;
  std::string_view format_;
  const Value& values_;
  std::vector<Value> items_;
  std::size_t next_ = 0;
  std::size_t at_ = 0;
  bool used_name_ = false;
  std::string out_;
};

}  // namespace

Result<Value> format_percent(Budget& budget, const StringData& format, const Value& values) {
  TANDEM_TRY_STATUS(budget.allocate(format.text.size()));
  TANDEM_TRY(std::string text, Formatter(budget, format.text, values).run());
  return make_string(budget, std::move(text), format.safe);
}

}  // namespace tandem::jinja
