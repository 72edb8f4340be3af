#include "text/jinja/parser.h"

#include <algorithm>
#include <initializer_list>

#include "text/jinja/expression_parser.h"
#include "text/jinja/token_stream.h"

namespace tandem::jinja {
namespace {

constexpr int kMaxBlockDepth = 100;

// The statement half of the grammar (jinja2/parser.py, parse_statement).
class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)), expressions_(tokens_) {}

  Result<Block> parse_all() {
    TANDEM_TRY(Block block, parse_block({}));
    if (!tokens_.at(TokenKind::kEnd)) return tokens_.unexpected("a statement");
    return block;
  }

 private:
  // Statements up to `{% end`, of which the `{%` is taken and the name is not.
  Result<Block> parse_block(std::initializer_list<std::string_view> ends) {
    if (++depth_ > kMaxBlockDepth) return syntax_error(tokens_.line(), "blocks nested too deeply");
    Block block;
    while (!tokens_.at(TokenKind::kEnd)) {
      const int line = tokens_.line();
      if (tokens_.at(TokenKind::kText)) {
        block.push_back({line, Text{tokens_.take().text}});
      } else if (tokens_.at(TokenKind::kVariableBegin)) {
        tokens_.take();
        TANDEM_TRY(ExprPtr value, expressions_.parse_tuple());
        TANDEM_TRY_STATUS(tokens_.expect(TokenKind::kVariableEnd, "'}}'"));
        block.push_back({line, Output{std::move(value)}});
      } else {
        TANDEM_TRY_STATUS(tokens_.expect(TokenKind::kBlockBegin, "a tag"));
        if (std::any_of(ends.begin(), ends.end(), [&](auto e) { return tokens_.at_name(e); })) {
          --depth_;
          return block;
        }
        TANDEM_TRY(Stmt statement, parse_statement());
        block.push_back(std::move(statement));
      }
    }
    if (ends.size() > 0) return tokens_.unexpected("'" + std::string(*(ends.end() - 1)) + "'");
    --depth_;
    return block;
  }

  // A block that ends with `{% end %}`, that tag included.
  Result<Block> parse_body(std::string_view end) {
    TANDEM_TRY_STATUS(end_tag());
    TANDEM_TRY(Block block, parse_block({end}));
    tokens_.take();
    TANDEM_TRY_STATUS(end_tag());
    return block;
  }

  Status end_tag() { return tokens_.expect(TokenKind::kBlockEnd, "'%}'"); }

  Result<Stmt> parse_statement() {
    const int line = tokens_.line();
    TANDEM_TRY(const std::string name, tokens_.expect_name());
    if (name == "if") return parse_if(line);
    if (name == "for") return parse_for(line);
    if (name == "set") return parse_set(line);
    if (name == "macro") return parse_macro(line);
    if (name == "call") return parse_call_block(line);
    if (name == "filter") return parse_filter_block(line);
    if (name == "with") return parse_with(line);
    if (name == "break" || name == "continue") return parse_loop_control(line, name == "break");
    if (name == "generation") {
      TANDEM_TRY(Block body, parse_body("endgeneration"));
      return Stmt{line, Group{std::move(body)}};
    }
    if (name == "print") {
      TANDEM_TRY(ExprPtr value, expressions_.parse_tuple());
      TANDEM_TRY_STATUS(end_tag());
      return Stmt{line, Output{std::move(value)}};
    }
    for (const auto other : {"block", "extends", "include", "import", "from", "autoescape"}) {
      if (name == other) {
        return unsupported("line " + std::to_string(line), "tag '" + name + "' in a chat template");
      }
    }
    return syntax_error(line, "unknown tag", "", "'" + name.substr(0, 40) + "'");
  }

  Result<Stmt> parse_if(int line) {
    If statement;
    while (true) {
      TANDEM_TRY(ExprPtr condition, expressions_.parse_tuple(false));
      TANDEM_TRY_STATUS(end_tag());
      TANDEM_TRY(Block body, parse_block({"elif", "else", "endif"}));
      statement.branches.emplace_back(std::move(condition), std::move(body));
      const std::string next = tokens_.take().text;
      if (next == "elif") continue;
      if (next == "else") {
        TANDEM_TRY(statement.otherwise, parse_body("endif"));
      } else {
        TANDEM_TRY_STATUS(end_tag());
      }
      return Stmt{line, std::move(statement)};
    }
  }

  Result<Stmt> parse_for(int line) {
    For loop;
    TANDEM_TRY(loop.target, parse_target(false));
    if (!tokens_.skip_name("in")) return tokens_.unexpected("'in'");
    TANDEM_TRY(loop.sequence, expressions_.parse_tuple(false));
    if (tokens_.skip_name("if")) {
      TANDEM_TRY(loop.condition, expressions_.parse_expression());
    }
    loop.recursive = tokens_.skip_name("recursive");
    TANDEM_TRY_STATUS(end_tag());
    ++loop_depth_;
    TANDEM_TRY(loop.body, parse_block({"else", "endfor"}));
    --loop_depth_;
    if (tokens_.take().text == "else") {
      TANDEM_TRY(loop.otherwise, parse_body("endfor"));
    } else {
      TANDEM_TRY_STATUS(end_tag());
    }
    return Stmt{line, std::move(loop)};
  }

  Result<Stmt> parse_set(int line) {
    TANDEM_TRY(Target target, parse_target(true));
    if (tokens_.skip_operator("=")) {
      TANDEM_TRY(ExprPtr value, expressions_.parse_tuple());
      TANDEM_TRY_STATUS(end_tag());
      return Stmt{line, Set{std::move(target), std::move(value)}};
    }
    TANDEM_TRY(ExprPtr filters, expressions_.parse_filters(nullptr, false));
    TANDEM_TRY(Block body, parse_body("endset"));
    return Stmt{line, SetBlock{std::move(target), std::move(filters), std::move(body)}};
  }

  Result<Target> parse_target(bool with_namespace) {
    TANDEM_TRY(Target first, parse_one_target(with_namespace));
    if (!tokens_.at_operator(",")) return first;
    Target tuple;
    tuple.parts.push_back(std::move(first));
    while (tokens_.skip_operator(",") &&
           (tokens_.at(TokenKind::kName) || tokens_.at_operator("("))) {
      if (tokens_.at_name("in")) break;
      TANDEM_TRY(Target part, parse_one_target(with_namespace));
      tuple.parts.push_back(std::move(part));
    }
    return tuple;
  }

  Result<Target> parse_one_target(bool with_namespace) {
    if (++target_depth_ > kMaxBlockDepth) return tokens_.unexpected("a name");
    Target target;
    if (tokens_.skip_operator("(")) {
      TANDEM_TRY(target, parse_target(with_namespace));
      TANDEM_TRY_STATUS(tokens_.expect_operator(")"));
      --target_depth_;
      return target;
    }
    const int line = tokens_.line();
    TANDEM_TRY(target.name, tokens_.expect_name());
    for (const auto constant : {"true", "True", "false", "False", "none", "None"}) {
      if (target.name == constant) return syntax_error(line, "cannot assign to " + target.name);
    }
    if (with_namespace && tokens_.skip_operator(".")) {
      TANDEM_TRY(target.attribute, tokens_.expect_name());
    }
    --target_depth_;
    return target;
  }

  Status parse_signature(MacroDefinition& macro) {
    TANDEM_TRY_STATUS(tokens_.expect_operator("("));
    while (!tokens_.at_operator(")")) {
      if (!macro.parameters.empty()) TANDEM_TRY_STATUS(tokens_.expect_operator(","));
      const int line = tokens_.line();
      TANDEM_TRY(std::string name, tokens_.expect_name());
      macro.parameters.push_back(std::move(name));
      if (tokens_.skip_operator("=")) {
        TANDEM_TRY(ExprPtr value, expressions_.parse_expression());
        macro.defaults.push_back(std::move(value));
      } else if (!macro.defaults.empty()) {
        return syntax_error(line, "non-default argument follows default argument");
      }
    }
    return tokens_.expect_operator(")");
  }

  Status parse_macro_body(MacroDefinition& macro, std::string_view end) {
    const auto before = expressions_.special_names();
    const int outer_loops = std::exchange(loop_depth_, 0);
    TANDEM_TRY(macro.body, parse_body(end));
    loop_depth_ = outer_loops;
    const auto after = expressions_.special_names();
    macro.uses_varargs = after.varargs > before.varargs;
    macro.uses_kwargs = after.kwargs > before.kwargs;
    macro.uses_caller = after.caller > before.caller;
    return {};
  }

  Result<Stmt> parse_macro(int line) {
    auto macro = std::make_unique<MacroDefinition>();
    TANDEM_TRY(macro->name, tokens_.expect_name());
    TANDEM_TRY_STATUS(parse_signature(*macro));
    TANDEM_TRY_STATUS(parse_macro_body(*macro, "endmacro"));
    return Stmt{line, std::move(macro)};
  }

  Result<Stmt> parse_call_block(int line) {
    CallBlock block;
    block.caller = std::make_unique<MacroDefinition>();
    block.caller->name = "caller";
    if (tokens_.at_operator("(")) TANDEM_TRY_STATUS(parse_signature(*block.caller));
    TANDEM_TRY(block.call, expressions_.parse_expression());
    if (!std::holds_alternative<Call>(block.call->form)) return syntax_error(line, "expected call");
    TANDEM_TRY_STATUS(parse_macro_body(*block.caller, "endcall"));
    return Stmt{line, std::move(block)};
  }

  Result<Stmt> parse_filter_block(int line) {
    TANDEM_TRY(ExprPtr filters, expressions_.parse_filters(nullptr, true));
    TANDEM_TRY(Block body, parse_body("endfilter"));
    return Stmt{line, FilterBlock{std::move(filters), std::move(body)}};
  }

  Result<Stmt> parse_with(int line) {
    With with;
    while (!tokens_.at(TokenKind::kBlockEnd)) {
      if (!with.assignments.empty()) TANDEM_TRY_STATUS(tokens_.expect_operator(","));
      TANDEM_TRY(Target target, parse_one_target(false));
      TANDEM_TRY_STATUS(tokens_.expect_operator("="));
      TANDEM_TRY(ExprPtr value, expressions_.parse_expression());
      with.assignments.emplace_back(std::move(target), std::move(value));
    }
    TANDEM_TRY(with.body, parse_body("endwith"));
    return Stmt{line, std::move(with)};
  }

  Result<Stmt> parse_loop_control(int line, bool is_break) {
    if (loop_depth_ == 0) return syntax_error(line, "break or continue outside of a loop");
    TANDEM_TRY_STATUS(end_tag());
    return Stmt{line, LoopControl{is_break}};
  }

  TokenStream tokens_;
  ExpressionParser expressions_;
  int depth_ = 0;
  int target_depth_ = 0;
  int loop_depth_ = 0;
};

}  // namespace

Result<Block> parse_template(std::string_view source) {
  TANDEM_TRY(std::vector<Token> tokens, tokenize(source));
  return Parser(std::move(tokens)).parse_all();
}

}  // namespace tandem::jinja
