#include "engine/grammar/json_schema.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/grammar/json_rules.h"
#include "engine/grammar/matching_for_test.h"

namespace tandem {
namespace {

using Json = nlohmann::ordered_json;

struct Example {
  const char* schema;
  std::vector<std::string> accepted;
  std::vector<std::string> rejected;
};

const Example kExamples[] = {
    {"true", {"1", "null", R"({"a": [1, {"b": ""}]})"}, {"", "{", "x"}},
    {"{}", {"[]", "\"x\""}, {"nul"}},
    {R"({"type": "null"})", {"null"}, {"0"}},
    {R"({"type": "boolean"})", {"true", "false"}, {"True", "1"}},
    {R"({"type": "integer"})", {"0", "-1", "12345", "-0"}, {"01", "1.0", "+1", "1e3", "-"}},
    {R"({"type": "number"})", {"0", "-1.5", "1e10", "2.5E-3"}, {".5", "1.", "NaN", "1e"}},
    {R"({"type": "string"})",
     {R"("")", R"("a\"b\\\n\u00e9é🙂")", R"("\ud83d\ude42")"},
     {R"("a)", "\"\n\"", R"("\x")", R"("\ud83d")", R"("\ude42")", "\"\xC3\""}},
    {R"({"type": "string", "minLength": 2, "maxLength": 3})",
     {R"("ab")", R"("éé🙂")", R"("\n\\x")"},
     {R"("a")", R"("abcd")", R"("")"}},
    {R"({"type": ["string", "null"]})", {R"("x")", "null"}, {"1"}},
    {R"({"enum": ["a", 1, null, {"b": [1]}]})",
     {R"("a")", "1", "null", R"({"b":[1]})"},
     {R"("b")", "2"}},
    {R"({"const": "é\n"})", {"\"é\\n\""}, {"\"e\""}},
    {R"({"type": "array"})", {"[]", "[1, \"a\", []]"}, {"[1,]", "{}"}},
    {R"({"type": "array", "items": {"type": "integer"}})",
     {"[]", "[1]", "[1, 2,3]", "[\n  1]"},
     {"[\"a\"]", "[1,]", "[,1]"}},
    {R"({"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 3})",
     {"[1,2]", "[1,2,3]"},
     {"[]", "[1]", "[1,2,3,4]"}},
    {R"({"type": "array", "items": {}, "maxItems": 0})", {"[]"}, {"[1]"}},
    {R"({"type": "array", "items": {"const": 1}, "maxItems": 1})", {"[]", "[1]"}, {"[1,1]"}},
    {R"({"prefixItems": [{"type": "integer"}, {"type": "string"}]})",
     {"[1, \"a\"]"},
     {"[1]", "[1,\"a\",2]", "[]"}},
    {R"({"prefixItems": [{"const": 1}], "items": {"const": 2}, "minItems": 2, "maxItems": 3})",
     {"[1,2]", "[1,2,2]"},
     {"[1]", "[1,2,2,2]"}},
    {R"({"type": "object"})", {"{}", R"({"a": 1, "b": {}})"}, {"[]", R"({"a"})"}},
    {R"({"properties": {"a": {"type": "integer"}, "b": {"type": "string"}}, "required": ["a", "b"]})",
     {R"({"a": 1, "b": "x"})", R"({"a":1,"b":"x"})", "{\n  \"a\": 1,\n  \"b\": \"x\"\n}"},
     {"{}", R"({"a": 1})", R"({"b": "x", "a": 1})", R"({"a": 1, "b": "x", "c": 1})"}},
    {R"({"properties": {"a": {"const": 1}, "b": {"const": 2}, "c": {"const": 3}}, "required": ["b"]})",
     {R"({"b":2})", R"({"a":1,"b":2})", R"({"b":2,"c":3})", R"({"a":1,"b":2,"c":3})"},
     {"{}", R"({"a":1})", R"({"a":1,"c":3})", R"({,"b":2})", R"({"b":2,})"}},
    {R"({"properties": {"a": {"const": 1}, "b": {"const": 2}}})",
     {"{}", R"({"a":1})", R"({"b":2})", R"({"a":1,"b":2})"},
     {R"({"x":1})"}},
    {R"({"properties": {"a": {"const": 1}}, "additionalProperties": {"type": "boolean"}})",
     {"{}", R"({"a":1})", R"({"x":true})", R"({"a":1,"ab":true,"":false})",
      R"({"b":true,"c":false})"},
     {R"({"a":true})", R"({"x":1})", R"({"a":1,"a":true})"}},
    {R"({"type": "object", "additionalProperties": {"type": "integer"}})",
     {"{}", R"({"x":1,"y":2})"},
     {R"({"x":"y"})"}},
    {R"({"type": "object", "additionalProperties": false})", {"{}"}, {R"({"a":1})"}},
    {R"({"anyOf": [{"type": "integer"}, {"type": "string"}]})", {"1", R"("a")"}, {"null"}},
    {R"({"oneOf": [{"const": 1}, {"const": 2}]})", {"1", "2"}, {"3"}},
    {R"({"type": "object", "properties": {"k": {"type": "string"}}, "required": ["k"], "anyOf": [{"properties": {"x": {"const": 1}}, "required": ["x"]}, {"properties": {"y": {"const": 2}}, "required": ["y"]}]})",
     {R"({"k":"","x":1})", R"({"k":"","y":2})"},
     {R"({"k":""})", R"({"k":"","x":1,"y":2})"}},
    {R"({"allOf": [{"properties": {"a": {"const": 1}}, "required": ["a"]}, {"properties": {"b": {"const": 2}}, "required": ["b"]}]})",
     {R"({"a":1,"b":2})"},
     {R"({"a":1})"}},
    {R"({"allOf": [{"type": "integer", "minimum": 3}, {"type": "number", "maximum": 5}, {"minimum": 4}]})",
     {"4", "5"},
     {"3", "6", "4.5"}},
    {R"({"$defs": {"n": {"type": "object", "properties": {"v": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/n"}, {"type": "null"}]}}, "required": ["v", "next"]}}, "$ref": "#/$defs/n"})",
     {R"({"v":1,"next":null})", R"({"v":1,"next":{"v":2,"next":null}})"},
     {R"({"v":1})", R"({"v":1,"next":{}})"}},
    {R"({"type": "array", "items": {"$ref": "#"}})", {"[]", "[[],[[]]]"}, {"[1]"}},
    {R"({"definitions": {"a/b~c d": {"const": 7}}, "$ref": "#/definitions/a~1b~0c%20d"})",
     {"7"},
     {"8"}},
    {R"({"$ref": "#/$defs/s", "maxLength": 2, "$defs": {"s": {"type": "string", "minLength": 1}}})",
     {R"("a")", R"("ab")"},
     {R"("")", R"("abc")"}},
    {R"({"type": "integer", "minimum": -3, "maximum": 12})",
     {"-3", "0", "9", "10", "12"},
     {"-4", "13", "100", "-0"}},
    {R"({"type": "integer", "exclusiveMinimum": 0})", {"1", "10", "999999"}, {"0", "-1"}},
    {R"({"type": "integer", "exclusiveMaximum": 5.5})", {"5", "-100", "0"}, {"6"}},
    {R"({"type": "number", "minimum": 0, "maximum": 1})",
     {"0", "0.5", "1", "1.0", "0.999"},
     {"-0.1", "1.1", "2", "1.01"}},
    {R"({"type": "number", "exclusiveMinimum": 0})", {"0.1", "1", "10.5"}, {"0", "0.0", "-1"}},
    {R"({"type": "string", "pattern": "^[a-z]{2,3}-\\d+$"})",
     {R"("ab-1")", R"("abc-123")"},
     {R"("a-1")", R"("ab-")", R"("wxab-1")", R"("ab-1x")"}},
    {R"({"type": "string", "pattern": "b+"})",
     {R"("b")", R"("abbc")", R"("\"b")"},
     {R"("a")", R"("")"}},
    {R"({"type": "string", "pattern": "^(a|bc)*$|^x$"})",
     {R"("")", R"("abca")", R"("x")"},
     {R"("b")", R"("xx")"}},
    {R"({"type": "string", "pattern": "^.[\"\\\\\\n]$"})",
     {R"("a\"")", R"("é\\")", R"("x\n")"},
     {R"("a")", R"("ab")"}},
    {R"({"type": "string", "pattern": "^[^a-y]\\w\\s\\S$"})",
     {R"("z_ b")", R"("!9\ta")"},
     {R"("a_ b")"}},
    {R"({"type": "string", "pattern": "^(?:ab)?(?<n>c)??d\\.\\x41\\u00e9$"})",
     {R"("abcd.Aé")", R"("d.Aé")"},
     {R"("abd")"}},
    {R"({"type": "string", "format": "date"})",
     {R"("2024-02-29")"},
     {R"("2024-13-01")", R"("24-01-01")"}},
    {R"({"type": "string", "format": "date-time"})",
     {R"("2024-02-29T23:59:59Z")", R"("2024-02-29T23:59:59.5+02:00")"},
     {R"("2024-02-29")"}},
    {R"({"type": "string", "format": "uuid"})",
     {R"("123e4567-e89b-12d3-a456-426614174000")"},
     {R"("123e4567")"}},
    {R"({"type": "string", "format": "ipv4"})", {R"("192.168.0.255")"}, {R"("256.1.1.1")"}},
    {R"({"type": "string", "format": "email"})", {R"("a.b@c.de")"}, {R"("a@b")"}},
    {R"({"type": "string", "format": "unheard-of"})", {R"("x")"}, {"1"}},
    {R"({"type": "string", "nullable": true})", {R"("x")", "null"}, {"1"}},
};

TEST(JsonSchema, AcceptsWhatSatisfiesIt) {
  for (const Example& example : kExamples) {
    const auto grammar = grammar_of_json_schema(Json::parse(example.schema));
    ASSERT_TRUE(grammar.ok()) << example.schema << "\n" << grammar.error().to_string();
    for (const auto& text : example.accepted)
      EXPECT_TRUE(matches(*grammar, text)) << example.schema << "\n" << text;
    for (const auto& text : example.rejected)
      EXPECT_FALSE(matches(*grammar, text)) << example.schema << "\n" << text;
  }
}

// Whatever the masks allow is JSON, whole and valid.
TEST(JsonSchema, RandomWalksGiveJson) {
  std::mt19937 random(3);
  int ended = 0;
  for (const Example& example : kExamples) {
    const auto grammar = grammar_of_json_schema(Json::parse(example.schema));
    ASSERT_TRUE(grammar.ok());
    for (int i = 0; i < 5; ++i) {
      const std::string text = random_sentence(*grammar, random, byte_trie(), 300);
      if (text.empty()) continue;
      ++ended;
      EXPECT_TRUE(Json::accept(text)) << example.schema << "\n" << text;
    }
  }
  EXPECT_GT(ended, 100);
}

TEST(JsonSchema, AnyObjectIsAnObject) {
  const auto grammar = any_json_object_grammar();
  ASSERT_TRUE(grammar.ok());
  EXPECT_TRUE(matches(*grammar, R"({"a": [1, -2.5e3, true, null, {"b": "é\n"}], "c": {}})"));
  EXPECT_TRUE(matches(*grammar, "{}"));
  for (const char* text : {"[]", "1", "", "{", "{}{}", R"({"a": })", "{1: 2}"})
    EXPECT_FALSE(matches(*grammar, text)) << text;
}

std::optional<Grammar> grammar_of(const std::optional<GrammarExpr>& expr) {
  if (!expr) return std::nullopt;
  GrammarBuilder builder;
  const auto root = builder.declare("root");
  EXPECT_TRUE(builder.define(root, *expr).ok());
  return std::move(builder).build(root).value();
}

TEST(NumberRanges, HoldExactlyTheirNumbers) {
  std::mt19937 random(5);
  const auto pick = [&](std::int64_t limit) {
    return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(2 * limit)) - limit;
  };
  for (int round = 0; round < 60; ++round) {
    const std::int64_t limit = round % 2 == 0 ? 30 : 2000;
    std::optional<std::int64_t> low;
    std::optional<std::int64_t> high;
    if (round % 5 != 0) low = pick(limit);
    if (round % 7 != 0) high = pick(limit);
    const auto integers = grammar_of(integer_range_expr(low, high));
    const bool low_excluded = random() % 2 == 0;
    const bool high_excluded = random() % 2 == 0;
    const auto numbers = grammar_of(number_range_expr(low, low_excluded, high, high_excluded));
    for (int i = 0; i < 150; ++i) {
      std::int64_t n = pick(limit + 20);
      if (i < 6) n = (i % 2 == 0 ? low : high).value_or(0) + i / 2 - 1;
      const bool inside = (!low || n >= *low) && (!high || n <= *high);
      EXPECT_EQ(integers && matches(*integers, std::to_string(n)), inside)
          << n << " in " << low.value_or(-99999) << ".." << high.value_or(99999);
      for (const char* fraction : {"", ".0", ".5", ".01"}) {
        const std::string text = std::to_string(n) + fraction;
        const double value = std::stod(text);
        const bool fits = (!low || (low_excluded ? value > static_cast<double>(*low)
                                                 : value >= static_cast<double>(*low))) &&
                          (!high || (high_excluded ? value < static_cast<double>(*high)
                                                   : value <= static_cast<double>(*high)));
        EXPECT_EQ(numbers && matches(*numbers, text), fits)
            << text << " in " << low.value_or(-99999) << ".." << high.value_or(99999)
            << low_excluded << high_excluded;
      }
    }
  }
  EXPECT_FALSE(integer_range_expr(5, 4));
  const auto all = grammar_of(integer_range_expr(INT64_MIN, INT64_MAX));
  EXPECT_TRUE(matches(*all, "-9223372036854775808") && matches(*all, "9223372036854775807"));
  EXPECT_FALSE(matches(*all, "-9223372036854775809") || matches(*all, "9223372036854775808"));
}

std::string error_of(const Json& schema) {
  const auto grammar = grammar_of_json_schema(schema);
  return grammar.ok() ? "no error" : grammar.error().to_string();
}
std::string error_of_text(const char* schema) {
  return error_of(Json::parse(schema));
}

TEST(JsonSchema, ErrorsSayWhere) {
  EXPECT_EQ(error_of_text(R"({"properties": {"a": {"not": {}}}})"),
            "schema/properties/a: 'not' in a schema");
  EXPECT_EQ(error_of_text(R"({"type": "thing"})"), "schema: unknown type (got thing)");
  EXPECT_EQ(error_of_text(R"({"items": {"type": "string", "minLength": -1}})"),
            "schema/items: minLength must be a count (got -1)");
  EXPECT_EQ(error_of_text(R"({"type": "string", "minLength": 3, "maxLength": 2})"),
            "schema: nothing satisfies this: the maximum is below the minimum");
  EXPECT_EQ(error_of_text(R"({"$ref": "#/$defs/x"})"),
            "schema: $ref to what is not there (got #/$defs/x)");
  EXPECT_EQ(error_of_text(R"({"$ref": "http://x/y"})"),
            "schema: $ref to another document (expected #/..., got http://x/y)");
  EXPECT_EQ(error_of_text(R"x({"type": "string", "pattern": "(?=a)"})x"),
            "pattern, character 2: look-ahead or flags");
  EXPECT_EQ(error_of_text("false"),
            "schema: nothing satisfies this (expected an object, got false)");
  EXPECT_EQ(error_of_text(R"({"enum": []})"), "schema: enum must be an array that is not empty");
  EXPECT_EQ(error_of_text(R"({"type": "array", "uniqueItems": true})"),
            "schema: 'uniqueItems' in a schema");
  EXPECT_EQ(error_of_text(R"({"type": "object", "required": ["x"]})").substr(0, 62),
            "schema: a required name that is not under properties (got \"x\")");
  EXPECT_NE(error_of_text(R"({"type": "integer", "minimum": 5, "maximum": 4})"), "no error");
  EXPECT_NE(error_of_text(R"({"type": "number", "minimum": 0.2, "maximum": 0.8})"), "no error");
  EXPECT_NE(error_of_text(R"({"allOf": [{"type": "string"}, {"type": "null"}]})"), "no error");
}

TEST(JsonSchema, HostileSchemasEndInErrors) {
  Json deep = Json::object();
  for (int i = 0; i < 50'000; ++i) deep = Json{{"items", std::move(deep)}};
  EXPECT_NE(error_of(deep).find("too deep"), std::string::npos);
  EXPECT_NE(error_of_text(R"({"$ref": "#"})").find("refers to itself"), std::string::npos);
  EXPECT_NE(
      error_of_text(
          R"({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}})")
          .find("refers to itself"),
      std::string::npos);
  EXPECT_NE(error_of_text(R"({"allOf": [{"$ref": "#"}]})").find("too deep"), std::string::npos);
  EXPECT_NE(error_of_text(R"({"anyOf": [{"$ref": "#"}, {"$ref": "#"}]})").find("refers to itself"),
            std::string::npos);
  EXPECT_NE(error_of_text(R"({"anyOf": [{"$ref": "#"}], "type": "object"})"), "no error");
  EXPECT_NE(error_of_text(R"({"type": "string", "minLength": 1000000000})"), "no error");
  EXPECT_EQ(error_of_text(R"({"type": "string", "maxLength": 1000000000})"), "no error");
  EXPECT_NE(error_of_text(R"({"type": "string", "minLength": 1e300})"), "no error");
  EXPECT_NE(
      error_of_text(R"({"type": "string", "pattern": "((((a{9999}){9999}){9999}){9999}){99999}"})"),
      "no error");
  EXPECT_NE(error_of(Json{{"type", "string"}, {"pattern", std::string(10'000, '(')}}), "no error");
  EXPECT_NE(error_of(Json{{"type", "string"}, {"pattern", std::string(100'000, 'a')}}), "no error");
  EXPECT_NE(error_of_text(R"({"type": "array", "items": {}, "minItems": 99999999999999999999})"),
            "no error");
  // Refs that double at each step stay small: each is one rule.
  Json doubling = {{"$ref", "#/$defs/d0"}, {"$defs", Json::object()}};
  for (int i = 0; i < 40; ++i) {
    const Json next = {{"$ref", "#/$defs/d" + std::to_string(i + 1)}};
    doubling["$defs"]["d" + std::to_string(i)] = {{"prefixItems", Json::array({next, next})}};
  }
  doubling["$defs"]["d40"] = {{"const", 1}};
  EXPECT_EQ(error_of(doubling), "no error");
  // The same through allOf is written out, and so refused.
  Json merging = {{"$ref", "#/$defs/d0"}, {"$defs", Json::object()}};
  for (int i = 0; i < 30; ++i) {
    const Json next = {{"$ref", "#/$defs/d" + std::to_string(i + 1)}};
    merging["$defs"]["d" + std::to_string(i)] = {{"allOf", Json::array({next, next})}};
  }
  merging["$defs"]["d30"] = {{"const", 1}};
  EXPECT_NE(error_of(merging), "no error");
  Json wide = {{"type", "object"}, {"properties", Json::object()}};
  for (int i = 0; i < 20'000; ++i)
    wide["properties"].push_back({"p" + std::to_string(i), Json::object()});
  EXPECT_NE(error_of(wide).find("too large"), std::string::npos);
}

// Exponential for a backtracking matcher; here a state per position.
TEST(JsonSchema, PathologicalPatternsAreFollowedQuickly) {
  const auto grammar = grammar_of_json_schema(
      Json{{"type", "string"}, {"pattern", "^(a+)+(a|a|aa)*(a?){50}a{50}b$"}});
  ASSERT_TRUE(grammar.ok()) << grammar.error().to_string();
  EXPECT_TRUE(matches(*grammar, "\"" + std::string(1000, 'a') + "b\""));
  EXPECT_FALSE(matches(*grammar, "\"" + std::string(1000, 'a') + "\""));
}

}  // namespace
}  // namespace tandem
