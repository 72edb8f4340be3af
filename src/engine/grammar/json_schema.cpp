#include "engine/grammar/json_schema.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "engine/grammar/json_rules.h"
#include "engine/grammar/schema_merge.h"
#include "engine/grammar/schema_scalars.h"

namespace tandem {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kMaxJsonDepth = 200;
constexpr int kMaxDepth = 100;
constexpr int kMaxNodes = 10'000;
constexpr std::size_t kMaxElements = 500'000;
constexpr std::string_view kUnsupportedKeywords[] = {"not",
                                                     "if",
                                                     "then",
                                                     "else",
                                                     "patternProperties",
                                                     "propertyNames",
                                                     "dependentRequired",
                                                     "dependentSchemas",
                                                     "dependencies",
                                                     "contains",
                                                     "minContains",
                                                     "maxContains",
                                                     "unevaluatedProperties",
                                                     "unevaluatedItems",
                                                     "multipleOf",
                                                     "minProperties",
                                                     "maxProperties",
                                                     "$dynamicRef",
                                                     "$recursiveRef"};

// Before anything copies it: does the nesting fit on the stack?
Status check_depth(const Json& json, int depth) {
  if (depth > kMaxJsonDepth) return invalid_argument("the schema is nested too deeply");
  if (!json.is_structured()) return {};
  for (const Json& child : json) TANDEM_TRY_STATUS(check_depth(child, depth + 1));
  return {};
}

class Converter {
 public:
  Converter(const Json& root, GrammarBuilder& builder, JsonRules& rules)
      : root_(root), builder_(builder), rules_(rules) {}

  Result<std::int32_t> run() {
    TANDEM_TRY_STATUS(check_depth(root_, 1));
    const std::int32_t root = builder_.declare("schema");
    refs_["#"] = root;
    TANDEM_TRY(const GrammarExpr expr, convert(root_, "schema"));
    TANDEM_TRY_STATUS(builder_.define(root, expr));
    return root;
  }

 private:
  // The schema's grammar. `place` says in messages where it stands.
  Result<GrammarExpr> convert(const Json& schema, const std::string& place) {
    if (++num_nodes_ > kMaxNodes) return invalid_argument(place + ": the schema is too large");
    if (++depth_ > kMaxDepth) return invalid_argument(place + ": the schema is nested too deeply");
    auto expr = convert_here(schema, place);
    --depth_;
    if (!expr.ok() && expr.error().where.empty()) {
      Error error = std::move(expr).error();
      error.where = place;
      return error;
    }
    return expr;
  }

  Result<GrammarExpr> convert_here(const Json& schema, const std::string& place) {
    if (schema == true || schema == Json::object()) return rules_.value();
    if (!schema.is_object())
      return invalid_argument("nothing satisfies this", "an object",
                              json_text_of(schema).substr(0, 60));
    TANDEM_TRY_STATUS(check_keywords(schema));
    if (schema.contains("$ref")) return convert_ref(schema, place);
    if (schema.contains("allOf")) return convert_all_of(schema, place);
    for (const char* key : {"anyOf", "oneOf"}) {
      if (schema.contains(key)) return convert_any_of(schema, key, place);
    }
    if (schema.contains("const")) return text_expr(json_text_of(schema["const"]));
    if (schema.contains("enum")) return convert_enum(schema);
    return convert_types(schema, place);
  }

  static Status check_keywords(const Json& schema) {
    for (const auto key : kUnsupportedKeywords) {
      if (schema.contains(key)) return unsupported("", "'" + std::string(key) + "' in a schema");
    }
    if (schema.contains("uniqueItems") && schema["uniqueItems"] == true) {
      return unsupported("", "'uniqueItems' in a schema");
    }
    return {};
  }

  // All keywords but `key` and those that say nothing.
  static Json without(const Json& schema, std::string_view key) {
    Json rest = Json::object();
    for (const auto& [name, value] : schema.get_ref<const Json::object_t&>()) {
      const bool says_nothing = name == "$defs" || name == "definitions" || name == "description" ||
                                name == "title" || name == "default" || name == "examples" ||
                                name == "$schema" || name == "$id" || name == "$comment" ||
                                name == "discriminator";
      if (name != key && !says_nothing) rest[name] = value;
    }
    return rest;
  }

  Result<GrammarExpr> convert_ref(const Json& schema, const std::string& place) {
    if (!schema["$ref"].is_string()) return invalid_argument("$ref must be a string");
    const Json rest = without(schema, "$ref");
    if (!rest.empty()) {
      return convert_all_of({{"allOf", Json::array({{{"$ref", schema["$ref"]}}, rest})}}, place);
    }
    const auto ref = schema["$ref"].get<std::string>();
    if (const auto found = refs_.find(ref); found != refs_.end()) return rule_expr(found->second);
    TANDEM_TRY(const Json* target, resolve_ref(root_, ref));
    const std::int32_t rule = builder_.declare(ref.substr(0, 100));
    refs_[ref] = rule;
    TANDEM_TRY(const GrammarExpr expr, convert(*target, ref.substr(0, 100)));
    TANDEM_TRY_STATUS(builder_.define(rule, expr));
    return rule_expr(rule);
  }

  // With $ref and allOf replaced by what they say, as long as they stand at the top.
  Result<Json> expanded(const Json& schema, int depth) {
    if (depth > 32 || ++num_nodes_ > kMaxNodes)
      return invalid_argument("allOf or $ref go too deep");
    if (!schema.is_object()) return schema;
    TANDEM_TRY_STATUS(check_keywords(schema));
    Json merged = schema;
    merged.erase("allOf");
    merged.erase("$ref");
    std::vector<const Json*> parts;
    if (schema.contains("$ref")) {
      if (!schema["$ref"].is_string()) return invalid_argument("$ref must be a string");
      TANDEM_TRY(const Json* target, resolve_ref(root_, schema["$ref"].get<std::string>()));
      parts.push_back(target);
    }
    if (schema.contains("allOf")) {
      if (!schema["allOf"].is_array()) return invalid_argument("allOf must be an array");
      for (const Json& part : schema["allOf"]) parts.push_back(&part);
    }
    for (const Json* part : parts) {
      TANDEM_TRY(const Json inner, expanded(*part, depth + 1));
      TANDEM_TRY(merged, merge_schemas(merged, inner));
    }
    return merged;
  }

  Result<GrammarExpr> convert_all_of(const Json& schema, const std::string& place) {
    TANDEM_TRY(const Json merged, expanded(schema, 0));
    return convert(merged, place);
  }

  Result<GrammarExpr> convert_any_of(const Json& schema, const char* key,
                                     const std::string& place) {
    if (!schema[key].is_array() || schema[key].empty())
      return invalid_argument(std::string(key) + " must be an array that is not empty");
    const Json rest = without(schema, key);
    std::vector<GrammarExpr> choices;
    for (std::size_t i = 0; i < schema[key].size(); ++i) {
      const std::string branch = place + "/" + key + "/" + std::to_string(i);
      const Json* part = &schema[key][i];
      Json both;
      if (!rest.empty()) {
        both = {{"allOf", Json::array({rest, *part})}};
        part = &both;
      }
      TANDEM_TRY(GrammarExpr choice, convert(*part, branch));
      choices.push_back(std::move(choice));
    }
    return choice_expr(std::move(choices));
  }

  static Result<GrammarExpr> convert_enum(const Json& schema) {
    if (!schema["enum"].is_array() || schema["enum"].empty())
      return invalid_argument("enum must be an array that is not empty");
    std::vector<GrammarExpr> choices;
    for (const Json& value : schema["enum"]) choices.push_back(text_expr(json_text_of(value)));
    return choice_expr(std::move(choices));
  }

  Result<GrammarExpr> convert_types(const Json& schema, const std::string& place) {
    if (!schema.contains("type")) return convert_type(schema, implied_type(schema), place);
    const Json& type = schema["type"];
    std::vector<GrammarExpr> choices;
    for (const Json& one : type.is_array() ? type : Json::array({type})) {
      if (!one.is_string()) return invalid_argument("type must be a string or a list of them");
      TANDEM_TRY(GrammarExpr choice, convert_type(schema, one.get<std::string>(), place));
      choices.push_back(std::move(choice));
    }
    if (choices.empty()) return invalid_argument("type must not be empty");
    if (schema.contains("nullable") && schema["nullable"] == true)
      choices.push_back(text_expr("null"));
    return choice_expr(std::move(choices));
  }

  // Keywords that only one type heeds stand for that type.
  static std::string implied_type(const Json& schema) {
    static constexpr std::pair<const char*, const char*> kImplied[] = {
        {"properties", "object"},
        {"required", "object"},
        {"additionalProperties", "object"},
        {"items", "array"},
        {"prefixItems", "array"},
        {"minItems", "array"},
        {"maxItems", "array"},
        {"pattern", "string"},
        {"format", "string"},
        {"minLength", "string"},
        {"maxLength", "string"},
        {"minimum", "number"},
        {"maximum", "number"},
        {"exclusiveMinimum", "number"},
        {"exclusiveMaximum", "number"}};
    for (const auto& [key, type] : kImplied) {
      if (schema.contains(key)) return type;
    }
    return "";
  }

  Result<GrammarExpr> convert_type(const Json& schema, const std::string& type,
                                   const std::string& place) {
    if (type.empty()) return rules_.value();
    if (type == "null") return text_expr("null");
    if (type == "boolean") return choice_expr({text_expr("true"), text_expr("false")});
    if (type == "string") return convert_string(schema, rules_);
    if (type == "integer" || type == "number")
      return convert_number(schema, type == "integer", rules_);
    if (type == "array") return convert_array(schema, place);
    if (type == "object") return convert_object(schema, place);
    return invalid_argument("unknown type", "", type.substr(0, 40));
  }

  Result<GrammarExpr> convert_array(const Json& schema, const std::string& place) {
    TANDEM_TRY(const auto min_items, count_of(schema, "minItems"));
    TANDEM_TRY(auto max_items, count_of(schema, "maxItems"));
    TANDEM_TRY(const GrammarExpr gap, rules_.space());
    const Json* items = schema.contains("items") ? &schema["items"] : nullptr;
    const Json* prefix = schema.contains("prefixItems") ? &schema["prefixItems"] : nullptr;
    if (items && items->is_array()) prefix = std::exchange(items, nullptr);  // before 2020-12
    if (prefix && !prefix->is_array()) return invalid_argument("prefixItems must be an array");
    std::vector<GrammarExpr> parts;
    for (std::size_t i = 0; prefix && i < prefix->size(); ++i) {
      TANDEM_TRY(GrammarExpr part,
                 convert((*prefix)[i], place + "/prefixItems/" + std::to_string(i)));
      parts.push_back(sequence_expr({std::move(part), gap}));
    }
    const auto num_fixed = static_cast<std::int32_t>(parts.size());
    const auto comma = sequence_expr({text_expr(","), gap});
    const std::int32_t least = std::max(0, min_items.value_or(0) - num_fixed);
    const auto most = max_items ? std::optional(*max_items - num_fixed) : std::nullopt;
    if (most && *most < least)
      return invalid_argument("nothing satisfies this: the maximum of items is below the minimum");
    std::vector<GrammarExpr> all = {text_expr("["), gap};
    if (num_fixed > 0) all.push_back(joined_exprs(std::move(parts), comma));
    const bool has_more = (items ? *items != false : !prefix) && most.value_or(1) > 0;
    if (least > 0 && !has_more)
      return invalid_argument("nothing satisfies this: too few items are allowed");
    if (has_more) {
      TANDEM_TRY(GrammarExpr item, items ? convert(*items, place + "/items") : rules_.value());
      TANDEM_TRY(item, rules_.add("item", sequence_expr({std::move(item), gap})));
      if (num_fixed > 0) {
        TANDEM_TRY(GrammarExpr more, counted(sequence_expr({comma, item}), least, most));
        all.push_back(std::move(more));
      } else {
        const auto others = most ? std::optional(*most - 1) : std::nullopt;
        TANDEM_TRY(GrammarExpr more,
                   counted(sequence_expr({comma, item}), std::max(0, least - 1), others));
        auto filled = sequence_expr({item, std::move(more)});
        all.push_back(least > 0 ? std::move(filled) : optional_expr(std::move(filled)));
      }
    }
    all.push_back(text_expr("]"));
    return sequence_expr(std::move(all));
  }

  Result<GrammarExpr> member(GrammarExpr key, GrammarExpr value) {
    TANDEM_TRY(const GrammarExpr gap, rules_.space());
    return rules_.add(
        "member", sequence_expr({std::move(key), gap, text_expr(":"), gap, std::move(value), gap}));
  }

  // {first_k} is what may follow "{" when properties before k were left out, {rest_k} what may
  // follow a member:
  //   first_k ::= member_k rest_k+1 | first_k+1        (the second only where k is optional)
  //   rest_k  ::= "," member_k rest_k+1 | rest_k+1
  Result<GrammarExpr> convert_object(const Json& schema, const std::string& place) {
    const Json no_properties = Json::object();
    const Json& properties = schema.contains("properties") ? schema["properties"] : no_properties;
    if (!properties.is_object()) return invalid_argument("properties must be an object");
    TANDEM_TRY(const Json required, required_names(schema, properties));
    TANDEM_TRY(const GrammarExpr gap, rules_.space());
    const auto comma = sequence_expr({text_expr(","), gap});
    TANDEM_TRY(const auto other, other_member(schema, properties, place));
    GrammarExpr first = text_expr("");
    GrammarExpr rest = text_expr("");
    if (other) {
      rest = repeat_expr(sequence_expr({comma, *other}), 0);
      TANDEM_TRY(rest, rules_.add("others", rest));
      first = optional_expr(sequence_expr({*other, rest}));
    }
    const auto& entries = properties.get_ref<const Json::object_t&>();
    for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
      TANDEM_TRY(GrammarExpr value,
                 convert(entry->second, place + "/properties/" + entry->first.substr(0, 60)));
      TANDEM_TRY(const GrammarExpr one,
                 member(text_expr(json_text_of(entry->first)), std::move(value)));
      auto as_first = sequence_expr({one, rest});
      auto as_next = sequence_expr({comma, one, rest});
      const bool is_required =
          std::find(required.begin(), required.end(), entry->first) != required.end();
      TANDEM_TRY(first,
                 rules_.add("first", is_required ? std::move(as_first)
                                                 : choice_expr({std::move(as_first), first})));
      TANDEM_TRY(rest, rules_.add("next", is_required ? std::move(as_next)
                                                      : choice_expr({std::move(as_next), rest})));
    }
    return sequence_expr({text_expr("{"), gap, std::move(first), text_expr("}")});
  }

  // The names under `required`, each of which must be a property.
  static Result<Json> required_names(const Json& schema, const Json& properties) {
    Json names = schema.contains("required") ? schema["required"] : Json::array();
    if (!names.is_array()) return invalid_argument("required must be an array");
    for (const Json& name : names) {
      if (!name.is_string()) return invalid_argument("required must hold strings");
      if (!properties.contains(name.get_ref<const std::string&>())) {
        return unsupported("", "a required name that is not under properties", "",
                           json_text_of(name).substr(0, 60));
      }
    }
    return names;
  }

  // A member that is none of the properties; nullopt where none is allowed.
  Result<std::optional<GrammarExpr>> other_member(const Json& schema, const Json& properties,
                                                  const std::string& place) {
    std::optional<GrammarExpr> none;
    const bool is_given = schema.contains("additionalProperties");
    if (!is_given && !properties.empty()) return none;
    if (is_given && schema["additionalProperties"] == false) return none;
    const Json anything = true;
    const Json& wanted = is_given ? schema["additionalProperties"] : anything;
    TANDEM_TRY(GrammarExpr value, convert(wanted, place + "/additionalProperties"));
    std::vector<std::string> names;
    for (const auto& [name, property] : properties.get_ref<const Json::object_t&>())
      names.push_back(name);
    TANDEM_TRY(GrammarExpr key, names.empty() ? rules_.string() : other_key_expr(names, rules_));
    TANDEM_TRY(GrammarExpr expr, member(std::move(key), std::move(value)));
    return std::optional(std::move(expr));
  }

  const Json& root_;
  GrammarBuilder& builder_;
  JsonRules& rules_;
  std::map<std::string, std::int32_t> refs_;
  int num_nodes_ = 0;
  int depth_ = 0;
};

}  // namespace

Result<std::int32_t> add_json_schema(GrammarBuilder& builder, JsonRules& rules,
                                     const Json& schema) {
  return Converter(schema, builder, rules).run();
}

Result<Grammar> grammar_of_json_schema(const Json& schema) {
  GrammarBuilder builder(kMaxElements);
  JsonRules rules(builder);
  TANDEM_TRY(const std::int32_t root, add_json_schema(builder, rules, schema));
  return std::move(builder).build(root);
}

Result<Grammar> any_json_object_grammar() {
  GrammarBuilder builder;
  JsonRules rules(builder);
  const std::int32_t root = builder.declare("root");
  TANDEM_TRY(const GrammarExpr object, rules.object());
  TANDEM_TRY_STATUS(builder.define(root, object));
  return std::move(builder).build(root);
}

}  // namespace tandem
