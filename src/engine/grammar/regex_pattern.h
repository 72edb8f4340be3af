#pragma once

#include <string_view>

#include "base/result.h"
#include "engine/grammar/json_rules.h"

namespace tandem {

// The contents of a JSON string (between its quotes, escapes applied) that match a regular
// expression (ECMA 262, as JSON Schema's `pattern`: found anywhere unless anchored by ^ and $).
// Known: characters, `.`, classes, \d \w \s and their opposites, groups, | and the quantifiers
// * + ? {m} {m,} {m,n}. Errors: kUnsupported for look-around, back-references, \b and anchors
// within; kInvalidArgument for what is no regular expression or nested deeper than 50.
Result<GrammarExpr> pattern_expr(std::string_view pattern, JsonRules& rules);

// A character as it stands in a JSON string, escaped where it must be; and a class of them.
std::string json_escaped(char32_t character);
GrammarExpr json_class_expr(const CodePointRanges& ranges);

}  // namespace tandem
