#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/jinja/value.h"

namespace tandem::jinja {

enum class TokenKind {
  kText,           // template text outside of tags, white space already cut
  kVariableBegin,  // {{
  kVariableEnd,
  kBlockBegin,  // {%
  kBlockEnd,
  kName,
  kString,  // text: unescaped
  kInteger,
  kFloat,
  kOperator,  // text: as written
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string text;
  int line = 1;
  Int integer = 0;
  double number = 0;

  bool is(TokenKind wanted, std::string_view wanted_text) const {
    return kind == wanted && text == wanted_text;
  }
};

// Cuts a template into tokens, ending with kEnd, as jinja2's lexer does with the default
// delimiters, trim_blocks and lstrip_blocks on and keep_trailing_newline off. Linear in the size.
// Errors: kMalformed with the line.
Result<std::vector<Token>> tokenize(std::string_view source);

// A failure in the template's own text.
Error syntax_error(int line, std::string what, std::string expected = {}, std::string got = {});

}  // namespace tandem::jinja
