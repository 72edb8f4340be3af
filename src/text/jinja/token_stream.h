#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/lexer.h"

namespace tandem::jinja {

// The tokens of a template, read from the front. The last is always kEnd and is never stepped over.
class TokenStream {
 public:
  explicit TokenStream(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& peek(std::size_t ahead = 0) const {
    return tokens_[std::min(at_ + ahead, tokens_.size() - 1)];
  }
  int line() const { return peek().line; }
  Token take() {
    Token token = peek();
    if (at_ + 1 < tokens_.size()) ++at_;
    return token;
  }

  bool at(TokenKind kind) const { return peek().kind == kind; }
  bool at_operator(std::string_view text) const { return peek().is(TokenKind::kOperator, text); }
  bool at_name(std::string_view text) const { return peek().is(TokenKind::kName, text); }
  bool skip_operator(std::string_view text) { return at_operator(text) && skip(); }
  bool skip_name(std::string_view text) { return at_name(text) && skip(); }

  Status expect_operator(std::string_view text) {
    if (skip_operator(text)) return {};
    return unexpected("'" + std::string(text) + "'");
  }
  Result<std::string> expect_name() {
    if (at(TokenKind::kName)) return take().text;
    return unexpected("a name");
  }
  Status expect(TokenKind kind, std::string_view described) {
    if (!at(kind)) return unexpected(std::string(described));
    skip();
    return {};
  }
  Error unexpected(std::string expected) const {
    const bool ended = at(TokenKind::kEnd);
    return syntax_error(line(), ended ? "unexpected end of template" : "unexpected token",
                        std::move(expected), ended ? "" : "'" + peek().text.substr(0, 40) + "'");
  }

 private:
  bool skip() {
    if (at_ + 1 < tokens_.size()) ++at_;
    return true;
  }

  std::vector<Token> tokens_;
  std::size_t at_ = 0;
};

}  // namespace tandem::jinja
