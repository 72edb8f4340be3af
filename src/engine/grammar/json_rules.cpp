#include "engine/grammar/json_rules.h"

namespace tandem {
namespace {

GrammarExpr digit() {
  return class_expr({{'0', '9'}});
}
GrammarExpr hex_digit() {
  return class_expr({{'0', '9'}, {'a', 'f'}, {'A', 'F'}});
}

GrammarExpr hex(CodePointRanges ranges, int more) {
  return sequence_expr({class_expr(std::move(ranges)), repeat_expr(hex_digit(), more, more)});
}

// \uXXXX: any character, those beyond the first plane as a pair of surrogates, never half a pair.
GrammarExpr unicode_escape() {
  const GrammarExpr high_nibbles = class_expr({{'8', '9'}, {'a', 'b'}, {'A', 'B'}});
  const GrammarExpr d = class_expr({{'d', 'd'}, {'D', 'D'}});
  const GrammarExpr low = class_expr({{'c', 'f'}, {'C', 'F'}});
  const GrammarExpr two = repeat_expr(hex_digit(), 2, 2);
  return sequence_expr(
      {text_expr("u"),
       choice_expr({hex({{'0', '9'}, {'a', 'c'}, {'e', 'f'}, {'A', 'C'}, {'E', 'F'}}, 3),
                    sequence_expr({d, hex({{'0', '7'}}, 2)}),
                    sequence_expr({d, high_nibbles, two, text_expr("\\u"), d, low, two})})});
}

GrammarExpr unsigned_integer() {
  return choice_expr(
      {text_expr("0"), sequence_expr({class_expr({{'1', '9'}}), repeat_expr(digit(), 0, 15)})});
}

GrammarExpr signed_integer() {
  return sequence_expr({optional_expr(text_expr("-")), unsigned_integer()});
}

}  // namespace

std::int32_t JsonRules::declared(std::optional<std::int32_t>& rule, const char* name,
                                 bool& is_new) {
  is_new = !rule.has_value();
  if (is_new) rule = builder_.declare(name);
  return *rule;
}

Result<GrammarExpr> JsonRules::add(std::string name, const GrammarExpr& expr) {
  const std::int32_t rule = builder_.declare(std::move(name));
  TANDEM_TRY_STATUS(builder_.define(rule, expr));
  return rule_expr(rule);
}

GrammarExpr joined_exprs(std::vector<GrammarExpr> parts, const GrammarExpr& separator) {
  std::vector<GrammarExpr> all;
  for (GrammarExpr& part : parts) {
    if (!all.empty()) all.push_back(separator);
    all.push_back(std::move(part));
  }
  return sequence_expr(std::move(all));
}

Result<GrammarExpr> JsonRules::space() {
  bool is_new = false;
  const auto rule = declared(space_, "space", is_new);
  if (is_new) {
    const auto blank = class_expr({{' ', ' '}, {'\t', '\t'}});
    TANDEM_TRY_STATUS(builder_.define(
        rule, choice_expr({text_expr(""), text_expr(" "),
                           sequence_expr({text_expr("\n"), repeat_expr(blank, 0, 20)})})));
  }
  return rule_expr(rule);
}

Result<GrammarExpr> JsonRules::string_character() {
  bool is_new = false;
  const auto rule = declared(character_, "character", is_new);
  if (is_new) {
    const auto plain = not_class_expr({{0, 0x1F}, {'"', '"'}, {'\\', '\\'}, {0x7F, 0x7F}});
    const auto one_letter = class_expr({{'"', '"'},
                                        {'\\', '\\'},
                                        {'/', '/'},
                                        {'b', 'b'},
                                        {'f', 'f'},
                                        {'n', 'n'},
                                        {'r', 'r'},
                                        {'t', 't'}});
    TANDEM_TRY_STATUS(builder_.define(
        rule, choice_expr({plain, sequence_expr({text_expr("\\"),
                                                 choice_expr({one_letter, unicode_escape()})})})));
  }
  return rule_expr(rule);
}

Result<GrammarExpr> JsonRules::string() {
  bool is_new = false;
  const auto rule = declared(string_, "string", is_new);
  if (is_new) {
    TANDEM_TRY(GrammarExpr character, string_character());
    TANDEM_TRY_STATUS(builder_.define(
        rule,
        sequence_expr({text_expr("\""), repeat_expr(std::move(character), 0), text_expr("\"")})));
  }
  return rule_expr(rule);
}

Result<GrammarExpr> JsonRules::integer() {
  bool is_new = false;
  const auto rule = declared(integer_, "integer", is_new);
  if (is_new) TANDEM_TRY_STATUS(builder_.define(rule, signed_integer()));
  return rule_expr(rule);
}

Result<GrammarExpr> JsonRules::number() {
  bool is_new = false;
  const auto rule = declared(number_, "number", is_new);
  if (is_new) {
    const auto fraction = sequence_expr({text_expr("."), repeat_expr(digit(), 1, 16)});
    const auto exponent = sequence_expr({class_expr({{'e', 'e'}, {'E', 'E'}}),
                                         optional_expr(class_expr({{'-', '-'}, {'+', '+'}})),
                                         repeat_expr(digit(), 1, 2)});
    TANDEM_TRY_STATUS(builder_.define(
        rule, sequence_expr({signed_integer(), optional_expr(fraction), optional_expr(exponent)})));
  }
  return rule_expr(rule);
}

Result<GrammarExpr> JsonRules::array() {
  bool is_new = false;
  const auto rule = declared(array_, "array", is_new);
  if (is_new) {
    TANDEM_TRY(const GrammarExpr element, value());
    TANDEM_TRY(const GrammarExpr gap, space());
    const auto more = repeat_expr(sequence_expr({text_expr(","), gap, element, gap}), 0);
    TANDEM_TRY_STATUS(builder_.define(
        rule, sequence_expr({text_expr("["), gap,
                             optional_expr(sequence_expr({element, gap, more})), text_expr("]")})));
  }
  return rule_expr(rule);
}

Result<GrammarExpr> JsonRules::object() {
  bool is_new = false;
  const auto rule = declared(object_, "object", is_new);
  if (is_new) {
    TANDEM_TRY(const GrammarExpr element, value());
    TANDEM_TRY(const GrammarExpr key, string());
    TANDEM_TRY(const GrammarExpr gap, space());
    const auto member = sequence_expr({key, gap, text_expr(":"), gap, element, gap});
    const auto more = repeat_expr(sequence_expr({text_expr(","), gap, member}), 0);
    TANDEM_TRY_STATUS(builder_.define(
        rule, sequence_expr({text_expr("{"), gap, optional_expr(sequence_expr({member, more})),
                             text_expr("}")})));
  }
  return rule_expr(rule);
}

Result<GrammarExpr> JsonRules::value() {
  bool is_new = false;
  const auto rule = declared(value_, "value", is_new);
  if (is_new) {
    TANDEM_TRY(GrammarExpr any_object, object());
    TANDEM_TRY(GrammarExpr any_array, array());
    TANDEM_TRY(GrammarExpr any_string, string());
    TANDEM_TRY(GrammarExpr any_number, number());
    TANDEM_TRY_STATUS(builder_.define(
        rule, choice_expr({std::move(any_object), std::move(any_array), std::move(any_string),
                           std::move(any_number), text_expr("true"), text_expr("false"),
                           text_expr("null")})));
  }
  return rule_expr(rule);
}

}  // namespace tandem
