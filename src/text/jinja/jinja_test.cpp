#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "text/jinja/interpreter.h"
#include "text/jinja/json_form.h"
#include "text/jinja/parser.h"

namespace tandem::jinja {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::int64_t kNow = 1721995200;  // tests/tools/transformers_jinja.py: NOW

Result<std::string> rendered(std::string_view source, const Json& context = Json::object(),
                             const Limits& limits = {}) {
  TANDEM_TRY(const Block block, parse_template(source));
  Interpreter interpreter(limits, kNow);
  for (const auto& [name, json] : context.get_ref<const Json::object_t&>()) {
    TANDEM_TRY(Value value, from_json(interpreter.budget(), json));
    interpreter.define(name, std::move(value));
  }
  return interpreter.render(block);
}

std::string text_of(std::string_view source, const Json& context = Json::object()) {
  const auto text = rendered(source, context);
  return text.ok() ? *text : "error: " + text.error().to_string();
}

std::string error_of(std::string_view source, const Limits& limits = {}) {
  const auto text = rendered(source, Json::object(), limits);
  return text.ok() ? "no error" : text.error().what;
}

// `count` times `part`.
std::string times(std::size_t count, std::string_view part) {
  std::string all;
  for (std::size_t i = 0; i < count; ++i) all += part;
  return all;
}

// What Python's jinja2 makes of each small template; tests/tools/make_jinja_cases.py wrote it down.
TEST(Jinja, AgreesWithPythonOnSmallTemplates) {
  std::ifstream file(TANDEM_SOURCE_DIR "/tests/data/jinja_cases.json");
  const Json document = Json::parse(file);
  ASSERT_GT(document["cases"].size(), 150u);
  for (const Json& example : document["cases"]) {
    const auto source = example["template"].get<std::string>();
    const auto text = rendered(source, document["context"]);
    if (example.contains("error")) {
      EXPECT_FALSE(text.ok()) << source << "\nshould fail: " << example["error"];
    } else {
      ASSERT_TRUE(text.ok()) << source << "\n" << text.error().to_string();
      EXPECT_EQ(*text, example["expected"].get<std::string>()) << source;
    }
  }
}

TEST(Jinja, ErrorsNameTheLine) {
  EXPECT_EQ(rendered("a\n{% if x %}\nb").error().where, "line 3");
  EXPECT_EQ(rendered("a\n\n{{ x.y }}").error().where, "line 3");
  EXPECT_EQ(rendered("\n{% for i in [1] %}\n{{ 1 / 0 }}{% endfor %}").error().where, "line 3");
  EXPECT_EQ(rendered("{{ x.y }}").error().to_string(), "line 1: 'x' is undefined");
}

TEST(Jinja, RaiseExceptionIsTheCallersFault) {
  const auto text = rendered("{{ raise_exception('no system role') }}");
  ASSERT_FALSE(text.ok());
  EXPECT_EQ(text.error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(text.error().what, "no system role");
}

TEST(Jinja, TagsThatReadOtherFilesAreRefused) {
  for (const auto* source : {"{% include 'x' %}", "{% import 'x' as y %}", "{% extends 'x' %}",
                             "{% from 'x' import y %}", "{% block b %}{% endblock %}"}) {
    const auto text = rendered(source);
    ASSERT_FALSE(text.ok()) << source;
    EXPECT_EQ(text.error().code, ErrorCode::kUnsupported) << source;
  }
}

TEST(Jinja, NamesThatHidePythonInternalsAreUndefined) {
  EXPECT_EQ(text_of("{{ ''.__class__ is defined }}{{ [].__len__ is defined }}"), "FalseFalse");
  EXPECT_EQ(error_of("{{ ''.__class__.__mro__ }}"), "'str object' has no attribute '__class__'");
}

TEST(Jinja, IteratorsMayBeGivenToTojson) {
  EXPECT_EQ(text_of("{{ [{'a': 1}]|map(attribute='a')|tojson }}"), "[1]");
}

TEST(Jinja, InvalidUtf8PassesThrough) {
  EXPECT_EQ(text_of("\xFF{{ '\xC3'|upper }}{{ '\xE2\x82'|length }}"),
            "\xFF\xC3"
            "1");
}

TEST(JinjaLimits, DeepNestingIsRefusedNotFatal) {
  constexpr std::size_t kDeep = 50'000;
  for (const std::string& source : std::initializer_list<std::string>{
           "{{ " + times(kDeep, "[") + times(kDeep, "]") + " }}",
           "{{ " + times(kDeep, "(") + "1" + times(kDeep, ")") + " }}",
           "{{ " + times(kDeep, "{'a':") + "1" + times(kDeep, "}") + " }}",
           "{{ " + times(kDeep, "not ") + "1 }}", "{{ " + times(kDeep, "-") + "1 }}",
           "{{ x" + times(kDeep, "[0]") + " }}", "{{ x" + times(kDeep, ".a") + " }}",
           "{{ x" + times(kDeep, "()") + " }}", "{{ x" + times(kDeep, "|list") + " }}",
           "{{ 1" + times(kDeep, " + 1") + " }}", "{{ 1" + times(kDeep, " and 1") + " }}",
           "{{ 1" + times(kDeep, " if 1 else 1") + " }}", "{{ " + times(kDeep, "f(") + " }}",
           times(kDeep, "{% if 1 %}") + times(kDeep, "{% endif %}"),
           times(kDeep, "{% for x in y %}") + times(kDeep, "{% endfor %}"),
           "{% set " + times(kDeep, "(") + "a" + times(kDeep, ")") + " = 1 %}",
           "{{ " + times(kDeep, "[") + " }}", times(kDeep, "{{ {")}) {
    EXPECT_FALSE(parse_template(source).ok()) << source.substr(0, 40);
  }
  // Long is not deep.
  EXPECT_TRUE(parse_template(times(kDeep, "{{ x }}")).ok());
  EXPECT_EQ(text_of("{{ 'a'" + times(kDeep, " ~ 'b'") + " }}").size(), kDeep + 1);
}

TEST(JinjaLimits, EndlessWorkEndsInAnError) {
  const std::string slow = "the chat template runs too long";
  const Limits limits{.max_steps = 200'000};
  EXPECT_EQ(
      error_of(times(5, "{% for a in range(1000) %}") + "x" + times(5, "{% endfor %}"), limits),
      slow);
  EXPECT_EQ(
      error_of(
          "{% for a in range(100000) %}{% for b in range(100000) if 0 %}{% endfor %}{% endfor %}",
          limits),
      slow);
  EXPECT_EQ(error_of("{% set ns = namespace(x=[]) %}{% for i in range(60) %}{% set ns.x = [ns.x, "
                     "ns.x] %}{% endfor %}{{ ns.x }}",
                     limits),
            slow);
  EXPECT_EQ(error_of("{% set ns = namespace(x=[], y=[]) %}{% for i in range(60) %}{% set ns.x = "
                     "[ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.x == ns.y }}",
                     limits),
            slow);
  EXPECT_EQ(error_of("{% set s = 'a' * 1000000 %}{% for i in range(1000) %}{% if 'b' in s %}{% "
                     "endif %}{% endfor %}",
                     limits),
            slow);
}

TEST(JinjaLimits, MemoryIsBounded) {
  const std::string large = "the chat template uses too much memory";
  EXPECT_EQ(error_of("{{ 'x' * 10 ** 12 }}"), large);
  EXPECT_EQ(error_of("{{ [1] * 10 ** 12 }}"), large);
  EXPECT_EQ(error_of("{{ 'x' * 2 ** 62 }}"), large);
  EXPECT_EQ(error_of("{{ '%s'|center(10 ** 12) }}"), large);
  EXPECT_EQ(error_of("{{ 'x'.ljust(10 ** 12) }}"), large);
  EXPECT_EQ(error_of("{{ 'x'.zfill(10 ** 30) }}"), large);
  EXPECT_EQ(error_of("{{ 'a\nb'|indent(10 ** 12) }}"), large);
  EXPECT_EQ(error_of("{% set ns = namespace(s='x') %}{% for i in range(100) %}{% set ns.s = ns.s + "
                     "ns.s %}{% endfor %}"),
            large);
  EXPECT_EQ(error_of("{% set ns = namespace(s='aa') %}{% for i in range(100) %}{% set ns.s = "
                     "ns.s|replace('a', 'aa') %}{% endfor %}"),
            large);
  EXPECT_EQ(error_of("{% set s = 'x' * 10000000 %}{% for i in range(100) %}{{ s }}{% endfor %}"),
            "the chat template's output is too long");
}

TEST(JinjaLimits, RecursionIsBounded) {
  EXPECT_EQ(error_of("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"), "recursion is too deep");
  EXPECT_EQ(error_of("{% macro a(x) %}{{ caller() }}{% endmacro %}{% macro b() %}{% call a(1) %}{{ "
                     "b() }}{% endcall %}{% endmacro %}{{ b() }}"),
            "recursion is too deep");
  EXPECT_EQ(error_of("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}"),
            "recursion is too deep");
  EXPECT_EQ(error_of("{% set ns = namespace(x=1) %}{% for i in range(10000) %}{% set ns.x = [ns.x] "
                     "%}{% endfor %}"),
            "values are nested too deeply");
  EXPECT_EQ(error_of("{% set ns = namespace(x=1) %}{% for i in range(10000) %}{% set ns.x = {'a': "
                     "ns.x}.get %}{% endfor %}"),
            "values are nested too deeply");
}

TEST(JinjaLimits, NumbersThatDoNotFitAreRefused) {
  EXPECT_EQ(error_of("{{ 10 ** 100 }}"), "integer overflow");
  EXPECT_EQ(error_of("{{ range(10 ** 12) }}").substr(0, 13), "Range too big");
  EXPECT_EQ(error_of("{{ range(10 ** 30) }}"), "range() out of bounds");
  EXPECT_FALSE(rendered("{{ 99999999999999999999999999999999999999999999 }}").ok());
  EXPECT_EQ(text_of("{{ 'abc'[10 ** 30:] }}{{ 'abc'[:10 ** 30] }}{{ 'abc'[::10 ** 30] }}{{ "
                    "'abc'[::-(10 ** 30)] }}"),
            "abcac");
}

TEST(JinjaLimits, ThingsThatHoldThemselvesAreFreed) {
  // Under the leak checker these would show.
  EXPECT_EQ(text_of("{% set ns = namespace() %}{% set ns.me = ns %}{% set ns.list = [ns] %}ok"),
            "ok");
  EXPECT_EQ(text_of("{% set ns = namespace() %}{% for x in [1] %}{% set ns.l = loop %}{% set ns.f "
                    "= loop.cycle %}{% endfor %}{{ ns.l.length }}{{ ns.f('a') }}"),
            "1a");
  EXPECT_EQ(text_of("{% macro m() %}x{% endmacro %}{% set ns = namespace(m=m) %}{{ ns.m() }}"),
            "x");
}

TEST(JinjaLimits, DeepJsonIsRefused) {
  Json deep = 1;
  for (int i = 0; i < 1000; ++i) deep = Json::array({std::move(deep)});
  const auto text = rendered("{{ x }}", Json{{"x", std::move(deep)}});
  ASSERT_FALSE(text.ok());
  EXPECT_EQ(text.error().what, "values are nested too deeply");
}

}  // namespace
}  // namespace tandem::jinja
